//! Gathers the descriptions of types and fields from the sources of `k8s-openapi`, for `kubectl explain`.
//!
//! They are its authors' prose, so they are read where the crate is built and are no part of this project.
//! The result is lines of `=definition<tab>text` and `field<tab>text`, sorted, compressed.

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::openapi;

/// The compressed descriptions of these definitions.
pub fn gather(definitions: &BTreeSet<String>) -> io::Result<Vec<u8>> {
    let text = match sources() {
        Some(folder) => prose(&openapi::read(&folder)?, definitions),
        None => {
            println!(
                "cargo::warning=the sources of k8s-openapi are not at hand: kubectl explain has no prose"
            );
            String::new()
        }
    };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

/// The folder of Kubernetes 1.36 in the sources of `k8s-openapi`.
fn sources() -> Option<PathBuf> {
    let output = Command::new(env::var_os("CARGO")?)
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform"])
        .arg(env::var_os("HOST")?)
        .output()
        .ok()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).ok()?;
    let package = metadata["packages"].as_array()?.iter().find(|p| p["name"] == "k8s-openapi")?;
    let manifest = package["manifest_path"].as_str()?;
    Some(Path::new(manifest).with_file_name("src").join("v1_36"))
}

fn prose(sources: &openapi::Definitions, definitions: &BTreeSet<String>) -> String {
    let mut text = String::new();
    for (name, body) in sources.iter().filter(|(name, _)| is_told(name, definitions)) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "={name}\t{}", escaped(&body["description"]));
        for (field, schema) in body["properties"].as_object().into_iter().flatten() {
            if schema["description"].is_string() {
                let _ = writeln!(text, "{field}\t{}", escaped(&schema["description"]));
            }
        }
    }
    text
}

/// Messages of the table, and the types that it has as scalars.
fn is_told(name: &str, definitions: &BTreeSet<String>) -> bool {
    definitions.contains(name)
        || name.starts_with("io.k8s.apimachinery.")
        || name.starts_with("io.k8s.apiextensions-apiserver.")
}

fn escaped(description: &Value) -> String {
    description.as_str().unwrap_or_default().replace('\\', "\\\\").replace('\n', "\\n").replace('\t', " ")
}
