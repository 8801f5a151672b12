//! `vkube bench operator`: what the operator costs by the number of clusters that it looks after.
//!
//! The control planes are simulated by the sandbox's node, so that the machine carries hundreds of them: what is measured is
//! the operator's process alone.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use kube::{Api, Client, api::PostParams, runtime::wait::await_condition};
use serde_json::json;
use tokio::process::{Child, Command};
use vkube_crds::VirtualCluster;
use vkube_sandbox::host::{self, Sandbox, install};

use super::{process, standalone::free_port};
use crate::{
    cli::{Failure, Outcome},
    sandbox::Output,
};

/// The image of control planes: any other than vkube's own is simulated.
const IMAGE: &str = "example.com/simulated:1";
/// How many clusters are created at once.
const AT_ONCE: usize = 16;
/// Longer than a cluster takes to be ready among hundreds.
const PATIENCE: Duration = Duration::from_mins(5);

/// How to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// The numbers of clusters to measure at, each above the one before.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,100,500")]
    pub clusters: Vec<usize>,
    /// How long the operator is watched at each number, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub idle: u64,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Measures and prints.
pub async fn run(options: &Options, directory: &Path) -> Outcome {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let sandbox = Sandbox::start(host::Options {
        listen,
        install: false,
        ..host::Options::new(directory.join("sandbox"))?
    })
    .await?;
    let host = sandbox.client();
    install::apply(&host, IMAGE, install::Operator::Elsewhere).await?;
    let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut operator = start(&directory.join("sandbox/kubeconfig"), metrics)?;
    let outcome = measure_at(options, &host, &operator, metrics).await;
    operator.kill().await?;
    sandbox.stop().await;
    outcome
}

async fn measure_at(options: &Options, host: &Client, operator: &Child, metrics: SocketAddr) -> Outcome {
    let mut there = 0;
    for &number in &options.clusters {
        let began = Instant::now();
        let names = (there..number).map(|index| format!("bench-{index}"));
        stream::iter(names)
            .map(|name| ready(host.clone(), name))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let took = began.elapsed();
        there = there.max(number);
        // What the last creation left to do has been done after a moment.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let pid = operator.id().ok_or("the operator has ended")?;
        let (before, written) = (process::read(pid).ok_or("the operator has ended")?, writes(metrics).await?);
        tokio::time::sleep(Duration::from_secs(options.idle.max(1))).await;
        let (after, wrote) = (process::read(pid).ok_or("the operator has ended")?, writes(metrics).await?);
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1000.0 / options.idle.max(1) as f64;
        let resident = after.resident as f64 / 1024.0;
        let writes = wrote - written;
        match options.output {
            Output::Json => println!(
                "{}",
                json!({
                    "clusters": number,
                    "residentKiB": after.resident,
                    "idleCpuMillisecondsPerSecond": cpu,
                    "idleWrites": writes,
                    "secondsToReady": took.as_secs_f64(),
                })
            ),
            Output::Text => println!(
                "{number:>5} clusters  {resident:>6.1} MiB resident  {cpu:>6.2} ms CPU a second  \
                 {writes:>3} writes in {} s idle  all ready after {:.1} s",
                options.idle,
                took.as_secs_f64()
            ),
        }
    }
    Ok(())
}

fn start(kubeconfig: &Path, metrics: SocketAddr) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["operator", "--image", IMAGE, "--leader-elect=false", "--persistence=false", "--probe=false"])
        .args(["--listen", &metrics.to_string()])
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

/// Creates a cluster and waits until it is ready.
async fn ready(host: Client, name: String) -> Result<(), Failure> {
    let clusters: Api<VirtualCluster> = Api::namespaced(host, "default");
    // What is simulated needs nothing, and the node has only what the machine has.
    let spec = json!({"controlPlane": {"resources": {"requests": {"cpu": "0", "memory": "0"}}}});
    let cluster = VirtualCluster::new(&name, serde_json::from_value(spec)?);
    clusters.create(&PostParams::default(), &cluster).await?;
    let ready = await_condition(clusters, &name, crate::sandbox::demo::is_ready);
    tokio::time::timeout(PATIENCE, ready).await.map_err(|_| format!("{name} is not ready"))??;
    Ok(())
}

/// How many writes to host objects the operator has counted.
async fn writes(metrics: SocketAddr) -> Result<u64, Failure> {
    let config = kube::Config::new(format!("http://{metrics}").parse()?);
    let client = Client::try_from(config)?;
    let text = client.request_text(http::Request::get("/metrics").body(Vec::new())?).await?;
    let counts = text.lines().filter(|line| line.starts_with("vkube_apply_total{"));
    Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}
