//! The command line.

use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tracing::level_filters::LevelFilter;

use crate::{bench, connect, controlplane, hello, operator, sandbox};

/// Why a subcommand fails.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a subcommand ends with.
pub type Outcome = Result<(), Failure>;

/// Virtual Kubernetes clusters that cost megabytes and start in well under a second.
#[derive(Debug, Parser)]
#[command(name = "vkube", version, propagate_version = true)]
pub struct Cli {
    /// Log more: -v for what changes, -vv for every step.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start, stop or look at a sandbox: a host cluster in one command.
    Sandbox(Box<sandbox::Options>),
    /// Get a kubeconfig for a virtual cluster, or run a command with it.
    Connect(connect::Options),
    /// Print the manifests that install vkube on a host cluster.
    Manifests {
        /// The image of the operator and of control planes.
        #[arg(long, value_name = "IMAGE", default_value = vkube_operator::install::DEFAULT_IMAGE)]
        image: String,
    },
    /// Measure what vkube claims.
    Bench {
        /// What to measure.
        #[command(subcommand)]
        command: bench::Command,
    },
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Run the operator on a host cluster.
    Operator(operator::Options),
    /// Run the control plane of a virtual cluster.
    Controlplane(Box<controlplane::Options>),
    /// Run a small web server, as a workload to try things with.
    Hello(hello::Options),
}

impl Command {
    /// Threads for the async runtime. What runs in pods is idle most of its life.
    pub fn worker_threads(&self) -> usize {
        match self {
            Self::Sandbox(_) | Self::Bench { .. } => 4,
            Self::Hello(_) => 1,
            _ => 2,
        }
    }
}

/// Runs a subcommand.
pub async fn run(command: Command) -> Outcome {
    match command {
        Command::Sandbox(options) => sandbox::run(*options).await,
        Command::Connect(options) => connect::run(options).await,
        Command::Manifests { image } => {
            print!("{}", vkube_operator::install_yaml(&image));
            Ok(())
        }
        Command::Bench { command } => bench::run(command).await,
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "vkube", &mut std::io::stdout());
            Ok(())
        }
        Command::Operator(options) => operator::run(options).await,
        Command::Controlplane(options) => controlplane::run(*options).await,
        Command::Hello(options) => hello::run(options).await,
    }
}

/// Logs to standard error.
pub fn init_logging(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(verbose > 1)
        .init();
}

/// Prints an error with its causes.
pub fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    ExitCode::FAILURE
}
