//! The step between the node and a container's process: `vkube sandbox-exec --spec FILE`.
//!
//! The node starts the executable once more with this hidden subcommand. While the process still has a
//! single thread it enters a mount namespace in which the pod's volumes lie where the pod wants them, and
//! then becomes the container's process. The root is a small one of its own, as an image would give it:
//!
//! ```text
//! /             tmpfs, read-only if the container asks for it
//! /vkube        the executable
//! /usr /lib …   the machine's, read-only
//! /proc /sys /dev
//! /etc          the few files that programs look for
//! MOUNTPATH     the pod's volumes
//! ```
//! Nothing is created outside of the new root, so the machine stays as it was.

mod root;

use std::{
    convert::Infallible,
    ffi::{CString, OsString},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns, unshare},
    sys::{prctl, signal::Signal},
    unistd,
};
use serde::{Deserialize, Serialize};

pub(crate) use root::{EXECUTABLE, Mount, Root};

/// The subcommand under which the binary calls [`exec_main`].
pub const SUBCOMMAND: &str = "sandbox-exec";
/// The exit code when the process could not be started, as container runtimes use it.
pub(crate) const NOT_STARTED: i32 = 128;
/// The exit code when the parent is gone.
const ORPHANED: i32 = 129;

/// What to run and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The process that must still be the parent: a container does not outlive its node.
    pub parent: u32,
    /// The program and its arguments; none at all rehearses the rest and exits with 0.
    pub argv: Vec<String>,
    /// What `vkube` in `argv` stands for outside of an own root.
    pub executable: PathBuf,
    /// The working directory.
    pub directory: PathBuf,
    /// The terminal to take as standard input, output and error.
    pub terminal: Option<PathBuf>,
    /// Where to run.
    pub place: Place,
}

