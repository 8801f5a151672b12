//! Taking a cluster off the host before its finalizer is released.
//!
//! # Contract
//!
//! - Every step looks at what is there now, never at what was done before: it may run any number of times, after a
//!   restart of the operator, with the control plane dead, with the host namespace gone, never made, or of someone else.
//! - What leads others into the cluster goes first: it may take long until the cluster is gone.
//! - The finalizer goes last, when nothing of the cluster is left outside its own namespace.
//! - Waiting is for a watch: the host namespace wakes the cluster when it disappears.
//! - `vkube.dev/force-delete: "true"` releases the finalizer after one try at everything.

mod database;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use serde_json::json;
use vkube_crds::{DeletionPolicy, FINALIZER, VirtualCluster, annotations};

use crate::build::Key;
use crate::conditions::Mode;
use crate::context::Context;
use crate::error::{Error, has_code};
use crate::events;
use crate::finalizer;
use crate::names::{FIELD_MANAGER, Identity};
use crate::reason::Reason;
use crate::reconcile::{Report, mapped, publish, remove_monitor, remove_route, withdraw};

/// In case the event of the namespace's end was lost.
const RECHECK: Duration = Duration::from_secs(60);
/// Pods that are ending are not watched.
const POD_POLL: Duration = Duration::from_secs(1);

/// Why the finalizer cannot be released yet, and when to look again.
struct Wait(String, Duration);

/// One attempt at removing the cluster.
pub async fn cleanup(cluster: &VirtualCluster, context: &Context) -> Result<Action, Error> {
    if !cluster.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    let identity = Identity::of(cluster);
    let forced = cluster.annotations().get(annotations::FORCE_DELETE).is_some_and(|value| value == "true");
    if is_protected(cluster) {
        // Admission refuses the deletion of a protected cluster; where it did not, nothing is destroyed either.
        let waits_for = "spec.lifecycle.deletionProtection is set: nothing is deleted until it is unset";
        report(cluster, context, waits_for.into()).await?;
        return Ok(Action::await_change());
    }
    match remove(cluster, &identity, context, forced).await {
        Ok(None) => {}
        Ok(Some(Wait(waits_for, again))) if !forced => {
            report(cluster, context, waits_for).await?;
            return Ok(Action::requeue(again));
        }
        Ok(Some(_)) => announce(cluster, context, "host objects may be left behind").await,
        Err(error) if forced => announce(cluster, context, &error.chain()).await,
        Err(error) => {
            report(cluster, context, error.chain()).await?;
            return Err(error);
        }
    }
    finalizer::remove(&context.host, cluster, FINALIZER).await?;
    context.doors.shut(&identity.uid);
    context.secrets.release(&identity.namespace, &identity.uid);
    context.references.release(&identity.uid);
    context.waiting.leave(&identity.namespace, &identity.name);
    context.backoff.succeeded(&identity.uid);
    if let Some(deleted) = &cluster.metadata.deletion_timestamp {
        context.metrics.deleted(Timestamp::now().duration_since(deleted.0).unsigned_abs());
    }
    tracing::info!(namespace = identity.namespace, name = identity.name, "deleted");
    Ok(Action::await_change())
}

fn is_protected(cluster: &VirtualCluster) -> bool {
    let lifecycle = cluster.spec.lifecycle.as_ref();
    lifecycle.and_then(|lifecycle| lifecycle.deletion_protection) == Some(true)
}

/// Removes everything; says what is still there.
async fn remove(
    cluster: &VirtualCluster,
    identity: &Identity,
    context: &Context,
    forced: bool,
) -> Result<Option<Wait>, Error> {
    let policy = cluster.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.deletion_policy);
    let policy = policy.unwrap_or_default();
    let key = Key::new::<Namespace>(None, &identity.host_namespace);
    let live = context.host.get(&key).await?;
    let is_ours = live.as_ref().is_some_and(|live| identity.owns(live.metadata.labels.as_ref()));
    // Argo CD is not to deploy into what is on its way out.
    withdraw(context, identity, None).await?;
    if is_ours && let Some(wait) = database::remove(cluster, identity, context, policy, forced).await? {
        return Ok(Some(wait));
    }
    // The cluster's own first: with it goes the control plane, which fills the others.
    let own = std::iter::once(identity.clone());
    for place in own.chain(mapped::places(context, identity).await?) {
        let wait = remove_place(policy, &place, context).await?;
        if wait.is_some() {
            return Ok(wait);
        }
    }
    remove_labelled(&Key::new::<ClusterRoleBinding>(None, ""), identity, context).await?;
    // The garbage collector removes these too; credentials should not wait for it. Without the rights to, they are
    // gone already, or never were.
    let secrets = Key::new::<Secret>(Some(&identity.namespace), "");
    match remove_labelled(&secrets, identity, context).await {
        Err(error) if error.reason() == Reason::Forbidden => {}
        other => other?,
    }
    Ok(None)
}

