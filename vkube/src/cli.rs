//! The command line.

use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use tracing::level_filters::LevelFilter;

use crate::{bench, clusters, connect, controlplane, hello, operator, sandbox};

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
    /// Create a virtual cluster and wait until it is ready.
    Create(Box<clusters::CreateOptions>),
    /// List virtual clusters.
    #[command(visible_alias = "ls")]
    List(clusters::ListOptions),
    /// Show a virtual cluster: its state, endpoints, certificates, conditions and events.
    Describe(clusters::DescribeOptions),
    /// Switch to a virtual cluster, or run a command in it.
    Connect(connect::Options),
    /// Print a virtual cluster's kubeconfig.
    Kubeconfig(clusters::KubeconfigOptions),
    /// Have the operator leave a virtual cluster as it is.
    Pause(clusters::StateOptions),
    /// Have the operator look after a virtual cluster again.
    Resume(clusters::StateOptions),
    /// Put a virtual cluster to sleep: control plane and pods go, the data stays.
    Sleep(clusters::StateOptions),
    /// Wake a virtual cluster.
    Wake(clusters::StateOptions),
    /// Reissue the certificates of a virtual cluster.
    Rotate(clusters::RotateOptions),
    /// Delete virtual clusters.
    #[command(visible_alias = "rm")]
    Delete(clusters::DeleteOptions),
    /// Print what a virtual cluster's control plane logs.
    Logs(clusters::LogsOptions),
    /// Take, list, delete or download snapshots of a virtual cluster.
    Snapshot {
        /// What to do with snapshots.
        #[command(subcommand)]
        command: clusters::SnapshotCommand,
    },
    /// Bring a virtual cluster to a snapshot: what it lacks goes, what it holds is there again.
    Restore(clusters::RestoreOptions),
    /// List or show the policies that shape virtual clusters.
    Policy {
        /// What to do with policies.
        #[command(subcommand)]
        command: clusters::PolicyCommand,
    },
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

/// The name of the program where kubectl runs it as its plugin `kubectl vkube`.
const PLUGIN: &str = "kubectl-vkube";

/// Reads the command line. Run under the name of the plugin, help speaks of `kubectl vkube`.
pub fn parse() -> Cli {
    let program = std::env::args_os().next().map(std::path::PathBuf::from);
    let is_plugin = program.is_some_and(|path| path.file_stem().is_some_and(|name| name == PLUGIN));
    let command = if is_plugin { Cli::command().bin_name("kubectl vkube") } else { Cli::command() };
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
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
        Command::Create(options) => clusters::create(*options).await,
        Command::List(options) => clusters::list(options).await,
        Command::Describe(options) => clusters::describe(options).await,
        Command::Connect(options) => connect::run(options).await,
        Command::Kubeconfig(options) => clusters::kubeconfig(options).await,
        Command::Pause(options) => clusters::pause(options).await,
        Command::Resume(options) => clusters::resume(options).await,
        Command::Sleep(options) => clusters::sleep(options).await,
        Command::Wake(options) => clusters::wake(options).await,
        Command::Rotate(options) => clusters::rotate(options).await,
        Command::Delete(options) => clusters::delete(options).await,
        Command::Logs(options) => clusters::logs(options).await,
        Command::Snapshot { command } => clusters::snapshot(command).await,
        Command::Restore(options) => clusters::restore(options).await,
        Command::Policy { command } => clusters::policy(command).await,
        Command::Manifests { image } => {
            print!("{}", vkube_operator::install_yaml(&image));
            Ok(())
        }
        Command::Bench { command } => bench::run(command).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "vkube", &mut script);
            print!("{}", String::from_utf8_lossy(&script));
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
