//! Where a sandbox keeps its data, and whether one runs.

use std::path::{Path, PathBuf};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The directory of a sandbox.
pub struct State {
    directory: PathBuf,
}

impl State {
    /// The directory given, or the user's own.
    pub fn new(directory: Option<PathBuf>) -> Option<Self> {
        let directory = directory.or_else(|| {
            let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
            Some(data.or_else(home)?.join("vkube/sandbox"))
        })?;
        Some(Self { directory })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The host's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// The log of a sandbox in the background.
    pub fn log(&self) -> PathBuf {
        self.directory.join("sandbox.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join("sandbox.pid")
    }

    /// The kubeconfig, if a sandbox runs.
    pub fn running_kubeconfig(&self) -> Option<PathBuf> {
        self.running().map(|_| self.kubeconfig())
    }

    /// The process of the sandbox, if it runs.
    pub fn running(&self) -> Option<i32> {
        let pid: i32 = std::fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()?;
        // The file may be left over, and its number another process's by now.
        let name = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        (name.contains("sandbox") && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)).then_some(pid)
    }

    /// Says that this process is the sandbox.
    pub fn claim(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        std::fs::write(self.pid_file(), format!("{}\n", std::process::id()))
    }

    /// Says that it no longer is.
    pub fn release(&self) {
        let _ = std::fs::remove_file(self.pid_file());
    }

    /// Asks the sandbox to stop.
    pub fn terminate(pid: i32) -> Result<(), Errno> {
        kill(Pid::from_raw(pid), Signal::SIGTERM)
    }
}
