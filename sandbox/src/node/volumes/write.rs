//! Puts a volume's files on disk so that a reader sees either all old or all new ones.
//!
//! ```text
//! volume/
//!   ..17320/        one set of files
//!   ..data -> ..17320
//!   name -> ..data/name
//! ```
//! An update writes a new set beside the old one and renames the link over, as every kubelet does.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::Files;

/// The link to the current set.
const DATA: &str = "..data";

/// Makes `files` the content of `directory`.
pub(crate) fn replace(directory: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let old = fs::read_link(directory.join(DATA)).ok();
    let set = new_set(directory)?;
    for (path, file) in files {
        let path = directory.join(&set).join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    }

    let swap = directory.join("..data_tmp");
    remove(&swap)?;
    symlink(&set, &swap)?;
    fs::rename(&swap, directory.join(DATA))?;

    let names: Vec<_> = files.keys().filter_map(|path| path.components().next()).collect();
    for name in &names {
        let link = directory.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let ours = name.to_string_lossy().starts_with("..");
        if !ours && !names.iter().any(|kept| kept.as_os_str() == name) {
            remove(&directory.join(name))?;
        }
    }
    match old {
        Some(old) => remove(&directory.join(old)),
        None => Ok(()),
    }
}

/// Makes a directory for a new set; gives its name.
fn new_set(directory: &Path) -> io::Result<PathBuf> {
    let mut number = jiff::Timestamp::now().as_millisecond();
    loop {
        let name = PathBuf::from(format!("..{number}"));
        match fs::create_dir(directory.join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let result = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::File, *};

    fn mk_files(entries: &[(&str, &str)]) -> Files {
        let file = |text: &str| File { bytes: text.into(), mode: 0o640 };
        entries.iter().map(|(path, text)| (PathBuf::from(path), file(text))).collect()
    }

    fn listing(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with(".."));
        names.sort();
        names
    }

    #[test]
    fn swaps_all_files_at_once_and_leaves_no_old_ones() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), &mk_files(&[("a", "1"), ("sub/b", "2")])).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("sub/b")).unwrap(), "2");
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o777, 0o640);

        replace(dir.path(), &mk_files(&[("a", "new"), ("c", "3")])).unwrap();
        assert_eq!(listing(dir.path()), ["a", "c"]);
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "new");
        let sets = fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir());
        assert_eq!(sets.count(), 1, "only the current set remains");
    }
}
