//! `vkube bench`: the figures that vkube claims, measured where you are.

mod footprint;
mod process;
mod sync;

use clap::Subcommand;

use crate::cli::Outcome;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Memory, CPU and start time of one idle virtual cluster.
    Footprint(footprint::Options),
    /// How fast pods of a virtual cluster are on the host, and what many of them cost.
    Sync(sync::Options),
}

/// Measures.
pub async fn run(command: Command) -> Outcome {
    match command {
        Command::Footprint(options) => footprint::run(options).await,
        Command::Sync(options) => sync::run(options).await,
    }
}
