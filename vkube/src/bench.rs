//! `vkube bench`: the figures that vkube claims, measured where you are.

mod footprint;
mod process;

use clap::Subcommand;

use crate::cli::Outcome;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Memory, CPU and start time of one idle virtual cluster.
    Footprint(footprint::Options),
}

/// Measures.
pub async fn run(command: Command) -> Outcome {
    match command {
        Command::Footprint(options) => footprint::run(options).await,
    }
}
