//! Wires watches, controllers, leader election and endpoints together.
//!
//! ```text
//!   VirtualCluster ─┬─► store ─► controller ─► reconcile ─► host objects ─► status
//!                   └─► bound policy changed ──┐                 │
//!   VirtualClusterPolicy ─► store ─► controller ◄┘               │ events of children
//!                   └─► any policy changed: all clusters ◄───────┘ wake their cluster
//! ```

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, stream};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, ResourceQuota, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::{self, Store, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Predicate, WatchStreamExt};
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;
use vkube_lease::Election;

use crate::apply::Host;
use crate::backoff::Backoff;
use crate::context::{Cluster, ClusterRef, Context, Policy};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::policies::{self, PolicyContext};
use crate::references::References;
use crate::serve::{Report, serve};
use crate::triggers::{self, PAGE, SecretWatches, Subject, children};
use crate::waiting::Waiting;
use crate::{cluster_api, conditions, install, quota, reconcile};

/// Runs the operator until `shutdown`. An error means that it cannot go on; the process should end and be restarted.
///
/// On shutdown reconciles under way are finished, then the lease is let go.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let metrics = Metrics::new();
    let (clusters, writer) = reflector::store::<Cluster>();
    let ready = Arc::new(AtomicBool::new(false));
    let report = Report {
        ready: ready.clone(),
        metrics: metrics.clone(),
        per_cluster: options.cluster_metrics,
        clusters: clusters.clone(),
    };
    let endpoints = CancellationToken::new();
    let _stop_endpoints = endpoints.clone().drop_guard();
    let server = match options.listen {
        Some(address) => serve(address, report, endpoints).await?.boxed(),
        None => std::future::pending().boxed(),
    };
    let work = async {
        if !options.leader_election {
            metrics.leading(true);
            return operate(client, options, metrics, clusters, writer, ready, shutdown).await;
        }
        let election =
            Election::new(client.clone(), &options.namespace, install::OPERATOR, &options.identity);
        // A replica that waits is healthy: it will work the moment it may.
        ready.store(true, Ordering::Relaxed);
        tokio::select! {
            () = election.acquire() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        tracing::info!(identity = options.identity, "leading");
        ready.store(false, Ordering::Relaxed);
        metrics.leading(true);
        let outcome = tokio::select! {
            outcome = operate(client, options, metrics, clusters, writer, ready, shutdown) => outcome,
            lost = election.hold() => return Err(lost.into()),
        };
        election.release().await;
        outcome
    };
    tokio::select! {
        outcome = work => outcome,
        () = server => Err(Error::Stopped("HTTP server")),
    }
}

