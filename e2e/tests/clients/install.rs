//! What the programs need, from the registries of their languages. It is kept with what cargo builds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The programs' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Where packages are kept.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name)
}

/// A Python with `requirements.txt`, or why there is none.
pub fn python() -> Result<PathBuf, String> {
    let requirements = sources().join("python/requirements.txt");
    let place = kept("python");
    let python = place.join("bin/python");
    once(&place, &requirements, || {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place))?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]);
        run(pip.arg("--requirement").arg(&requirements))
    })?;
    Ok(python)
}

/// The folder of the Node programs with their packages, or why there is none.
pub fn node() -> Result<PathBuf, String> {
    let place = kept("node");
    fs::create_dir_all(&place).unwrap();
    // Modules are looked for where a program is.
    for file in fs::read_dir(sources().join("node")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), place.join(file.file_name())).unwrap();
    }
    once(&place, &sources().join("node/package-lock.json"), || {
        run(Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
            .current_dir(&place))
    })?;
    Ok(place)
}

/// Installs, unless it has been with this very list.
fn once(place: &Path, list: &Path, install: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let (wanted, note) = (fs::read(list).unwrap(), place.join("installed"));
    if fs::read(&note).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let _ = fs::remove_file(&note);
    install()?;
    fs::write(note, wanted).unwrap();
    Ok(())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
