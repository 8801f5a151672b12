//! The sandbox as its user sees it. This program plays the executable too: the node starts it again for
//! each process, so it has a `main` of its own and runs its scenarios one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "all of this is a test, which the lints cannot see without the usual harness"
)]

mod scenarios;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    args.next();
    match args.next() {
        Some(first) if first == vkube_sandbox::exec::SUBCOMMAND => vkube_sandbox::exec::exec_main(args),
        Some(first) if first == workload::SUBCOMMAND => workload::run(args),
        Some(first) if first == scenarios::restarts::HOST => scenarios::restarts::host(args),
        first => {
            let filter = first.into_iter().chain(args).find(|arg| !arg.to_string_lossy().starts_with('-'));
            scenarios::run(filter.as_deref().and_then(|filter| filter.to_str()))
        }
    }
}
