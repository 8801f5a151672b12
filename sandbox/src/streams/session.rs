//! Exec and attach: a process's input and outputs, whatever carries them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::{Mutex, mpsc},
};
use vkube_apiserver::{body::Request, status::ApiError};

use super::terminal::Terminal;
use crate::node::{
    context::{PodContext, Run, Stdin},
    logs::read,
    probing,
    process::{Exit, Launch, Process},
};

/// How much of an output is read at once.
const READ: usize = 16 * 1024;
/// Tells the specs of concurrent sessions apart.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Bytes for standard input.
    Bytes(Bytes),
    /// Standard input ends.
    End,
    /// The client's terminal has a new size.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// Bytes of standard output.
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// How it ended; nothing follows.
    Status(Value),
}

/// The channels between a session and its transport. The session takes the end of `inputs` for the
/// client's going away.
pub(crate) struct Pipes {
    /// From the client.
    pub inputs: mpsc::Receiver<Input>,
    /// To the client.
    pub outputs: mpsc::Sender<Output>,
}

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error, apart from output.
    pub stderr: bool,
    /// A terminal.
    pub tty: bool,
}

impl Wants {
    /// What an exec request asks for.
    pub fn exec(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let flag = |name: &str| {
            form_urlencoded::parse(query.as_bytes()).any(|(key, value)| {
                key == name && matches!(&*value, "true" | "1" | "True" | "TRUE" | "t" | "T")
            })
        };
        let tty = flag("tty");
        // A terminal has one output.
        Self { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr") && !tty, tty }
    }

    /// What an attach request asks for.
    pub fn attach(request: &Request) -> Self {
        Self::exec(request)
    }
}

/// The command of an exec request.
pub(crate) fn command(request: &Request) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    let words = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "command");
    words.map(|(_, word)| word.into_owned()).collect()
}

/// A session that is ready to run.
pub(crate) struct Session {
    /// What the client wants.
    pub wants: Wants,
    pod: Arc<PodContext>,
    work: Work,
}

enum Work {
    Exec(Box<Launch>),
    Attach(Run),
}

impl Session {
    /// A new process in a running container.
    pub fn exec(
        pod: Arc<PodContext>,
        container: &str,
        argv: Vec<String>,
        wants: Wants,
    ) -> Result<Self, ApiError> {
        if argv.is_empty() {
            return Err(ApiError::bad_request("you must specify at least 1 command for the container"));
        }
        let run = running(&pod, container)?;
        refuse_simulated(&run, container)?;
        let launch = probing::beside(&pod, container, argv).ok_or_else(|| not_running(container))?;
        Ok(Self { wants, pod, work: Work::Exec(Box::new(launch)) })
    }

    /// The process of a running container.
    pub fn attach(pod: Arc<PodContext>, container: &str, wants: Wants) -> Result<Self, ApiError> {
        let run = running(&pod, container)?;
        refuse_simulated(&run, container)?;
        Ok(Self { wants, pod, work: Work::Attach(run) })
    }

    /// Runs the session to its end, which is told as the last output.
    pub async fn run(self, pipes: Pipes) {
        let outputs = pipes.outputs.clone();
        let status = match self.work {
            Work::Exec(launch) => {
                let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
                let spec = self.pod.directory.join("exec").join(format!("session-{number}.json"));
                let ended = execute(&self.pod, *launch, &spec, self.wants, pipes).await;
                let _ = std::fs::remove_file(&spec);
                match ended {
                    Ok(exit) => exited(exit),
                    Err(error) => failed(&error.to_string()),
                }
            }
            Work::Attach(run) => match attach(run, self.wants, pipes).await {
                Ok(()) => success(),
                Err(error) => failed(&error.to_string()),
            },
        };
        // A client that is gone does not care.
        let _ = outputs.send(Output::Status(status)).await;
    }
}