/// Where a process runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    /// On the machine as it is.
    Machine,
    /// In new namespaces.
    Own {
        /// The new root.
        root: Root,
        /// The host name to set.
        hostname: String,
    },
    /// In the namespaces of a running process.
    Beside {
        /// That process.
        pid: i32,
    },
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// The arguments are not `--spec FILE`.
    #[error("expected --spec FILE")]
    Usage,
    /// The spec is not readable.
    #[error("reading the spec {path}: {source}")]
    Spec {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A step failed.
    #[error("{step}: {source}")]
    Step {
        /// What was attempted.
        step: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// Adds the step to an error.
pub(crate) trait Step<T> {
    /// Names what was attempted.
    fn step(self, step: impl FnOnce() -> String) -> Result<T, ExecError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, ExecError> {
        self.map_err(|source| ExecError::Step { step: step(), source: source.into() })
    }
}

/// Becomes the process that the spec describes. `args` are what follows the subcommand.
///
/// Must be called before any thread is started: namespaces are entered by threads, and user namespaces
/// only by processes that have a single one.
pub fn exec_main(args: impl IntoIterator<Item = OsString>) -> ! {
    let error = match read(args).and_then(|spec| run(&spec)) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    eprintln!("vkube {SUBCOMMAND}: {error}");
    std::process::exit(NOT_STARTED);
}

fn read(args: impl IntoIterator<Item = OsString>) -> Result<Spec, ExecError> {
    let mut args = args.into_iter();
    let path = match (args.next(), args.next(), args.next()) {
        (Some(flag), Some(path), None) if flag == "--spec" => PathBuf::from(path),
        _ => return Err(ExecError::Usage),
    };
    let spec = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    spec.map_err(|source| ExecError::Spec { path, source })
}

fn run(spec: &Spec) -> Result<Infallible, ExecError> {
    let executable = match &spec.place {
        Place::Machine => spec.executable.clone(),
        Place::Own { root, hostname } => {
            enter_new()?;
            unistd::sethostname(hostname).step(|| format!("setting the host name {hostname}"))?;
            root::build_and_enter(root, &spec.executable)?;
            PathBuf::from(EXECUTABLE)
        }
        Place::Beside { pid } => {
            enter_beside(*pid)?;
            PathBuf::from(EXECUTABLE)
        }
    };
    // Entering a user namespace clears this setting, so it comes after.
    prctl::set_pdeathsig(Signal::SIGKILL).step(|| "asking to end with the node".into())?;
    if unistd::getppid().as_raw() as u32 != spec.parent {
        std::process::exit(ORPHANED);
    }
    if let Some(terminal) = &spec.terminal {
        take_terminal(terminal)?;
    }
    unistd::chdir(&spec.directory).step(|| format!("changing to {}", spec.directory.display()))?;
    let Some(program) = spec.argv.first() else { std::process::exit(0) };
    exec(&program_path(program, &executable), &spec.argv)
}

/// `vkube` is the executable, wherever the image has it.
fn program_path(program: &str, executable: &Path) -> PathBuf {
    match Path::new(program).file_name() {
        Some(name) if name == "vkube" => executable.to_owned(),
        _ => PathBuf::from(program),
    }
}

fn exec(program: &Path, argv: &[String]) -> Result<Infallible, ExecError> {
    let invalid = |error: std::ffi::NulError| io::Error::new(io::ErrorKind::InvalidInput, error);
    let path = CString::new(program.as_os_str().as_encoded_bytes()).map_err(invalid);
    let path = path.step(|| "naming the program".into())?;
    let argv = argv.iter().map(|argument| CString::new(argument.as_str())).collect::<Result<Vec<_>, _>>();
    let argv = argv.map_err(invalid).step(|| "passing the arguments".into())?;
    unistd::execvp(&path, &argv).step(|| format!("exec: {:?}", program.display()))
}

fn enter_new() -> Result<(), ExecError> {
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    let (uid, gid) = (unistd::geteuid(), unistd::getegid());
    if uid.is_root() {
        match unshare(own) {
            Err(Errno::EPERM) => {}
            result => return result.step(|| "creating a mount namespace".into()),
        }
    }
    unshare(own | CloneFlags::CLONE_NEWUSER).step(|| "creating a user namespace".into())?;
    let write = |path: &str, text: String| fs::write(path, text).step(|| format!("writing {path}"));
    write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

fn enter_beside(pid: i32) -> Result<(), ExecError> {
    // Until the process has entered its root there is nothing to join.
    let entered = format!("/proc/{pid}/root{EXECUTABLE}");
    fs::symlink_metadata(&entered).step(|| "the container is still starting".into())?;
    // Opened before the first is entered: they may not be visible after.
    let mut spaces = Vec::new();
    for (name, flag) in [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("mnt", CloneFlags::CLONE_NEWNS),
        ("uts", CloneFlags::CLONE_NEWUTS),
    ] {
        let path = format!("/proc/{pid}/ns/{name}");
        let theirs = File::open(&path).step(|| format!("opening {path}"))?;
        let own = fs::metadata(format!("/proc/self/ns/{name}")).step(|| "reading own namespaces".into())?;
        let inode = theirs.metadata().step(|| format!("reading {path}"))?.ino();
        if inode != own.ino() {
            spaces.push((theirs, flag, path));
        }
    }
    for (space, flag, path) in spaces {
        setns(space, flag).step(|| format!("entering {path}"))?;
    }
    Ok(())
}

/// Makes the terminal the controlling one of a new session. A session leader without a terminal gets the
/// first one that it opens.
fn take_terminal(path: &Path) -> Result<(), ExecError> {
    let step = || format!("taking the terminal {}", path.display());
    match unistd::setsid() {
        // A group leader cannot start a session; the node starts such processes without a group.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error).step(step),
    }
    let terminal = File::options().read(true).write(true).open(path).step(step)?;
    unistd::dup2_stdin(&terminal).step(step)?;
    unistd::dup2_stdout(&terminal).step(step)?;
    unistd::dup2_stderr(&terminal).step(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vkube_is_the_executable_under_any_path() {
        let executable = Path::new("/vkube");
        for program in ["vkube", "/usr/local/bin/vkube", "/vkube"] {
            assert_eq!(program_path(program, executable), executable);
        }
        assert_eq!(program_path("ls", executable), Path::new("ls"));
    }

    #[test]
    fn takes_exactly_one_spec() {
        for args in [vec![], vec!["--spec"], vec!["--spec", "a", "b"], vec!["-x", "a"]] {
            let error = read(args.into_iter().map(OsString::from)).unwrap_err();
            assert!(matches!(error, ExecError::Usage));
        }
        let error = read(["--spec", "/nonexistent"].map(OsString::from)).unwrap_err();
        assert!(error.to_string().starts_with("reading the spec /nonexistent"));
    }
}
