//! The command line.

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::controlplane;

/// What a subcommand ends with.
pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

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
    /// Run the control plane of a virtual cluster.
    Controlplane(Box<controlplane::Options>),
}

impl Command {
    /// Threads for the async runtime. A control plane is idle most of its life.
    pub fn worker_threads(&self) -> usize {
        2
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
