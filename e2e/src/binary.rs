//! Which `vkube` is tested.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The binary that `VKUBE` names, or that of the profile the tests were built with, built anew if it is
/// missing or older than its sources.
pub fn vkube() -> PathBuf {
    if let Some(path) = std::env::var_os("VKUBE") {
        return fs::canonicalize(path).expect("VKUBE names no file");
    }
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let binary = profile.join("vkube");
    let built = fs::metadata(&binary).and_then(|metadata| metadata.modified()).ok();
    if built.is_none_or(|built| newest(workspace()) > built) {
        build(profile);
    }
    binary
}

fn build(profile: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--package", "vkube"]);
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo does not start");
    assert!(status.success(), "vkube does not build");
}

/// When a source of the product was last changed.
fn newest(directory: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let changed = if path.is_dir() {
            let elsewhere = name.starts_with('.') || ["target", "tests", "docs", "e2e"].contains(&&*name);
            if elsewhere { SystemTime::UNIX_EPOCH } else { self::newest(&path) }
        } else if name.ends_with(".rs") || name == "Cargo.toml" {
            entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
        } else {
            SystemTime::UNIX_EPOCH
        };
        newest = newest.max(changed);
    }
    newest
}
