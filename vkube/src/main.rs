//! The `vkube` binary: operator, control plane, sandbox and command line in one.

// First: its macros are everybody's.
#[macro_use]
mod out;

mod bench;
mod cli;
mod clusters;
mod connect;
mod controlplane;
mod hello;
mod kubeconfig;
mod operator;
mod progress;
mod sandbox;
mod stop;
mod sync;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|a| a == vkube_sandbox::exec::SUBCOMMAND) {
        // Entering namespaces needs a process with one thread, so this comes before any runtime.
        vkube_sandbox::exec::exec_main(std::env::args_os().skip(2));
    }
    let cli = cli::parse();
    cli::init_logging(cli.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.command.worker_threads())
        .max_blocking_threads(16)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return cli::fail(&error),
    };
    let result = runtime.block_on(cli::run(cli.command));
    // Blocked readers of a store must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::fail(error.as_ref()),
    }
}
