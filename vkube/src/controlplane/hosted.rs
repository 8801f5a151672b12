//! The control plane of a virtual cluster: API server, controllers, syncer and DNS in one process.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicI64},
};

use k8s_openapi::api::core::v1::Toleration;
use kube::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vkube_apiserver::{
    instance::{self, Instance},
    listener::TlsFiles,
};
use vkube_controllers::Controller;
use vkube_syncer::{Config, DnsServer, Images, NodeSync, Syncer};

use super::{
    Controllers, Options, access, activity, client, election::work_as_leader, link::HostLink, read,
    server_options,
};
use crate::{
    cli::Outcome,
    stop::{Stop, pod_address},
    sync,
};

/// Where DNS is served; the pod's Service maps port 53 to it.
const DNS_PORT: u16 = 1053;

/// Runs it until it is told to stop.
pub async fn run(mut options: Options, mut stop: Stop) -> Outcome {
    let (Some(name), Some(namespace), Some(pki)) =
        (options.name.clone(), options.host_namespace.clone(), options.pki_dir.clone())
    else {
        return Err("--name, --host-namespace and --pki-dir are needed without --standalone".into());
    };
    options.listen = pod_address(options.listen);
    let ca = read(&pki.join("ca.crt"))?;
    let link = Arc::new(HostLink::default());
    let activity = options.report_activity.then(Arc::<AtomicI64>::default);
    let instance = Instance::start(instance::Options {
        activity: activity.clone(),
        tls: Some(TlsFiles {
            certificate: read(&pki.join("tls.crt"))?,
            key: read(&pki.join("tls.key"))?,
            client_ca: ca.clone(),
        }),
        connector: Some(link.clone()),
        allocator: Some(link.clone()),
        ..server_options(&options)?
    });
    // The host's API server is asked while our own starts.
    let (instance, host) = tokio::join!(instance, host_client());
    let (instance, host) = (instance?, host?);

    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    if let Some(activity) = activity {
        let stop = shutdown.clone();
        tasks.spawn(activity::report(host.clone(), namespace.clone(), name.clone(), activity, stop));
    }
    let shared = options.sync.as_deref().map(serde_json::from_str).transpose()?.unwrap_or_default();
    let scheduling = sync::scheduling(&shared)?;
    let config = Config {
        is_replicated: options.election.leader_elect,
        api_service: options.service_name.clone().unwrap_or_else(|| name.clone()),
        cluster_domain: options.cluster_domain.clone(),
        namespaces: sync::namespaces(&name, &shared).map_err(|wrong| wrong.join("; "))?,
        nodes: sync::nodes(&shared),
        schedules: scheduling.is_some(),
        rules: sync::rules(&shared).map_err(|wrong| wrong.join("; "))?,
        network: options.network_bounds.as_deref().map(serde_json::from_str).transpose()?,
        dns: sync::dns(&pairs(&options.resolve_dns)?, &resolvers(&options.forward_dns)?)
            .map_err(|wrong| wrong.join("; "))?,
        images: Images::new(pairs(&options.workload_image)?),
        node_selector: pairs(&options.workload_node_selector)?,
        tolerations: tolerations(&options.workload_toleration)?,
        priority_class: options.workload_priority_class.clone(),
        runtime_class: options.workload_runtime_class.clone(),
        ..Config::new(name, namespace)
    };
    let has_nodes = config.nodes != NodeSync::None;
    let syncer = Arc::new(Syncer::new(client(&instance, "system:vkube-syncer"), host, config));
    link.tie(&syncer);
    let access = access::Keeper::new(client(&instance, "system:vkube-access"), &options.access);
    tasks.spawn(access.run(shutdown.clone()));
    let dns = DnsServer::bind(SocketAddr::new(options.listen.ip(), DNS_PORT), syncer.zone()).await?;
    tasks.spawn(dns.run(shutdown.clone()));
    tasks.spawn({
        let (syncer, shutdown) = (syncer.clone(), shutdown.clone());
        async move { syncer.follow(shutdown).await }
    });
    // The nodes are the host's, which watches them and evicts their pods by the tolerations that they have there; so are
    // devices. Taints of tenants count where the cluster schedules by them.
    let taints = scheduling.is_none().then_some(Controller::TaintEviction);
    let of_nodes = [Controller::NodeLifecycle, Controller::ResourceClaim].into_iter().chain(taints);
    // Without any, all pods would be orphans of nodes that are gone.
    let orphans = (!has_nodes).then_some(Controller::PodGarbage);
    let without = of_nodes.chain(orphans);
    let enabled = without.fold(options.controllers, vkube_controllers::Controllers::without);
    let controllers = Controllers::new(&instance, ca, &pki, enabled)?;
    let election = options.election.election(controllers.client.clone())?;
    tasks.spawn(work_as_leader(election, controllers.metrics(), shutdown.clone(), {
        let shutdown = shutdown.clone();
        let scheduler = scheduling.map(|options| {
            let metrics = options.metrics.clone();
            instance.server.counters.expose(move || Box::new(metrics.clone()));
            (client(&instance, "system:kube-scheduler"), options)
        });
        async move {
            let working = async {
                if !enabled.is_empty() {
                    controllers.run(shutdown.clone()).await;
                }
            };
            let scheduling = async {
                if let Some((client, options)) = scheduler {
                    let scheduling = Box::pin(vkube_scheduler::run(client, options));
                    shutdown.run_until_cancelled(scheduling).await;
                }
            };
            tokio::join!(syncer.synchronise(shutdown.clone()), working, scheduling);
        }
    }));
    tokio::select! {
        () = stop.wait() => {}
        () = shutdown.cancelled() => {}
    }
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    instance.stop().await;
    Ok(())
}

fn pairs(pairs: &[String]) -> Result<BTreeMap<String, String>, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text} is not KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    pairs.iter().map(pair).collect()
}

fn resolvers(texts: &[String]) -> Result<BTreeMap<String, Vec<String>>, String> {
    let split = |addresses: String| addresses.split(',').map(ToOwned::to_owned).collect();
    Ok(pairs(texts)?.into_iter().map(|(domain, addresses)| (domain, split(addresses))).collect())
}

fn tolerations(texts: &[String]) -> Result<Vec<Toleration>, String> {
    let read = |text: &String| {
        serde_json::from_str(text).map_err(|error| format!("{text} is not a toleration: {error}"))
    };
    texts.iter().map(read).collect()
}

/// A client of the host: with the pod's own service account, or outside of pods by the kubeconfig.
async fn host_client() -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let mut config = match kube::Config::incluster() {
        Ok(config) => config,
        Err(_) => kube::Config::infer().await?,
    };
    // Watches and streams may be silent for long.
    config.read_timeout = None;
    Ok(Client::try_from(config)?)
}
