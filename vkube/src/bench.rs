//! `vkube bench`: the figures that vkube claims, measured where you are.

mod footprint;
mod operator;
mod process;

use clap::Subcommand;

use crate::cli::Outcome;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Memory, CPU and start time of one idle virtual cluster.
    Footprint(footprint::Options),
    /// Memory and CPU of the operator by the number of virtual clusters.
    Operator(operator::Options),
}

/// Measures.
pub async fn run(command: Command) -> Outcome {
    match command {
        Command::Footprint(options) => footprint::run(options).await,
        Command::Operator(options) => operator::run(options).await,
    }
}