fn running(pod: &PodContext, container: &str) -> Result<Run, ApiError> {
    pod.run(container).ok_or_else(|| not_running(container))
}

fn not_running(container: &str) -> ApiError {
    ApiError::bad_request(format!("container {container:?} is not running"))
}

fn refuse_simulated(run: &Run, container: &str) -> Result<(), ApiError> {
    if run.simulated {
        return Err(ApiError::bad_request(format!(
            "container {container:?} is simulated: the sandbox executes only vkube's own image, so there is \
             no process to enter"
        )));
    }
    Ok(())
}

async fn execute(
    pod: &PodContext,
    mut launch: Launch,
    spec: &std::path::Path,
    wants: Wants,
    pipes: Pipes,
) -> std::io::Result<Exit> {
    if wants.tty {
        let terminal = Terminal::open()?;
        launch.terminal = Some(terminal.path().to_owned());
        launch.env.entry("TERM".into()).or_insert_with(|| "xterm".into());
        let mut process = Process::start(&pod.node.spawner, &launch, spec, false).await?;
        return Ok(on_terminal(&mut process, &terminal, wants, pipes).await);
    }
    let mut process = Process::start(&pod.node.spawner, &launch, spec, wants.stdin).await?;
    let Pipes { mut inputs, outputs } = pipes;
    let (stdin, stdout, stderr) = (process.stdin(), process.stdout(), process.stderr());
    let pump = async {
        tokio::join!(
            forward(stdout, wants.stdout, &outputs, Output::Stdout),
            forward(stderr, wants.stderr, &outputs, Output::Stderr),
        );
    };
    let feed = async {
        feed(stdin.map(|pipe| Stdin { pipe: Arc::new(Mutex::new(Some(pipe))), once: true }), &mut inputs)
            .await;
    };
    tokio::pin!(pump, feed);
    let mut client_gone = false;
    let mut exit = None;
    loop {
        tokio::select! {
            // Outputs may outlive the process only as long as it takes to read them.
            () = &mut pump => return Ok(match exit {
                Some(exit) => exit,
                None => process.wait().await,
            }),
            ended = process.wait(), if exit.is_none() => exit = Some(ended),
            () = &mut feed, if !client_gone => {
                client_gone = true;
                process.signal(Signal::SIGKILL);
            }
        }
    }
}

/// Passes input on until the client is gone. A process that takes none loses it; one that takes it once is told of its end.
async fn feed(stdin: Option<Stdin>, inputs: &mut mpsc::Receiver<Input>) {
    let close = async || {
        if let Some(Stdin { pipe, once: true }) = &stdin {
            pipe.lock().await.take();
        }
    };
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Bytes(bytes) => {
                if let Some(stdin) = &stdin {
                    let mut pipe = stdin.pipe.lock().await;
                    if let Some(open) = &mut *pipe
                        && open.write_all(&bytes).await.is_err()
                    {
                        pipe.take();
                    }
                }
            }
            Input::End => close().await,
            Input::Resize { .. } => {}
        }
    }
    close().await;
}

async fn forward(
    source: Option<impl AsyncRead + Unpin>,
    wanted: bool,
    outputs: &mpsc::Sender<Output>,
    wrap: fn(Bytes) -> Output,
) {
    let Some(mut source) = source else { return };
    let mut chunk = vec![0; READ];
    while let Ok(count) = source.read(&mut chunk).await {
        if count == 0 {
            return;
        }
        // Read on in any case: a full pipe would hold the process up.
        if wanted {
            let _ = outputs.send(wrap(Bytes::copy_from_slice(&chunk[..count]))).await;
        }
    }
}

