//! `vkube bench controllers`: what Deployments cost a control plane, and how that grows with their number.
//!
//! For each size a fresh control plane gets Deployments of ten pods until that many pods are available. The pods are
//! placed by their template and said to be ready by this process, which plays the kubelet and is not counted. Work
//! without quadratic parts costs the same CPU per pod at every size.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use comfy_table::{Table, presets};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Node, Pod},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Failure, process, standalone::Standalone};
use crate::{cli::Outcome, sandbox::Output};

/// Pods of one Deployment.
const REPLICAS: usize = 10;
/// Deployments of one namespace, as tenants have them: in many namespaces, not all in one.
const NAMESPACE: usize = 50;
/// Requests of this process under way at once.
const CONCURRENCY: usize = 16;
/// What the start left to do has been done after a moment.
const SETTLE: Duration = Duration::from_secs(3);

/// How to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// How many pods, in Deployments of ten.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1_000, 2_000, 5_000, 10_000])]
    pub pods: Vec<usize>,
    /// How long the idle cluster is watched, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub idle: u64,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// What an idle control plane uses.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Idle {
    #[serde(rename = "anonymousKiB")]
    anonymous: u64,
    cpu_milliseconds_per_second: f64,
}

/// What one size cost.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    pods: usize,
    cpu_milliseconds_per_pod: f64,
    seconds: f64,
    after: Idle,
}

/// Measures and prints.
pub async fn run(options: &Options, directory: &Path) -> Outcome {
    let seconds = options.idle.max(1);
    let bare = Standalone::start(&directory.join("bare"), &["--controllers=false"]).await?;
    let without = idle(&bare, seconds).await?;
    bare.kill().await?;
    let full = Standalone::start(&directory.join("full"), &[]).await?;
    let with = idle(&full, seconds).await?;
    full.kill().await?;

    let mut sizes = Vec::new();
    for pods in &options.pods {
        sizes.push(roll_out(&directory.join(pods.to_string()), *pods, seconds).await?);
    }
    match options.output {
        Output::Json => println!("{}", json!({"withoutControllers": without, "idle": with, "sizes": sizes})),
        Output::Text => print(without, with, &sizes),
    }
    Ok(())
}

fn print(without: Idle, with: Idle, sizes: &[Measured]) {
    let mib = |idle: Idle| idle.anonymous as f64 / 1024.0;
    println!("One idle control plane, memory without the program itself:");
    println!("  without controllers  {:>8.1} MiB", mib(without));
    println!("  with all of them     {:>8.1} MiB", mib(with));
    println!("  CPU when idle        {:>8.2} ms a second", with.cpu_milliseconds_per_second);
    println!();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["PODS", "CPU PER POD", "TIME", "MEMORY", "CPU WHEN IDLE"]);
    for size in sizes {
        table.add_row([
            size.pods.to_string(),
            format!("{:.2} ms", size.cpu_milliseconds_per_pod),
            format!("{:.1} s", size.seconds),
            format!("{:.1} MiB", mib(size.after)),
            format!("{:.2} ms a second", size.after.cpu_milliseconds_per_second),
        ]);
    }
    println!("{table}");
}

async fn idle(plane: &Standalone, seconds: u64) -> Result<Idle, Failure> {
    tokio::time::sleep(SETTLE).await;
    let before = reading(plane)?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = reading(plane)?;
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1000.0 / seconds as f64;
    Ok(Idle { anonymous: after.anonymous, cpu_milliseconds_per_second: cpu })
}

fn reading(plane: &Standalone) -> Result<process::Reading, Failure> {
    process::read(plane.pid()?).ok_or_else(|| "the control plane has ended".into())
}

/// From the first Deployment until all pods are available.
async fn roll_out(directory: &Path, pods: usize, seconds: u64) -> Result<Measured, Failure> {
    let plane = Standalone::start(directory, &[]).await?;
    let client = plane.client.clone();
    let deployments = pods.div_ceil(REPLICAS);
    prepare(&client, deployments.div_ceil(NAMESPACE)).await?;
    tokio::time::sleep(SETTLE).await;

    let (before, began) = (reading(&plane)?, Instant::now());
    let creating = async {
        futures::stream::iter((0..deployments).map(|number| create(&client, number)))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        available(&client, deployments).await
    };
    tokio::select! {
        done = creating => done?,
        ended = kubelet(&client) => ended?,
    }
    let (seconds_taken, after) = (began.elapsed().as_secs_f64(), reading(&plane)?);
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1000.0;
    let after = idle(&plane, seconds).await?;
    plane.kill().await?;
    let pods = deployments * REPLICAS;
    Ok(Measured { pods, cpu_milliseconds_per_pod: cpu / pods as f64, seconds: seconds_taken, after })
}

async fn prepare(client: &Client, namespaces: usize) -> Result<(), Failure> {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = serde_json::from_value(json!({"metadata": {"name": "bench"}}))?;
    nodes.create(&PostParams::default(), &node).await?;
    for number in 0..namespaces {
        let all: Api<Namespace> = Api::all(client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": format!("bench-{number}")}}))?;
        all.create(&PostParams::default(), &namespace).await?;
    }
    Ok(())
}

async fn create(client: &Client, number: usize) -> Result<(), Failure> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &format!("bench-{}", number / NAMESPACE));
    let name = format!("web-{number}");
    let labels = json!({"app": name});
    let deployment = json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeName": "bench",
                    "automountServiceAccountToken": false,
                    "containers": [{"name": "main", "image": "pause"}],
                },
            },
        },
    });
    api.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    Ok(())
}

/// Waits until all Deployments have what they ask for.
async fn available(client: &Client, deployments: usize) -> Result<(), Failure> {
    let mut done = std::collections::HashSet::new();
    let mut events = watch::<Deployment>(client);
    while done.len() < deployments {
        let Some(deployment) = events.try_next().await? else { return Err("the watch ended".into()) };
        let status = deployment.status.as_ref();
        if status.and_then(|status| status.available_replicas) == i32::try_from(REPLICAS).ok() {
            done.insert(deployment.name_any());
        }
    }
    Ok(())
}

/// Says of every pod that it is ready.
async fn kubelet(client: &Client) -> Result<(), Failure> {
    watch::<Pod>(client)
        .map_err(Failure::from)
        .try_filter(|pod| {
            let ready = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
            std::future::ready(!ready)
        })
        .try_for_each_concurrent(CONCURRENCY, |pod| async move {
            let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let status: Value = json!({"status": {
                "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [ready],
            }});
            api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
            Ok(())
        })
        .await
}

fn watch<K>(client: &Client) -> futures::stream::BoxStream<'static, Result<K, watcher::Error>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .try_filter_map(|event| {
            std::future::ready(Ok(match event {
                watcher::Event::Apply(object) | watcher::Event::InitApply(object) => Some(object),
                watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone => None,
            }))
        })
        .boxed()
}
