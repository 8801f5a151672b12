//! The recorded conversations.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden/recorded");

/// Scenarios about what the engine does.
const OF_THE_ENGINE: &[&str] = &[
    "dry-run",
    "generate-name",
    "labels",
    "names",
    "names-per-kind",
    "names-rbac",
    "object-meta",
    "owner-references",
];

/// The scenarios of an area, with what is repeated written out.
pub fn scenarios(area: &str) -> Vec<(PathBuf, Value)> {
    let Ok(entries) = fs::read_dir(Path::new(RECORDINGS).join(area)) else {
        println!("no recordings: nothing compared");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| !OF_THE_ENGINE.contains(&&*path.file_stem().unwrap_or_default().to_string_lossy()));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let text = text
        .replace("golden-{id}", "golden-g1")
        .replace("${ns}", "golden-g1")
        .replace("${id}", "g1")
        .replace("{id}", "g1");
    let mut scenario = serde_json::from_str(&text).unwrap();
    repeat(&mut scenario);
    scenario
}

/// Texts of the form `${repeat:x:9}` are too long to be written out.
fn repeat(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(repeat),
        Value::Array(list) => list.iter_mut().for_each(repeat),
        Value::String(text) => {
            let parts = text.strip_prefix("${repeat:").and_then(|rest| rest.strip_suffix('}'));
            if let Some((part, count)) = parts.and_then(|parts| parts.split_once(':')) {
                *text = part.repeat(count.parse().unwrap());
            }
        }
        _ => {}
    }
}