async fn on_terminal(process: &mut Process, terminal: &Terminal, wants: Wants, pipes: Pipes) -> Exit {
    let Pipes { mut inputs, outputs } = pipes;
    let pump = async {
        let mut chunk = vec![0; READ];
        while let Ok(count) = terminal.read(&mut chunk).await {
            if count == 0 {
                break;
            }
            if wants.stdout {
                let _ = outputs.send(Output::Stdout(Bytes::copy_from_slice(&chunk[..count]))).await;
            }
        }
    };
    let feed = async {
        while let Some(input) = inputs.recv().await {
            match input {
                Input::Bytes(bytes) => drop(terminal.write_all(&bytes).await),
                // The terminal's own way to say that input ends.
                Input::End => drop(terminal.write_all(&[4]).await),
                Input::Resize { width, height } => terminal.resize(width, height),
            }
        }
    };
    tokio::pin!(pump, feed);
    let (mut client_gone, mut pumped) = (false, false);
    loop {
        tokio::select! {
            biased;
            () = &mut pump, if !pumped => pumped = true,
            exit = process.wait() => {
                if !pumped {
                    // What the process wrote last is still in the terminal.
                    terminal.hang_up();
                    pump.await;
                }
                return exit;
            }
            () = &mut feed, if !client_gone => {
                client_gone = true;
                process.signal(Signal::SIGHUP);
                process.signal(Signal::SIGKILL);
            }
        }
    }
}

async fn attach(run: Run, wants: Wants, pipes: Pipes) -> std::io::Result<()> {
    let Pipes { mut inputs, outputs } = pipes;
    let live = |output: &str| read::Options {
        follow: true,
        tail: Some(0),
        output: Some(output.into()),
        ..read::Options::default()
    };
    let progress = || Some(run.log.progress());
    let stdout = read::open(run.log.path(), live("stdout"), progress()).await?;
    let stderr = read::open(run.log.path(), live("stderr"), progress()).await?;
    let copy = async {
        tokio::join!(
            relay(stdout, wants.stdout, &outputs, Output::Stdout),
            relay(stderr, wants.stderr || wants.tty, &outputs, Output::Stderr),
        );
    };
    let stdin = run.live.and_then(|live| live.stdin).filter(|_| wants.stdin);
    tokio::select! {
        () = copy => {}
        () = feed(stdin, &mut inputs) => {}
    }
    Ok(())
}

async fn relay(
    chunks: impl Stream<Item = Bytes> + Send,
    wanted: bool,
    outputs: &mpsc::Sender<Output>,
    wrap: fn(Bytes) -> Output,
) {
    let mut chunks = std::pin::pin!(chunks);
    while let Some(bytes) = chunks.next().await {
        if wanted {
            let _ = outputs.send(wrap(bytes)).await;
        }
    }
}

fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

fn failed(message: &str) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("error executing command in container: {message}"),
    })
}

fn exited(exit: Exit) -> Value {
    if exit.code == 0 {
        return success();
    }
    let code = exit.code.to_string();
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code}]},
    })
}

#[cfg(test)]
mod tests {
    use vkube_apiserver::body;

    use super::*;

    fn mk_request(query: &str) -> Request {
        let mut request = Request::new(body::empty());
        *request.uri_mut() = format!("/exec?{query}").parse().unwrap();
        request
    }

    #[test]
    fn reads_what_a_request_wants() {
        let request = mk_request("command=sh&command=-c&command=echo+a%20b&stdout=true&stderr=1&container=c");
        assert_eq!(command(&request), ["sh", "-c", "echo a b"]);
        let wants = Wants { stdout: true, stderr: true, ..Wants::default() };
        assert_eq!(Wants::exec(&request), wants);
        let terminal = Wants::exec(&mk_request("stdin=true&stdout=true&stderr=true&tty=true"));
        assert!(terminal.tty && !terminal.stderr, "a terminal has one output");
    }

    #[test]
    fn tells_the_exit_code_as_kubectl_reads_it() {
        assert_eq!(exited(Exit { code: 0, signal: None })["status"], "Success");
        let failure = exited(Exit { code: 3, signal: None });
        assert_eq!(failure["reason"], "NonZeroExitCode");
        assert_eq!(failure["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
    }
}
