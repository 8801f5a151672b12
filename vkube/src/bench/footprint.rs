//! `vkube bench footprint`: what one idle virtual cluster costs, and how fast it is there.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use kube::{Api, Client, api::PostParams, runtime::wait::await_condition};
use serde_json::json;
use vkube_crds::VirtualCluster;
use vkube_sandbox::host::{self, Sandbox};

use super::{
    Failure, process,
    standalone::{Standalone, free_port},
};
use crate::{cli::Outcome, connect, sandbox::Output};

const CLUSTER: &str = "footprint";

/// How to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// How many times each start is measured; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub runs: usize,
    /// How long the idle cluster is watched, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub idle: u64,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Measures and prints.
pub async fn run(options: &Options, directory: &Path) -> Outcome {
    let mut starts = Vec::new();
    for run in 0..options.runs.max(1) {
        starts.push(start_to_ready(&directory.join(format!("standalone-{run}"))).await?);
    }
    let sandbox = Sandbox::start(host::Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)),
        ..host::Options::new(directory.join("sandbox"))?
    })
    .await?;
    let host = sandbox.client();
    let mut applies = Vec::new();
    for run in 0..options.runs.max(1) {
        applies.push(apply_to_ready(&host, &format!("{CLUSTER}-{run}")).await?);
    }
    let pid = process::find(&["controlplane", "--name", &format!("{CLUSTER}-0")])
        .ok_or("the control plane's process is not there")?;
    // What the start left to do has been done after a moment.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = process::read(pid).ok_or("the control plane has ended")?;
    tokio::time::sleep(Duration::from_secs(options.idle.max(1))).await;
    let after = process::read(pid).ok_or("the control plane has ended")?;
    sandbox.stop().await;

    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1000.0 / options.idle.max(1) as f64;
    let (start, apply) = (median(starts), median(applies));
    match options.output {
        Output::Json => println!(
            "{}",
            json!({
                "residentKiB": after.resident,
                "privateKiB": after.private,
                "threads": after.threads,
                "idleCpuMillisecondsPerSecond": cpu,
                "startToReadyzMilliseconds": start.as_secs_f64() * 1000.0,
                "applyToReadyMilliseconds": apply.as_secs_f64() * 1000.0,
            })
        ),
        Output::Text => {
            println!(
                "One idle virtual cluster (API server, controllers, syncer, DNS, store in one process):"
            );
            println!("  resident memory           {:>8.1} MiB", after.resident as f64 / 1024.0);
            println!("  of it not shared          {:>8.1} MiB", after.private as f64 / 1024.0);
            println!("  CPU when idle             {cpu:>8.2} ms a second");
            println!("  threads                   {:>8}", after.threads);
            println!("  process start to /readyz  {:>8.0} ms", start.as_secs_f64() * 1000.0);
            println!("  apply to Ready=True       {:>8.0} ms", apply.as_secs_f64() * 1000.0);
        }
    }
    Ok(())
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort();
    durations.get(durations.len() / 2).copied().unwrap_or_default()
}

/// From the start of a control plane's process until `/readyz` says ok.
async fn start_to_ready(directory: &Path) -> Result<Duration, Failure> {
    let began = Instant::now();
    let plane = Standalone::start(directory, &[]).await?;
    let took = began.elapsed();
    plane.kill().await?;
    Ok(took)
}

/// From creating a VirtualCluster until it is Ready and its kubeconfig works.
async fn apply_to_ready(host: &Client, name: &str) -> Result<Duration, Failure> {
    let clusters: Api<VirtualCluster> = Api::namespaced(host.clone(), "default");
    let cluster: VirtualCluster = serde_json::from_value(json!({
        "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster", "metadata": {"name": name}, "spec": {},
    }))?;
    let began = Instant::now();
    clusters.create(&PostParams::default(), &cluster).await?;
    let ready = await_condition(clusters, name, crate::sandbox::demo::is_ready);
    let cluster =
        tokio::time::timeout(Duration::from_mins(1), ready).await.map_err(|_| "not ready in a minute")??;
    let document = connect::kubeconfig_of(host, &cluster.ok_or("the cluster is gone")?).await?;
    connect::client(&document).await?.apiserver_version().await?;
    Ok(began.elapsed())
}
