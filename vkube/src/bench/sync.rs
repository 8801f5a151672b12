//! `vkube bench sync`: how fast a pod of a virtual cluster is on the host, and what many of them cost.
//!
//! Host and virtual cluster are API servers in this process with the syncer between them, as in a control plane; there
//! is no scheduler and no node, so what is measured is the API servers' and the syncer's work alone.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use kube::{
    Api, Client,
    api::{PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vkube_apiserver::{
    instance::{self, Instance},
    service_allocation::Allocator,
    user::User,
};
use vkube_syncer::{Config, Syncer};

use super::process;
use crate::{
    cli::{Failure, Outcome},
    controlplane::link::HostLink,
    sandbox::Output,
};

const CLUSTER: &str = "bench";
const HOST_NAMESPACE: &str = "tenant";
const NAMESPACE: &str = "default";

/// How to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Numbers of pods at which CPU is measured, each added to those before.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1000, 10_000])]
    pub pods: Vec<usize>,
    /// How many pods are created one after the other to measure latency.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub samples: usize,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Two API servers and what is between them.
struct World {
    host: Client,
    tenant: Client,
    /// Requests to the host that are not reads.
    writes: Arc<AtomicU64>,
    link: Arc<HostLink>,
    syncer: Option<(CancellationToken, JoinHandle<()>)>,
    instances: Vec<Instance>,
}

/// What creating pods up to a number cost.
struct Step {
    pods: usize,
    cpu_per_pod: Duration,
}

/// Measures and prints.
pub async fn run(options: &Options, directory: &std::path::Path) -> Outcome {
    let mut world = World::start(directory).await?;
    let mut latencies = latencies(&world, options.samples.max(1)).await?;
    latencies.sort();
    let (median, worst) = (percentile(&latencies, 50), percentile(&latencies, 99));

    let mut there = latencies.len();
    let mut steps = Vec::new();
    for target in &options.pods {
        if let Some(step) = fill(&world, there, *target).await? {
            steps.push(step);
            there = *target;
        }
    }
    world.pause().await;
    let before = world.writes.load(Ordering::SeqCst);
    let began = Instant::now();
    world.resume().await;
    // A pod created now reaches the host after all that was there has been looked at.
    latencies_of(&world, "after-resync", 1).await?;
    let resync = began.elapsed();
    let writes = world.writes.load(Ordering::SeqCst) - before - 1;
    world.stop().await;
    print(options.output, (median, worst), &steps, (there, resync, writes));
    Ok(())
}

fn print(
    output: Output,
    (median, worst): (Duration, Duration),
    steps: &[Step],
    (pods, resync, writes): (usize, Duration, u64),
) {
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    match output {
        Output::Json => {
            let steps: Vec<Value> = steps
                .iter()
                .map(|step| json!({ "pods": step.pods, "cpuMillisecondsPerPod": ms(step.cpu_per_pod) }))
                .collect();
            println!(
                "{}",
                json!({
                    "createToHostMilliseconds": { "p50": ms(median), "p99": ms(worst) },
                    "steps": steps,
                    "resync": { "pods": pods, "milliseconds": ms(resync), "writes": writes },
                })
            );
        }
        Output::Text => {
            println!("From the answer to a pod's creation to its host pod:");
            println!("  p50                       {:>8.2} ms", ms(median));
            println!("  p99                       {:>8.2} ms", ms(worst));
            for step in steps {
                println!("CPU a pod, up to {:<6}     {:>8.2} ms", step.pods, ms(step.cpu_per_pod));
            }
            println!("Start over with {pods} pods  {:>8.0} ms, {writes} writes to the host", ms(resync));
        }
    }
}

/// The duration that `percent` of all do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

async fn latencies(world: &World, samples: usize) -> Result<Vec<Duration>, Failure> {
    latencies_of(world, "sample", samples).await
}

/// Creates pods one after the other; for each, the time from its answer's arrival to its host pod's event.
async fn latencies_of(world: &World, name: &str, samples: usize) -> Result<Vec<Duration>, Failure> {
    let host: Api<Pod> = Api::namespaced(world.host.clone(), HOST_NAMESPACE);
    let tenant: Api<Pod> = Api::namespaced(world.tenant.clone(), NAMESPACE);
    let begin = host.list_metadata(&kube::api::ListParams::default().limit(1)).await?;
    let version = begin.metadata.resource_version.unwrap_or_default();
    let mut events = Box::pin(host.watch(&WatchParams::default(), &version).await?);
    let mut took = Vec::with_capacity(samples);
    let mut seen: HashMap<String, Instant> = HashMap::new();
    for sample in 0..samples {
        let name = format!("{name}-{sample}");
        tenant.create(&PostParams::default(), &pod(&name)?).await?;
        let created = Instant::now();
        let wanted = format!("{name}-x-{NAMESPACE}-x-{CLUSTER}");
        while !seen.contains_key(&wanted) {
            let event = tokio::time::timeout(Duration::from_mins(2), events.try_next()).await;
            let Some(event) = event.map_err(|_| "a pod does not reach the host in two minutes")?? else {
                return Err("the host ended a watch".into());
            };
            if let WatchEvent::Added(pod) = event {
                seen.insert(pod.metadata.name.unwrap_or_default(), Instant::now());
            }
        }
        took.push(seen.get(&wanted).map_or(Duration::ZERO, |at| at.saturating_duration_since(created)));
    }
    Ok(took)
}

/// Creates pods until there are `target`, and waits until all are on the host.
async fn fill(world: &World, there: usize, target: usize) -> Result<Option<Step>, Failure> {
    let new = target.saturating_sub(there);
    if new == 0 {
        return Ok(None);
    }
    let tenant: Api<Pod> = Api::namespaced(world.tenant.clone(), NAMESPACE);
    let before = process::read(std::process::id()).ok_or("this process cannot be read")?;
    let create = |at: usize| {
        let tenant = tenant.clone();
        async move {
            tenant.create(&PostParams::default(), &pod(&format!("pod-{at}"))?).await.map_err(Failure::from)
        }
    };
    stream::iter(there..target).map(create).buffer_unordered(16).try_for_each(|_| async { Ok(()) }).await?;
    // The syncer works in the order of arrival, so the last one's arrival is that of all, but for what was tried again.
    let host: Api<Pod> = Api::namespaced(world.host.clone(), HOST_NAMESPACE);
    loop {
        let page = host.list_metadata(&kube::api::ListParams::default().limit(1)).await?;
        let total = page.items.len() + usize::try_from(page.metadata.remaining_item_count.unwrap_or(0))?;
        if total >= target {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = process::read(std::process::id()).ok_or("this process cannot be read")?;
    let spent = after.cpu.saturating_sub(before.cpu);
    Ok(Some(Step { pods: target, cpu_per_pod: spent / u32::try_from(new)? }))
}

fn pod(name: &str) -> Result<Pod, serde_json::Error> {
    serde_json::from_value(json!({
        "metadata": { "name": name, "labels": { "app": "bench" } },
        "spec": {
            "serviceAccountName": "default",
            "automountServiceAccountToken": false,
            "containers": [{ "name": "app", "image": "registry.example.com/app:1" }],
        },
    }))
}

impl World {
    async fn start(directory: &std::path::Path) -> Result<Self, Failure> {
        // As in a hosted control plane, the host gives the virtual side its addresses.
        let link = Arc::new(HostLink::default());
        let start = |name: &str, allocator: Option<Arc<dyn Allocator>>| {
            let data = directory.join(name);
            async move {
                std::fs::create_dir_all(&data)?;
                let disable_admission = vec!["ServiceAccount".to_owned()];
                let options = instance::Options {
                    data_dir: Some(data),
                    disable_admission,
                    allocator,
                    ..instance::Options::default()
                };
                Ok::<_, Failure>(Instance::start(options).await?)
            }
        };
        let (host, tenant) = (start("host", None).await?, start("tenant", Some(link.clone())).await?);
        let writes = Arc::new(AtomicU64::new(0));
        let counted = writes.clone();
        let service = tower::util::MapRequest::new(
            host.server.service(User::component("host")),
            move |request: http::Request<kube::client::Body>| {
                if request.method() != http::Method::GET {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                request
            },
        );
        let mut world = Self {
            host: Client::new(service, "default"),
            tenant: Client::new(tenant.server.service(User::component("tenant")), "default"),
            writes,
            link,
            syncer: None,
            instances: vec![tenant, host],
        };
        world.prepare().await?;
        world.resume().await;
        Ok(world)
    }

    /// The host namespace, the Service of the API server, and the account that pods name.
    async fn prepare(&self) -> Result<(), Failure> {
        let params = PostParams::default();
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": HOST_NAMESPACE } }))?;
        Api::all(self.host.clone()).create(&params, &namespace).await?;
        let service: Service = serde_json::from_value(json!({
            "metadata": { "name": CLUSTER }, "spec": { "ports": [{ "name": "https", "port": 443 }] },
        }))?;
        Api::namespaced(self.host.clone(), HOST_NAMESPACE).create(&params, &service).await?;
        let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "default" } }))?;
        Api::namespaced(self.tenant.clone(), NAMESPACE).create(&params, &account).await?;
        Ok(())
    }

    async fn resume(&mut self) {
        let config = Config::new(CLUSTER, HOST_NAMESPACE);
        let syncer = Arc::new(Syncer::new(self.tenant.clone(), self.host.clone(), config));
        self.link.tie(&syncer);
        let stop = CancellationToken::new();
        let (running, token) = (syncer.clone(), stop.clone());
        let task = tokio::spawn(async move { running.run(token).await });
        syncer.ready().await;
        self.syncer = Some((stop, task));
    }

    async fn pause(&mut self) {
        if let Some((stop, task)) = self.syncer.take() {
            stop.cancel();
            let _ = task.await;
        }
    }

    async fn stop(mut self) {
        self.pause().await;
        for instance in self.instances {
            instance.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let all: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&all, 50), Duration::from_millis(100));
        assert_eq!(percentile(&all, 99), Duration::from_millis(198));
        assert_eq!(percentile(&all[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
