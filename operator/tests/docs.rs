//! What the documentation says of tests and reasons is so.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use vkube_operator::Reason;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The links of a page: text and target.
fn links(page: &str) -> Vec<(String, String)> {
    let starts = page.match_indices("](").filter_map(|(at, _)| {
        let text = page.get(..at)?.rsplit_once('[')?.1;
        let target = page.get(at + 2..)?.split_once(')')?.0;
        Some((text.trim_matches('`').to_owned(), target.to_owned()))
    });
    starts.collect()
}

#[test]
fn every_link_leads_somewhere_and_every_test_it_names_exists() {
    let mut tests = 0;
    for page in fs::read_dir(docs()).unwrap() {
        let page = page.unwrap().path();
        for (text, target) in links(&fs::read_to_string(&page).unwrap()) {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let file = docs().join(target.split('#').next().unwrap());
            assert!(file.exists(), "{}: {target}", page.display());
            let is_source = file.extension().is_some_and(|extension| extension == "rs");
            if is_source && !text.contains(['/', '.', ' ']) {
                tests += 1;
                let source = fs::read_to_string(&file).unwrap();
                assert!(source.contains(&format!("fn {text}(")), "{}: no {text} in {target}", page.display());
            }
        }
    }
    assert!(tests > 60, "{tests}");
}

#[test]
fn the_table_of_vcluster_keys_is_up_to_date() {
    let path = docs().join("vcluster.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- keys -->\n").unwrap();
    let after = rest.split_once("<!-- end of keys -->").unwrap().1;
    let table = vkube_operator::configuration_table();
    let wanted = format!("{before}<!-- keys -->\n{table}<!-- end of keys -->{after}");
    if std::env::var_os("VKUBE_UPDATE").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == wanted,
        "docs/vcluster.md is stale: run `VKUBE_UPDATE=1 cargo test -p vkube-operator`"
    );
}

#[test]
fn every_reason_is_explained() {
    let page = fs::read_to_string(docs().join("troubleshooting.md")).unwrap();
    for reason in Reason::ALL {
        let word = format!("`{}`", reason.as_str());
        assert!(page.lines().any(|line| line.starts_with('|') && line.contains(&word)), "{word}");
    }
}
