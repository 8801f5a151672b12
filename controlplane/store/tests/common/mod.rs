//! A PostgreSQL server for tests, where the machine has one installed.

#![allow(dead_code)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// Runs a server until its standard input ends, which is when the test's process does, however it ends.
const SCRIPT: &str = r#"
    set -e
    directory=$(mktemp -d) && chmod 711 "$directory"
    trap 'rm -rf "$directory"' EXIT
    initdb -D "$directory/data" -U vkube -A trust -E UTF8 --locale=C --no-sync >/dev/null
    start() {
        postgres -D "$directory/data" -k "$directory" -c listen_addresses= -c max_connections=400 -c fsync=off \
            -c autovacuum_naptime=1s -c shared_buffers=64MB >/dev/null 2>&1 </dev/null &
        server=$!
        until pg_isready -q -h "$directory" -U vkube -d postgres; do kill -0 $server; sleep 0.1; done
    }
    stop() { kill -INT $server; wait $server || true; }
    start
    trap 'stop; rm -rf "$directory"' EXIT
    echo "$directory"
    while read -r command; do eval "$command"; echo done; done
"#;

/// A running server.
pub struct Server {
    directory: String,
    child: Mutex<Child>,
    answers: Mutex<BufReader<ChildStdout>>,
}

impl Server {
    /// Where it is, as `--store` has it.
    pub fn url(&self) -> String {
        format!("host={} user=vkube dbname=postgres", self.directory)
    }

    /// Stops it; its data stays.
    pub fn stop(&self) {
        self.tell("stop");
    }

    /// Starts it again.
    pub fn restart(&self) {
        self.tell("start");
    }

    /// Runs a statement.
    pub fn run(&self, statement: &str) {
        let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        self.tell(&format!("psql -q -h \"$directory\" -U vkube -d postgres -c \"{statement}\" >/dev/null"));
    }

    fn tell(&self, command: &str) {
        let mut child = self.child.lock().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{command}").unwrap();
        let mut answer = String::new();
        self.answers.lock().unwrap().read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "{command}");
    }

    /// A schema that nobody else has.
    pub fn schema(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// The server that the tests of this process share; nothing where PostgreSQL is not installed.
pub fn shared() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
}

/// A server of one's own; nothing where PostgreSQL is not installed.
pub fn start() -> Option<Server> {
    let Some(binaries) = binaries() else {
        eprintln!("skipped: there is no PostgreSQL on this machine (apt-get install postgresql)");
        return None;
    };
    // It does not run as root.
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = Command::new(if is_root { "runuser" } else { "sh" });
    command.args(if is_root { &["-u", "postgres", "--", "sh", "-c", SCRIPT][..] } else { &["-c", SCRIPT] });
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{binaries}:{path}")).env("TMPDIR", "/tmp").current_dir("/");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut directory = String::new();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    answers.read_line(&mut directory).unwrap();
    assert!(!directory.is_empty(), "the server did not start");
    let directory = directory.trim().to_owned();
    Some(Server { directory, child: Mutex::new(child), answers: Mutex::new(answers) })
}

/// Where `initdb` and `postgres` are: Debian keeps them out of the path.
fn binaries() -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin").display().to_string());
    let mut all = path.split(':').map(ToOwned::to_owned).chain(debian);
    all.find(|directory| std::path::Path::new(directory).join("initdb").exists())
}
