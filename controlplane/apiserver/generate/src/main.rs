//! Writes `controlplane/apiserver/src/schema/table.txt`, the one description of every built-in type, from
//! the sources of two registry crates and a list of facts.
//!
//! It runs when the presented Kubernetes version changes, and in a test that compares the outcome.

mod facts;
mod openapi;
mod proto;
mod table;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use serde_json::Value;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot run cargo metadata")]
    Cargo(#[source] io::Error),
    #[error("cargo metadata answered something else")]
    Metadata(#[source] serde_json::Error),
    #[error("the sources of {0} are not at hand")]
    Absent(&'static str),
    #[error("cannot read the sources")]
    Read(#[source] io::Error),
    #[error("cannot write the table")]
    Write(#[source] io::Error),
}

fn main() -> ExitCode {
    let written = table().and_then(|text| fs::write(table_file(), text).map_err(Error::Write));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn table_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/schema/table.txt")
}

fn table() -> Result<String, Error> {
    // Without a platform, cargo wants the crates of all platforms.
    let rustc = Command::new("rustc").arg("-vV").output().map_err(Error::Cargo)?;
    let version = String::from_utf8_lossy(&rustc.stdout);
    let host = version.lines().find_map(|l| l.strip_prefix("host: ")).unwrap_or_default();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--offline", "--all-features"])
        .args(["--filter-platform", host, "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .map_err(Error::Cargo)?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(Error::Metadata)?;
    let definitions = source(&metadata, "k8s-openapi")?.join("v1_36");
    let messages = source(&metadata, "k8s-pb")?;
    let sources = table::Sources {
        definitions: openapi::read(&definitions).map_err(Error::Read)?,
        messages: proto::read(&messages).map_err(Error::Read)?,
        facts: facts::Facts::parse(include_str!("../facts.txt")),
    };
    Ok(sources.table())
}

/// The `src` folder of a crate.
fn source(metadata: &Value, name: &'static str) -> Result<PathBuf, Error> {
    let packages = metadata["packages"].as_array().ok_or(Error::Absent(name))?;
    let package = packages.iter().find(|p| p["name"] == name).ok_or(Error::Absent(name))?;
    let manifest = package["manifest_path"].as_str().ok_or(Error::Absent(name))?;
    let folder = Path::new(manifest).with_file_name("src");
    if folder.is_dir() { Ok(folder) } else { Err(Error::Absent(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_table_is_what_the_sources_say() {
        match table() {
            Ok(text) => assert!(
                text == fs::read_to_string(table_file()).unwrap(),
                "table.txt is stale: run `cargo run -p vkube-schema-gen`"
            ),
            Err(error @ (Error::Absent(_) | Error::Cargo(_) | Error::Metadata(_))) => {
                eprintln!("skipped: {error}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
