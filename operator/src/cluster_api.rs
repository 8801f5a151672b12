//! The contract of Cluster API for control planes: a VirtualControlPlane is served by a VirtualCluster of the Cluster's name.
//!
//! ```text
//!   Cluster ──owns──► VirtualControlPlane ──owns──► VirtualCluster ──► everything else
//!                     endpoint, version, status ◄── status
//! ```
//!
//! It runs only where it is asked for (`--cluster-api`): hosts without Cluster API have none of its kinds.

mod contract;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use vkube_crds::{VirtualCluster, VirtualControlPlane};

use crate::apply::Host;
use crate::backoff::Backoff;
use crate::error::{Error, has_code};
use crate::finalizer;
use crate::metrics::Metrics;
use crate::names::STATUS_MANAGER;
use contract::Found;

pub use contract::CLUSTER_NAME;

/// The group of Cluster API.
const GROUP: &str = "cluster.x-k8s.io";
/// Finalizer of a VirtualControlPlane: the Cluster's controller takes one that is gone for torn down.
const FINALIZER: &str = "vkube.dev/virtualcontrolplane";
/// Field manager of VirtualClusters and of endpoints.
const MANAGER: &str = "vkube-cluster-api";
/// Between looks at a Cluster that is paused where no watch tells.
const PAUSE_POLL: Duration = Duration::from_secs(10);
/// Longer than any attempt takes.
const DEADLINE: Duration = Duration::from_secs(60);

struct Shared {
    client: Client,
    metrics: Metrics,
    backoff: Backoff,
}

/// Looks after all VirtualControlPlanes until `shutdown`.
pub async fn run(client: Client, metrics: Metrics, shutdown: CancellationToken) {
    let all = Api::<VirtualControlPlane>::all(client.clone());
    let controller = Controller::new(all, watcher::Config::default());
    let planes = controller.store();
    let shared =
        Arc::new(Shared { client: client.clone(), metrics: metrics.clone(), backoff: Backoff::default() });
    let clusters = clusters(&client, metrics, planes).await;
    controller
        .with_config(controller::Config::default().concurrency(8))
        .owns(Api::<VirtualCluster>::all(client), watcher::Config::default())
        .reconcile_on(clusters)
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, on_error, shared)
        .for_each(|_| std::future::ready(()))
        .await;
}

/// VirtualControlPlanes whose Cluster changed: it may have been paused, or be no longer.
async fn clusters(
    client: &Client,
    metrics: Metrics,
    planes: Store<VirtualControlPlane>,
) -> impl Stream<Item = ObjectRef<VirtualControlPlane>> + Send + 'static {
    let host = Host::new(client.clone(), metrics.clone());
    let Ok(Some(version)) = host.served_version(GROUP, "clusters").await else {
        return stream::empty().boxed();
    };
    let resource = resource(&format!("{GROUP}/{version}"));
    let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(client.clone(), &resource);
    watcher(api, watcher::Config::default())
        .default_backoff()
        .touched_objects()
        .filter_map(move |cluster| {
            if cluster.is_err() {
                metrics.watch_error("Cluster");
            }
            std::future::ready(cluster.ok())
        })
        .flat_map(move |cluster| {
            let uid = cluster.uid();
            let owned = planes.state_filter(|plane| {
                contract::cluster(plane).is_some_and(|owner| Some(&owner.uid) == uid.as_ref())
            });
            stream::iter(owned.into_iter().map(|plane| ObjectRef::from_obj(plane.as_ref())))
        })
        .boxed()
}

fn resource(api_version: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or((GROUP, api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, "Cluster"), "clusters")
}

async fn reconcile(plane: Arc<VirtualControlPlane>, shared: Arc<Shared>) -> Result<Action, Error> {
    let begun = Instant::now();
    let outcome = match tokio::time::timeout(DEADLINE, attempt(&plane, &shared)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::TimedOut(DEADLINE.as_secs())),
    };
    let failure = outcome.as_ref().err().map(Error::reason);
    shared.metrics.reconciled("virtualcontrolplane", begun.elapsed(), failure);
    if outcome.is_ok() {
        shared.backoff.succeeded(plane.metadata.uid.as_deref().unwrap_or_default());
    }
    outcome
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that a controller wants")]
fn on_error(plane: Arc<VirtualControlPlane>, error: &Error, shared: Arc<Shared>) -> Action {
    let metadata = &plane.metadata;
    let wait = shared.backoff.failed(metadata.uid.as_deref().unwrap_or_default(), metadata.generation);
    tracing::warn!(
        namespace = metadata.namespace,
        name = metadata.name,
        error = error.chain(),
        retry_in = ?wait,
        "failed to reconcile a VirtualControlPlane"
    );
    Action::requeue(wait)
}

