//! Commands as a user types them, and waiting for what they bring about.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Nothing takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// A shell with a kubeconfig, in which `vkube` is the tested one.
#[derive(Clone, Debug)]
pub struct Shell {
    /// What `KUBECONFIG` names.
    pub kubeconfig: PathBuf,
    /// `HOME`, so that the user's own settings and caches are neither used nor changed.
    pub home: PathBuf,
    /// The directory of `vkube`.
    pub path: PathBuf,
}

/// What a command said.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Shell {
    /// The same shell with another kubeconfig.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: PathBuf) -> Self {
        Self { kubeconfig, ..self.clone() }
    }

    fn command(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .env("PATH", format!("{}:{path}", self.path.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a line to its end, with this on its standard input.
    pub fn run_with(&self, line: &str, input: &str) -> Output {
        let mut child = self.command(line).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // A command that ends without reading is no error.
        thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let stdout = read(child.stdout.take().unwrap());
        let stderr = read(child.stderr.take().unwrap());
        let deadline = Instant::now() + PATIENCE * 2;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("{line}: did not end");
            }
            thread::sleep(Duration::from_millis(5));
        };
        let text = |receiver: Receiver<String>| receiver.recv_timeout(PATIENCE).unwrap_or_default();
        Output { status, stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs a line to its end.
    pub fn run(&self, line: &str) -> Output {
        self.run_with(line, "")
    }

    /// What a line prints. It must succeed.
    pub fn ok(&self, line: &str) -> String {
        self.ok_with(line, "")
    }

    /// What a line prints, given an input. It must succeed.
    pub fn ok_with(&self, line: &str, input: &str) -> String {
        let output = self.run_with(line, input);
        assert!(output.status.success(), "{line}: {}\n{}{}", output.status, output.stdout, output.stderr);
        output.stdout
    }

    /// What a line says as it fails, as it must.
    pub fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line}: succeeded\n{}{}", output.stdout, output.stderr);
        output.stderr
    }

    /// `kubectl apply`.
    pub fn apply(&self, manifest: &str) -> String {
        self.ok_with("kubectl apply -f -", manifest)
    }

    /// What a line prints, as JSON.
    pub fn json(&self, line: &str) -> Value {
        let text = self.ok(line);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}\n{text}"))
    }

    /// Waits until a line succeeds and prints what is asked for. Returns what it printed.
    pub fn until(&self, line: &str, holds: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        eventually(line, || {
            let output = self.run(line);
            let done = output.status.success() && holds(&output.stdout);
            last = output.stdout + &output.stderr;
            done.then(|| last.clone()).ok_or_else(|| last.clone())
        })
    }

    /// Starts a line that goes on, such as a watch. It must be one program.
    pub fn start(&self, line: &str) -> Background {
        let mut child = self.command(&format!("exec {line}")).stdin(Stdio::null()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        // So that it never has to wait for a reader.
        drop(read(child.stderr.take().unwrap()));
        Background { line: line.into(), child, lines }
    }
}

/// A command that goes on. It ends when this is dropped.
pub struct Background {
    line: String,
    child: Child,
    lines: Receiver<String>,
}

impl Background {
    /// Waits for a line of its output.
    pub fn line(&self, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if holds(&line) => return line,
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("{}: only printed {seen:#?}", self.line),
                Err(RecvTimeoutError::Disconnected) => panic!("{}: ended after {seen:#?}", self.line),
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition, which says what is there while it does not hold.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(found) => assert!(Instant::now() < deadline, "{what}: still not so\n{found}"),
        }
        thread::sleep(INTERVAL);
    }
}

fn read(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is worth showing.
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
