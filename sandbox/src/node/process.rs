//! Child processes of the node.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
};

use crate::exec::{Place, SUBCOMMAND, Spec};

/// Starts all processes from one thread that lives as long as the node.
///
/// A process asks the kernel to end it with its parent, and to the kernel the parent is the thread that
/// started it: a thread of the runtime may end earlier.
#[derive(Clone)]
pub(crate) struct Spawner {
    requests: mpsc::UnboundedSender<(Command, oneshot::Sender<io::Result<Child>>)>,
}

impl Spawner {
    /// Starts the thread; it ends with the last spawner. Must be called within the runtime.
    pub fn new() -> io::Result<Self> {
        let (requests, mut queue) = mpsc::unbounded_channel::<(Command, oneshot::Sender<_>)>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("spawner".into()).stack_size(256 * 1024).spawn(move || {
            let _guard = runtime.enter();
            while let Some((mut command, reply)) = queue.blocking_recv() {
                // A requester that gave up drops the child, which ends it.
                let _ = reply.send(command.spawn());
            }
        })?;
        Ok(Self { requests })
    }

    async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the node stops");
        self.requests.send((command, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub directory: PathBuf,
    /// The node's own executable.
    pub executable: PathBuf,
    /// Where to run.
    pub place: Place,
    /// The terminal to run on.
    pub terminal: Option<PathBuf>,
}

/// A running process.
pub(crate) struct Process {
    child: Child,
    /// Its id, which is also the id of its process group.
    pub pid: i32,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code, or 128 and the signal.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Process {
    /// Starts `launch`, handing its spec over in the file `spec`. Input is connected only if asked for,
    /// and nothing is connected when there is a terminal.
    pub async fn start(spawner: &Spawner, launch: &Launch, spec: &Path, input: bool) -> io::Result<Self> {
        if let Some(parent) = spec.parent() {
            fs::create_dir_all(parent)?;
        }
        let content = Spec {
            parent: std::process::id(),
            argv: launch.argv.clone(),
            executable: launch.executable.clone(),
            directory: launch.directory.clone(),
            terminal: launch.terminal.clone(),
            place: launch.place.clone(),
        };
        fs::write(spec, serde_json::to_vec(&content)?)?;

        let mut command = Command::new(&launch.executable);
        let terminal = launch.terminal.is_some();
        let output = || if terminal { Stdio::null() } else { Stdio::piped() };
        command
            .arg(SUBCOMMAND)
            .arg("--spec")
            .arg(spec)
            .env_clear()
            .envs(&launch.env)
            .stdin(if input && !terminal { Stdio::piped() } else { Stdio::null() })
            .stdout(output())
            .stderr(output())
            .kill_on_drop(true);
        if !terminal {
            command.process_group(0);
        }
        let child = spawner.spawn(command).await?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok(Self { pid: pid.ok_or_else(|| io::Error::other("the process is already gone"))?, child })
    }

    /// Its standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output, once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error, once.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for its end and ends what it may have left behind.
    pub async fn wait(&mut self) -> Exit {
        let status = self.child.wait().await;
        let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
        match status {
            Ok(status) => {
                let signal = status.signal();
                let code = status.code().or_else(|| signal.map(|signal| 128 + signal)).unwrap_or(255);
                Exit { code, signal }
            }
            Err(_) => Exit { code: 255, signal: None },
        }
    }

    /// Signals it and its children. A group that is already gone is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.pid), signal);
    }
}

/// Whether the machine lets processes have mounts of their own: tries it once, for real.
pub(crate) async fn can_isolate(spawner: &Spawner, executable: &Path, scratch: &Path) -> bool {
    let root = scratch.join("root");
    let attempt = async {
        fs::create_dir_all(&root)?;
        let launch = Launch {
            argv: Vec::new(),
            env: BTreeMap::new(),
            directory: "/".into(),
            executable: executable.to_owned(),
            place: Place::Own {
                root: crate::exec::Root { at: root.clone(), mounts: Vec::new(), read_only: true },
                hostname: "rehearsal".into(),
            },
            terminal: None,
        };
        let mut process = Process::start(spawner, &launch, &scratch.join("rehearsal.json"), false).await?;
        let complaint = process.stderr();
        let exit = process.wait().await;
        if exit.code != 0 {
            let mut text = String::new();
            if let Some(mut complaint) = complaint {
                tokio::io::AsyncReadExt::read_to_string(&mut complaint, &mut text).await?;
            }
            tracing::warn!(reason = text.trim(), "no mount namespaces: pods run with rewritten paths");
        }
        io::Result::Ok(exit.code == 0)
    };
    attempt.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "no mount namespaces: pods run with rewritten paths");
        false
    })
}