async fn attempt(cached: &VirtualControlPlane, shared: &Shared) -> Result<Action, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    let planes = Api::<VirtualControlPlane>::namespaced(shared.client.clone(), &namespace);
    let what = || format!("VirtualControlPlane {namespace}/{}", cached.name_any());
    // The cache may be behind our own last write.
    let read = planes.get_opt(&cached.name_any()).await;
    let found = read.map_err(|source| Error::Read { what: what(), source })?;
    let Some(plane) = found.filter(|found| found.uid() == cached.uid()) else {
        return Ok(Action::await_change());
    };
    let clusters = Api::<VirtualCluster>::namespaced(shared.client.clone(), &namespace);
    if plane.metadata.deletion_timestamp.is_some() {
        return release(&planes, &plane, &clusters).await;
    }
    // The Cluster's controller owns what the Cluster refers to, and comes back to tell.
    let Some(owner) = contract::cluster(&plane) else {
        publish(&planes, &plane, &Found::Unowned).await?;
        return Ok(Action::await_change());
    };
    if contract::is_paused(&plane) || paused_cluster(&shared.client, &namespace, owner).await? {
        publish(&planes, &plane, &Found::Paused).await?;
        return Ok(Action::requeue(PAUSE_POLL));
    }
    let plane = finalizer::add_in(&planes, &plane, FINALIZER).await?;
    let (name, what) = (owner.name.clone(), format!("VirtualCluster {namespace}/{}", owner.name));
    let live = clusters.get_opt(&name).await.map_err(|source| Error::Read { what: what.clone(), source })?;
    if live.as_ref().is_some_and(|live| !contract::owns(&plane, live)) {
        publish(&planes, &plane, &Found::Foreign(name)).await?;
        return Ok(Action::await_change());
    }
    let wanted = match contract::virtual_cluster(&plane, &name) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            publish(&planes, &plane, &Found::Invalid(wrong)).await?;
            return Ok(Action::await_change());
        }
    };
    let live = match live.filter(|live| contract::is_as(live, &wanted)) {
        Some(live) => live,
        None => {
            match clusters.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&wanted)).await {
                Ok(live) => live,
                Err(kube::Error::Api(status)) if status.code == 422 => {
                    publish(&planes, &plane, &Found::Invalid(status.message.clone())).await?;
                    return Ok(Action::await_change());
                }
                Err(source) => return Err(Error::Apply { what, source }),
            }
        }
    };
    tell_endpoint(&planes, &plane, &live).await?;
    publish(&planes, &plane, &Found::Cluster(Box::new(live))).await?;
    Ok(Action::await_change())
}

/// Whether the Cluster is paused. One that is gone is not: its control plane is about to follow.
async fn paused_cluster(client: &Client, namespace: &str, owner: &contract::Owner) -> Result<bool, Error> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource(&owner.api_version));
    let what = || format!("Cluster {namespace}/{}", owner.name);
    let cluster = api.get_opt(&owner.name).await.map_err(|source| Error::Read { what: what(), source })?;
    Ok(cluster.is_some_and(|cluster| cluster.data.pointer("/spec/paused") == Some(&json!(true))))
}

/// Deletes the VirtualCluster and, once it is gone, lets the VirtualControlPlane go.
async fn release(
    planes: &Api<VirtualControlPlane>,
    plane: &VirtualControlPlane,
    clusters: &Api<VirtualCluster>,
) -> Result<Action, Error> {
    if let Some(owner) = contract::cluster(plane) {
        let name = &owner.name;
        let what = format!("VirtualCluster {name}");
        let live =
            clusters.get_opt(name).await.map_err(|source| Error::Read { what: what.clone(), source })?;
        if let Some(live) = live.filter(|live| contract::owns(plane, live)) {
            if live.metadata.deletion_timestamp.is_none() {
                let preconditions = Some(Preconditions { uid: live.uid(), resource_version: None });
                let params = DeleteParams { preconditions, ..DeleteParams::default() };
                match clusters.delete(name, &params).await {
                    Err(error) if !has_code(&error, 404) && !has_code(&error, 409) => {
                        return Err(Error::Delete { what, source: error });
                    }
                    _ => {}
                }
            }
            publish(planes, plane, &Found::Cluster(Box::new(live))).await?;
            // The watch of VirtualClusters tells when it is gone.
            return Ok(Action::await_change());
        }
    }
    finalizer::remove_in(planes, plane.clone(), FINALIZER).await?;
    Ok(Action::await_change())
}

/// Puts the endpoint where Cluster API looks for it, once it is known.
async fn tell_endpoint(
    planes: &Api<VirtualControlPlane>,
    plane: &VirtualControlPlane,
    cluster: &VirtualCluster,
) -> Result<(), Error> {
    let Some(endpoint) = contract::endpoint(cluster) else { return Ok(()) };
    if plane.spec.control_plane_endpoint.as_ref() == Some(&endpoint) {
        return Ok(());
    }
    let patch = json!({"metadata": {"uid": plane.uid()}, "spec": {"controlPlaneEndpoint": endpoint}});
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let written = planes.patch(&plane.name_any(), &params, &Patch::Merge(patch)).await;
    written
        .map(drop)
        .map_err(|source| Error::Apply { what: format!("VirtualControlPlane {}", plane.name_any()), source })
}

/// Writes the status unless it already says so.
async fn publish(
    planes: &Api<VirtualControlPlane>,
    plane: &VirtualControlPlane,
    found: &Found,
) -> Result<(), Error> {
    let status = contract::status(plane, found, Timestamp::now());
    if plane.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let body = json!({
        "apiVersion": VirtualControlPlane::api_version(&()),
        "kind": VirtualControlPlane::kind(&()),
        "metadata": {"name": plane.name_any(), "uid": plane.uid()},
        "status": status,
    });
    let params = PatchParams::apply(STATUS_MANAGER).force();
    match planes.patch_status(&plane.name_any(), &params, &Patch::Apply(body)).await {
        Err(error) if has_code(&error, 404) => Ok(()),
        Err(source) => {
            Err(Error::Apply { what: format!("status of VirtualControlPlane {}", plane.name_any()), source })
        }
        Ok(_) => Ok(()),
    }
}
