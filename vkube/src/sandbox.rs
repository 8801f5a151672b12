//! `vkube sandbox`: a host cluster in one command, for trying and testing.

pub mod demo;
mod start;
pub mod state;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use self::state::State;
use crate::cli::Outcome;

/// Starts the sandbox, unless a subcommand says otherwise.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to do instead of starting.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to start.
    #[command(flatten)]
    pub start: StartOptions,
}

/// What can be done with a sandbox.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a sandbox (the default).
    Start(StartOptions),
    /// Stop the sandbox that runs in the background.
    Stop(StateOptions),
    /// Say whether a sandbox runs, and where.
    Status(StatusOptions),
}

/// Where the sandbox is.
#[derive(Clone, Debug, Args)]
pub struct StateOptions {
    /// Where the sandbox keeps its data.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// How to start a sandbox.
#[derive(Clone, Debug, Args)]
pub struct StartOptions {
    /// Where it is.
    #[command(flatten)]
    pub state: StateOptions,
    /// Create a virtual cluster, run something in it, and show both sides.
    #[arg(long)]
    pub demo: bool,
    /// With --demo: end once everything has been shown.
    #[arg(long, requires = "demo")]
    pub exit: bool,
    /// Start a host without vkube, to install it by its manifests.
    #[arg(long, conflicts_with = "demo")]
    pub bare: bool,
    /// Go on in the background once it is ready; `vkube sandbox stop` ends it.
    #[arg(long, conflicts_with = "demo")]
    pub detach: bool,
    /// Where the host's API server listens.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7443")]
    pub listen: SocketAddr,
}

/// How to show the status.
#[derive(Clone, Debug, Args)]
pub struct StatusOptions {
    /// Where it is.
    #[command(flatten)]
    pub state: StateOptions,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Forms of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Runs the subcommand.
pub async fn run(options: Options) -> Outcome {
    match options.command {
        None => start::run(options.start).await,
        Some(Command::Start(options)) => start::run(options).await,
        Some(Command::Stop(options)) => stop(options).await,
        Some(Command::Status(options)) => status(&options),
    }
}

fn state(options: &StateOptions) -> Result<State, &'static str> {
    State::new(options.data_dir.clone()).ok_or("no home directory; give --data-dir")
}

async fn stop(options: StateOptions) -> Outcome {
    let state = state(&options)?;
    let Some(pid) = state.running() else {
        println!("No sandbox is running.");
        return Ok(());
    };
    State::terminate(pid)?;
    for _ in 0..300 {
        if state.running().is_none() {
            println!("The sandbox has stopped.");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("the sandbox (process {pid}) does not stop; its log is {}", state.log().display()).into())
}

fn status(options: &StatusOptions) -> Outcome {
    let state = state(&options.state)?;
    let pid = state.running();
    match options.output {
        Output::Json => {
            let kubeconfig = pid.map(|_| state.kubeconfig());
            println!("{}", json!({"running": pid.is_some(), "pid": pid, "kubeconfig": kubeconfig}));
        }
        Output::Text => match pid {
            Some(pid) => {
                println!("The sandbox is running (process {pid}).");
                println!("export KUBECONFIG={}", state.kubeconfig().display());
            }
            None => println!("No sandbox is running; `vkube sandbox` starts one."),
        },
    }
    Ok(())
}
