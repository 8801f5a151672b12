//! A PostgreSQL server for tests, where the machine has one installed.

#![allow(dead_code, reason = "not every test needs all of it")]
#![allow(clippy::unwrap_used, clippy::unused_self, reason = "all of this is for tests")]

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
        postgres -D "$directory/data" -k "$directory" -c listen_addresses="$ADDRESS" -c max_connections=400 -c fsync=off \
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
    /// Where it listens for those who cannot see its socket, if it does.
    port: Option<u16>,
    child: Mutex<Child>,
    answers: Mutex<BufReader<ChildStdout>>,
}

impl Server {
    /// Where it is, as `--store` has it.
    pub fn url(&self) -> String {
        format!("host={} user=vkube dbname=postgres", self.directory)
    }

    /// The same as one word.
    pub fn uri(&self) -> String {
        self.port.map_or_else(
            || format!("postgres://vkube@{}/postgres", self.directory.replace('/', "%2F")),
            |port| format!("postgres://vkube@127.0.0.1:{port}/postgres?sslmode=disable"),
        )
    }

    /// How many schemas have a name that begins so.
    pub fn schemas(&self, prefix: &str) -> usize {
        let count = format!("SELECT count(*) FROM pg_namespace WHERE nspname LIKE '{prefix}%'");
        let answer = self.ask(&format!("psql -qtA -h \"$directory\" -U vkube -d postgres -c \"{count}\""));
        answer.trim().parse().unwrap()
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
        assert_eq!(self.ask(command), "", "{command}");
    }

    /// What a command says on one line, if anything.
    fn ask(&self, command: &str) -> String {
        let mut child = self.child.lock().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{command}").unwrap();
        let mut answers = self.answers.lock().unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(answers.read_line(&mut line).unwrap() > 0, "the server has ended: {command}");
            if line == "done\n" {
                return said;
            }
            said.push_str(&line);
        }
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
    launch(None)
}

/// One that listens on a port of this machine as well.
pub fn listen() -> Option<Server> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    launch(Some(free.port()))
}

fn launch(port: Option<u16>) -> Option<Server> {
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
    command.env("ADDRESS", port.map_or("", |_| "127.0.0.1")).env("PGPORT", port.unwrap_or(5432).to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut directory = String::new();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    answers.read_line(&mut directory).unwrap();
    assert!(!directory.is_empty(), "the server did not start");
    let directory = directory.trim().to_owned();
    Some(Server { directory, port, child: Mutex::new(child), answers: Mutex::new(answers) })
}

/// Where `initdb` and `postgres` are: Debian keeps them out of the path.
fn binaries() -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin").display().to_string());
    let mut all = path.split(':').map(ToOwned::to_owned).chain(debian);
    all.find(|directory| std::path::Path::new(directory).join("initdb").exists())
}