/// Runs both controllers until `shutdown`.
async fn operate(
    client: Client,
    options: Options,
    metrics: Metrics,
    clusters: Store<Cluster>,
    cluster_writer: Writer<Cluster>,
    ready: Arc<AtomicBool>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let (policies, policy_writer) = reflector::store::<Policy>();
    let (wake_policies, policies_woken) = mpsc::unbounded();
    let (wake_all, all_woken) = mpsc::unbounded();
    let (wake_one, one_woken) = mpsc::unbounded();
    let (concurrency, serves_cluster_api) = (options.concurrency, options.cluster_api);
    let cluster_api = async {
        if serves_cluster_api {
            cluster_api::run(client.clone(), metrics.clone(), shutdown.clone()).await;
        }
    };

    let policy_context = Arc::new(PolicyContext {
        host: Host::new(client.clone(), metrics.clone()),
        metrics: metrics.clone(),
        clusters: clusters.clone(),
        backoff: Backoff::default(),
    });
    let policy_controller =
        Controller::for_stream(policy_stream(&client, &metrics, policy_writer, wake_all), policies.clone())
            .with_config(controller::Config::default().concurrency(4))
            .reconcile_all_on(policies_woken)
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(policies::reconcile, policies::on_error, policy_context)
            .for_each(|_| std::future::ready(()));

    let references = References::new(client.clone(), metrics.clone(), wake_one.clone());
    let secrets = SecretWatches::new(client.clone(), metrics.clone(), wake_one.clone());
    let waiting = Waiting::new(wake_one);
    let context = Context::new(
        client.clone(),
        options,
        metrics.clone(),
        policies.clone(),
        secrets,
        references,
        waiting.clone(),
    );
    let context = Arc::new(context);
    let all = clusters.clone();
    let cluster_controller = async {
        // Until it is known which policies there are, no cluster can be built.
        if policies.wait_until_ready().await.is_err() {
            return;
        }
        Controller::for_stream(
            cluster_stream(&client, &metrics, cluster_writer, wake_policies, waiting),
            all.clone(),
        )
        .with_config(controller::Config::default().concurrency(concurrency))
        .reconcile_all_on(all_woken)
        .reconcile_on(one_woken)
        .reconcile_on(child_stream(&client, &metrics, all.clone()))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile::reconcile, reconcile::on_error, context)
        .for_each(|_| std::future::ready(()))
        .await;
    };
    let mirror = async {
        if all.wait_until_ready().await.is_ok() {
            let host = Host::new(client.clone(), metrics.clone());
            let changed = children::<ResourceQuota>(&client, &metrics, triggers::version);
            shutdown.run_until_cancelled(quota::mirror(&host, &all, changed)).await;
        }
    };
    let become_ready = async {
        // An error means that the writer ended, and with it everything.
        if policies.wait_until_ready().await.is_ok() && clusters.wait_until_ready().await.is_ok() {
            ready.store(true, Ordering::Relaxed);
        }
    };
    // A controller that is told to stop before its cache is filled waits for that without end. Nothing is under way then.
    let stopped_early = async {
        shutdown.cancelled().await;
        if ready.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = async { tokio::join!(policy_controller, cluster_controller, cluster_api, mirror, become_ready) } => {}
        () = stopped_early => {}
    }
    if shutdown.is_cancelled() { Ok(()) } else { Err(Error::Stopped("controllers")) }
}

/// All clusters; each change that is not of status wakes its cluster. A cluster bound to another policy wakes the
/// policies, which count; one that has gone wakes those that waited for that.
fn cluster_stream(
    client: &Client,
    metrics: &Metrics,
    writer: Writer<Cluster>,
    wake_policies: mpsc::UnboundedSender<()>,
    waiting: Waiting,
) -> impl Stream<Item = Result<Cluster, watcher::Error>> + Send + 'static {
    let mut bound: HashMap<String, Option<String>> = HashMap::new();
    observed::<Cluster>(client, metrics)
        // The longest part of a status, which only people read.
        .modify(|cluster| {
            if let Some(status) = cluster.0.as_mut().ok().and_then(|cluster| cluster.status.as_mut()) {
                status.inventory = Vec::new();
            }
        })
        .reflect(writer)
        .inspect(move |event| {
            if rebound(&mut bound, event) {
                // The receiver ends with the operator.
                let _ = wake_policies.unbounded_send(());
            }
            // After a list nobody tells which have gone since the one before.
            if matches!(event, Ok(Event::Delete(_) | Event::InitDone)) {
                waiting.wake();
            }
        })
        .applied_objects()
        .predicate_filter(Asked.combine(Told), kube::runtime::PredicateConfig::default())
}

/// Whether the event changes which policies clusters are bound to.
fn rebound(bound: &mut HashMap<String, Option<String>>, event: &watcher::Result<Event<Cluster>>) -> bool {
    let uid = |cluster: &Cluster| cluster.uid().unwrap_or_default();
    match event {
        Ok(Event::Apply(cluster) | Event::InitApply(cluster)) => {
            let policy = policies::policy_uid(cluster);
            bound.insert(uid(cluster), policy.clone()).flatten() != policy
        }
        Ok(Event::Delete(cluster)) => bound.remove(&uid(cluster)).flatten().is_some(),
        // The store is replaced by what was listed.
        Ok(Event::InitDone) => true,
        Ok(Event::Init) | Err(_) => false,
    }
}