/// Removes one host namespace, or what runs in it; says what is still there.
async fn remove_place(
    policy: DeletionPolicy,
    identity: &Identity,
    context: &Context,
) -> Result<Option<Wait>, Error> {
    let key = Key::new::<Namespace>(None, &identity.host_namespace);
    let live = context.host.get(&key).await?;
    let Some(live) = live.filter(|live| identity.owns(live.metadata.labels.as_ref())) else {
        return Ok(None);
    };
    match policy {
        DeletionPolicy::Delete => delete_namespace(&key, &live, context).await,
        // A namespace that goes anyway cannot be retained.
        DeletionPolicy::Retain if live.metadata.deletion_timestamp.is_some() => Ok(Some(terminating(&live))),
        DeletionPolicy::Retain => retire(identity, context).await,
    }
}

async fn delete_namespace(key: &Key, live: &DynamicObject, context: &Context) -> Result<Option<Wait>, Error> {
    if live.metadata.deletion_timestamp.is_none() {
        context.host.delete(key, live.uid()).await?;
    }
    Ok(context.host.get(key).await?.filter(|now| now.uid() == live.uid()).map(|now| terminating(&now)))
}

/// What a namespace on its way out still holds, in the words of its status.
fn terminating(live: &DynamicObject) -> Wait {
    let status: NamespaceStatus = live
        .data
        .get("status")
        .and_then(|status| serde_json::from_value(status.clone()).ok())
        .unwrap_or_default();
    let mut message = format!("waiting for namespace {} to be deleted", live.name_any());
    let remaining = status.conditions.iter().flatten().filter(|condition| condition.status == "True");
    for text in remaining.filter_map(|condition| condition.message.as_deref()) {
        message.push_str("; ");
        message.push_str(text);
    }
    Wait(message, RECHECK)
}

/// Removes what runs and leaves what holds data. The control plane goes first, or it would make its pods anew.
async fn retire(identity: &Identity, context: &Context) -> Result<Option<Wait>, Error> {
    let namespace = Some(identity.host_namespace.as_str());
    for key in [
        Key::new::<StatefulSet>(namespace, &identity.name),
        Key::new::<RoleBinding>(namespace, &identity.account()),
    ] {
        context.host.remove(&key, identity).await?;
    }
    remove_route(&context.host, identity).await?;
    remove_monitor(&context.host, identity).await?;
    let mut left = 0;
    for any in [
        Key::new::<Pod>(namespace, ""),
        Key::new::<Service>(namespace, ""),
        Key::new::<Ingress>(namespace, ""),
    ] {
        let objects = context.host.list(&any, "").await?;
        left += objects.len();
        for object in objects.into_iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
            context.host.delete(&Key { name: object.name_any(), ..any.clone() }, object.uid()).await?;
        }
    }
    if left > 0 {
        return Ok(Some(Wait(format!("waiting for {left} pods, services and ingresses to end"), POD_POLL)));
    }
    let patch = json!({"metadata": {"annotations": {annotations::RETAINED: "true"}}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let api = Api::<Namespace>::all(context.host.client().clone());
    match api.patch(&identity.host_namespace, &params, &Patch::Merge(patch)).await {
        Err(error) if has_code(&error, 404) => Ok(None),
        Err(source) => Err(Error::Apply { what: format!("Namespace {}", identity.host_namespace), source }),
        Ok(_) => Ok(None),
    }
}

async fn remove_labelled(any: &Key, identity: &Identity, context: &Context) -> Result<(), Error> {
    for object in context.host.list(any, &identity.uid_selector()).await? {
        context.host.delete(&Key { name: object.name_any(), ..any.clone() }, object.uid()).await?;
    }
    Ok(())
}

/// Says what deletion waits for.
async fn report(cluster: &VirtualCluster, context: &Context, waits_for: String) -> Result<(), Error> {
    let mut report = Report::of(cluster);
    report.mode = Mode::Deleting(waits_for);
    publish(context, cluster, &report).await
}

async fn announce(cluster: &VirtualCluster, context: &Context, note: &str) {
    let event = events::event(EventType::Warning, Reason::ForceDeleted.as_str(), note);
    events::publish(&context.recorder, cluster, vec![event]).await;
}
