//! `vkube logs NAME`: what a control plane says.

use std::time::Duration;

use clap::Args;
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::LogParams};

use super::{Target, state::duration};
use crate::cli::Outcome;

/// Whose, and how much.
#[derive(Debug, Args)]
pub struct Options {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// Go on as more is said.
    #[arg(short, long)]
    pub follow: bool,
    /// Of the process before the present one.
    #[arg(short, long)]
    pub previous: bool,
    /// Only the last lines.
    #[arg(long, value_name = "N")]
    pub tail: Option<i64>,
    /// Only what was said since.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<Duration>,
    /// With the time of each line.
    #[arg(long)]
    pub timestamps: bool,
}

/// Prints it.
pub async fn run(options: Options) -> Outcome {
    let (host, cluster) = options.target.find().await?;
    let namespace = cluster.status.as_ref().and_then(|status| status.host_namespace.clone());
    let namespace = namespace.ok_or("the VirtualCluster has no host namespace yet")?;
    let pods: Api<Pod> = Api::namespaced(host, &namespace);
    let params = LogParams {
        follow: options.follow,
        previous: options.previous,
        tail_lines: options.tail,
        since_seconds: options.since.map(|since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
        timestamps: options.timestamps,
        ..LogParams::default()
    };
    let mut lines = pods.log_stream(&format!("{}-0", cluster.name_any()), &params).await?.lines();
    while let Some(line) = lines.try_next().await? {
        println!("{line}");
    }
    Ok(())
}
