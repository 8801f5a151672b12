//! `vkube bench`: the figures that vkube claims, measured where you are.

mod controllers;
mod footprint;
mod process;
mod standalone;

use clap::Subcommand;

use crate::cli::Outcome;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Memory, CPU and start time of one idle virtual cluster.
    Footprint(footprint::Options),
    /// CPU per pod of many Deployments, and what all controllers cost when idle.
    Controllers(controllers::Options),
}

/// Measures.
pub async fn run(command: Command) -> Outcome {
    match command {
        Command::Footprint(options) => footprint::run(options).await,
        Command::Controllers(options) => controllers::run(options).await,
    }
}
