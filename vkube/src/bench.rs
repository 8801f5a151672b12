//! `vkube bench`: the figures that vkube claims, measured where you are.

mod api;
mod controllers;
mod footprint;
mod operator;
mod process;
mod standalone;
mod sync;

use clap::Subcommand;

use crate::cli::{Failure, Outcome};

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Memory, CPU and start time of one idle virtual cluster.
    Footprint(footprint::Options),
    /// What requests cost an API server: rates, latencies, CPU and memory.
    Api(api::Options),
    /// CPU per pod of many Deployments, and what all controllers cost when idle.
    Controllers(controllers::Options),
    /// How fast pods of a virtual cluster are on the host, and what many of them cost.
    Sync(sync::Options),
    /// Memory and CPU of the operator by the number of virtual clusters.
    Operator(operator::Options),
}

/// Measures, in a directory that goes with the measurement.
pub async fn run(command: Command) -> Outcome {
    let directory = std::env::temp_dir().join(format!("vkube-bench-{}", std::process::id()));
    let outcome = match &command {
        Command::Footprint(options) => footprint::run(options, &directory).await,
        Command::Api(options) => api::run(options, &directory).await,
        Command::Controllers(options) => controllers::run(options, &directory).await,
        Command::Sync(options) => sync::run(options, &directory).await,
        Command::Operator(options) => operator::run(options, &directory).await,
    };
    // A measurement that never got to writing anything left nothing.
    let _ = std::fs::remove_dir_all(&directory);
    outcome
}