/// All policies; each change that is not of status wakes its policy and all clusters.
fn policy_stream(
    client: &Client,
    metrics: &Metrics,
    writer: Writer<Policy>,
    wake_all: mpsc::UnboundedSender<()>,
) -> impl Stream<Item = Result<Policy, watcher::Error>> + Send + 'static {
    let removed = wake_all.clone();
    observed::<Policy>(client, metrics)
        .reflect(writer)
        .inspect(move |event| {
            if matches!(event, Ok(Event::Delete(_))) {
                let _ = removed.unbounded_send(());
            }
        })
        .applied_objects()
        .predicate_filter(Asked, kube::runtime::PredicateConfig::default())
        .inspect(move |_| {
            let _ = wake_all.unbounded_send(());
        })
}

/// A watch without what nobody reads.
fn observed<K>(
    client: &Client,
    metrics: &Metrics,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let metrics = metrics.clone();
    watcher(Api::<K>::all(client.clone()), watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .inspect(move |event| {
            if let Err(error) = event {
                tracing::warn!(%error, kind = %K::kind(&()), "a watch was interrupted");
                metrics.watch_error(&K::kind(&()));
            }
        })
        .modify(|object| {
            object.managed_fields_mut().clear();
            object.annotations_mut().remove(LAST_APPLIED);
        })
}

/// What a user asks: everything but status.
struct Asked;

impl<K: Resource> Predicate<K> for Asked {
    fn hash_property(&self, object: &K) -> Option<u64> {
        let metadata = object.meta();
        let mut hasher = DefaultHasher::new();
        metadata.generation.hash(&mut hasher);
        metadata.labels.hash(&mut hasher);
        metadata.annotations.hash(&mut hasher);
        metadata.finalizers.hash(&mut hasher);
        metadata.deletion_timestamp.is_some().hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// What others say of a cluster's readiness, which is in its status.
struct Told;

impl Predicate<Cluster> for Told {
    fn hash_property(&self, cluster: &Cluster) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        let status = cluster.0.as_ref().ok().and_then(|cluster| cluster.status.as_ref());
        let conditions = status.into_iter().flat_map(|status| &status.conditions);
        for condition in conditions.filter(|condition| conditions::is_of_others(condition)) {
            (&condition.type_, &condition.status, &condition.message).hash(&mut hasher);
        }
        Some(hasher.finish())
    }
}

/// Clusters to wake for changes of what they are made of, and of the namespaces that they are in.
fn child_stream(
    client: &Client,
    metrics: &Metrics,
    clusters: Store<Cluster>,
) -> BoxStream<'static, ClusterRef> {
    let any = triggers::version;
    let namespaces = triggers::namespaces(client, metrics)
        .flat_map(move |subject| stream::iter(concerned(&subject, &clusters)));
    stream::select_all([
        namespaces.boxed(),
        children::<StatefulSet>(client, metrics, any),
        children::<Service>(client, metrics, any),
        children::<ServiceAccount>(client, metrics, any),
        children::<PersistentVolumeClaim>(client, metrics, any),
        children::<ResourceQuota>(client, metrics, triggers::without_status),
        children::<LimitRange>(client, metrics, any),
        children::<NetworkPolicy>(client, metrics, any),
        children::<Ingress>(client, metrics, triggers::without_status),
        children::<RoleBinding>(client, metrics, any),
        children::<ClusterRoleBinding>(client, metrics, any),
        triggers::doorbells(client, metrics),
    ])
    .boxed()
}

/// A host namespace concerns its cluster; any other, those in it.
fn concerned(namespace: &Subject, clusters: &Store<Cluster>) -> Vec<ClusterRef> {
    let Subject::Other(name) = namespace else { return namespace.cluster().into_iter().collect() };
    let inside = clusters.state_filter(|cluster| cluster.meta().namespace.as_deref() == Some(name));
    inside.iter().map(|cluster| ClusterRef::from_obj(cluster.as_ref())).collect()
}
