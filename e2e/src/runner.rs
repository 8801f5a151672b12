//! Runs cases one after the other against one world, and speaks like the usual harness.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

/// A name and what to run.
pub type Case<W> = (&'static str, fn(&W));

/// Names functions as cases.
#[macro_export]
macro_rules! cases {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),+]
    };
}

/// What the command line asks for.
#[derive(Default)]
struct Request {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    /// Only ignored ones, of which there are none.
    ignored: bool,
}

impl Request {
    fn read(mut args: impl Iterator<Item = String>) -> Self {
        let mut request = Self::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--exact" => request.exact = true,
                "--list" => request.list = true,
                "--ignored" => request.ignored = true,
                "--skip" => request.skip.extend(args.next()),
                "--format" | "--test-threads" | "--color" | "--logfile" | "-Z" => drop(args.next()),
                flag if flag.starts_with('-') => {}
                filter => request.filters.push(filter.into()),
            }
        }
        request
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| if self.exact { name == filter } else { name.contains(&**filter) };
        let chosen = self.filters.is_empty() || self.filters.iter().any(matches);
        chosen && !self.skip.iter().any(matches) && !self.ignored
    }
}

/// Makes the world, runs the cases that the command line asks for, and drops the world, whatever happened.
pub fn main<W>(cases: &[Case<W>], world: impl FnOnce() -> W) -> ExitCode {
    let request = Request::read(std::env::args().skip(1));
    let wanted: Vec<_> = cases.iter().filter(|(name, _)| request.wants(name)).collect();
    if request.list {
        for (name, _) in &wanted {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", wanted.len());
    let left_out = cases.len() - wanted.len();
    if wanted.is_empty() || !kubectl_is_there() {
        for (name, _) in &wanted {
            println!("test {name} ... ignored, there is no kubectl on this machine");
        }
        println!(
            "\ntest result: ok. 0 passed; 0 failed; {} ignored; 0 measured; {left_out} filtered out\n",
            wanted.len()
        );
        return ExitCode::SUCCESS;
    }

    let began = Instant::now();
    let world = world();
    let mut failed = Vec::new();
    for (name, case) in &wanted {
        let ok = catch_unwind(AssertUnwindSafe(|| case(&world))).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if !ok {
            failed.push(name);
        }
    }
    drop(world);
    if !failed.is_empty() {
        println!("\nfailures:");
        for name in &failed {
            println!("    {name}");
        }
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {left_out} filtered out; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        wanted.len() - failed.len(),
        failed.len(),
        began.elapsed().as_secs_f64(),
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn kubectl_is_there() -> bool {
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["version", "--client"]).stdout(Stdio::null()).stderr(Stdio::null());
    kubectl.status().is_ok_and(|status| status.success())
}
