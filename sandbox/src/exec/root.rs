//! A small root file system of bind mounts in a tmpfs.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statvfs::{FsFlags, statvfs},
    unistd,
};
use serde::{Deserialize, Serialize};

use super::{ExecError, Step};

/// Where the executable is in the new root.
pub(crate) const EXECUTABLE: &str = "/vkube";
/// What the machine's programs and libraries need.
const SYSTEM: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu"];
/// The files of `/etc` that programs look for and that are the same in every container.
const ETC: [&str; 13] = [
    "alternatives",
    "ca-certificates",
    "group",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
    "passwd",
    "pki",
    "resolv.conf",
    "ssl",
];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// A root to build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Root {
    /// An empty directory to build it at.
    pub at: PathBuf,
    /// What to mount into it.
    pub mounts: Vec<Mount>,
    /// Whether nothing but the mounts can be written.
    pub read_only: bool,
}

/// A file or directory that appears in the new root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    /// Where it is on the machine.
    pub source: PathBuf,
    /// The absolute path at which it appears.
    pub target: PathBuf,
    /// Whether it cannot be written there.
    pub read_only: bool,
}

/// Builds the root and makes it the process's own. The caller has a mount namespace to itself.
pub(super) fn build_and_enter(root: &Root, executable: &Path) -> Result<(), ExecError> {
    let none = None::<&str>;
    // What happens on the machine stays visible, what happens here does not show there.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .step(|| "detaching the mount namespace".into())?;
    mount(Some("tmpfs"), &root.at, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755"))
        .step(|| format!("mounting a root at {}", root.at.display()))?;

    system(&root.at)?;
    devices(&root.at.join("dev"))?;
    for name in ETC {
        let (source, target) = (Path::new("/etc").join(name), root.at.join("etc").join(name));
        if let Ok(source) = source.canonicalize() {
            bind(&source, &target, false)?;
        }
    }
    for (name, mode) in [("tmp", 0o1777), ("var/tmp", 0o1777), ("run", 0o755), ("root", 0o700)] {
        let path = root.at.join(name);
        make_directory(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .step(|| format!("setting the mode of {}", path.display()))?;
    }
    bind(executable, &inside(&root.at, Path::new(EXECUTABLE))?, true)?;

    let mut mounts: Vec<_> = root.mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.target.components().count());
    for Mount { source, target, read_only } in mounts {
        bind(source, &inside(&root.at, target)?, *read_only)?;
    }
    if root.read_only {
        protect(&root.at).step(|| "making the root read-only".into())?;
    }
    enter(&root.at)
}

fn system(at: &Path) -> Result<(), ExecError> {
    for name in SYSTEM {
        let (source, target) = (Path::new("/").join(name), at.join(name));
        match source.symlink_metadata() {
            Ok(meta) if meta.is_symlink() => {
                let link = fs::read_link(&source).step(|| format!("reading {}", source.display()))?;
                symlink(link, &target).step(|| format!("linking {}", target.display()))?;
            }
            Ok(meta) if meta.is_dir() => {
                bind(&source, &target, false)?;
                // Best effort: mounts below, or a user namespace, may stand in the way.
                let _ = protect(&target);
            }
            _ => {}
        }
    }
    for name in ["proc", "sys"] {
        bind(&Path::new("/").join(name), &at.join(name), false)?;
    }
    Ok(())
}

fn devices(at: &Path) -> Result<(), ExecError> {
    for name in DEVICES.iter().chain(&["pts", "shm"]) {
        let source = Path::new("/dev").join(name);
        if source.exists() {
            bind(&source, &at.join(name), false)?;
        }
    }
    make_directory(at)?;
    for (name, link) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(link, at.join(name)).step(|| format!("linking /dev/{name}"))?;
    }
    Ok(())
}

/// The place of an absolute path in the new root. Paths inside the machine's directories are refused:
/// creating a mount point there would change the machine.
fn inside(at: &Path, target: &Path) -> Result<PathBuf, ExecError> {
    let refused = |why: &str| {
        let error = io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
        Err(error).step(|| format!("mounting at {}", target.display()))
    };
    let mut parts = Vec::new();
    for part in target.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => parts.push(part),
            Component::ParentDir | Component::Prefix(_) => return refused("the path leaves the root"),
        }
    }
    let top = parts.first().and_then(|part| part.to_str()).unwrap_or_default();
    if parts.len() > 1 && (SYSTEM.contains(&top) || top == "proc" || top == "sys") {
        return refused("the path is inside a directory of the machine");
    }
    Ok(at.join(parts.iter().collect::<PathBuf>()))
}

fn bind(source: &Path, target: &Path, read_only: bool) -> Result<(), ExecError> {
    let step = || format!("mounting {} at {}", source.display(), target.display());
    if source.is_dir() {
        make_directory(target)?;
    } else if !target.exists() {
        target.parent().map_or(Ok(()), make_directory)?;
        fs::File::create(target).step(step)?;
    }
    let none = None::<&str>;
    mount(Some(source), target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).step(step)?;
    if read_only { protect(target).step(step) } else { Ok(()) }
}

/// Makes a mount read-only. Its other restrictions are named again, since a user namespace may not lift
/// what it did not set.
fn protect(target: &Path) -> io::Result<()> {
    let flags = statvfs(target)?.flags();
    let mut keep = MsFlags::empty();
    for (set, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if flags.contains(set) {
            keep |= flag;
        }
    }
    let none = None::<&str>;
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    Ok(mount(none, target, none, remount | keep, none)?)
}

/// Swaps the root: the old one is mounted over the new one's directory for a moment and then let go.
fn enter(at: &Path) -> Result<(), ExecError> {
    unistd::chdir(at).step(|| "changing to the new root".into())?;
    unistd::pivot_root(".", ".").step(|| "entering the new root".into())?;
    umount2(".", MntFlags::MNT_DETACH).step(|| "leaving the old root".into())?;
    unistd::chdir("/").step(|| "changing to the new root".into())
}

fn make_directory(path: &Path) -> Result<(), ExecError> {
    fs::create_dir_all(path).step(|| format!("creating {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_stay_in_the_new_root() {
        let at = Path::new("/new");
        for (target, expected) in
            [("/data", "/new/data"), ("/var/run/x", "/new/var/run/x"), ("/usr", "/new/usr"), ("/", "/new/")]
        {
            assert_eq!(inside(at, Path::new(target)).unwrap(), Path::new(expected), "{target}");
        }
        for target in ["/../etc", "/a/../../b", "/usr/share/x", "/proc/x"] {
            assert!(inside(at, Path::new(target)).is_err(), "{target}");
        }
    }
}
