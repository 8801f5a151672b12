//! The end that a cluster has set for itself, or that its policy has.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::runtime::events::EventType;
use kube::{Resource, ResourceExt};
use vkube_crds::VirtualCluster;

use super::steps::Attempt;
use super::{Report, Stop};
use crate::error::{Error, has_code};
use crate::events;
use crate::reason::Reason;

/// Deletes the cluster if its time has come; else notes when it comes.
pub(super) async fn ensure(attempt: &Attempt<'_>, report: &mut Report) -> Result<(), Stop> {
    let cluster = attempt.cluster;
    let end = attempt.settings.lifetime.and_then(|lifetime| end(cluster, lifetime));
    report.delete_at = end.map(Time);
    let Some(end) = end else { return Ok(()) };
    let protected = cluster.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.deletion_protection);
    if protected == Some(true) {
        return Ok(());
    }
    let now = Timestamp::now();
    if now < end {
        report.look_again(end.duration_since(now).unsigned_abs());
        return Ok(());
    }
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    tracing::info!(namespace, name, "the lifetime of the cluster has ended");
    let note = format!("the lifetime of the cluster ended at {end}");
    let event = events::event(EventType::Normal, Reason::Expired.as_str(), &note);
    events::publish(&attempt.context.recorder, cluster, vec![event]).await;
    let api: Api<VirtualCluster> = Api::namespaced(attempt.context.host.client().clone(), &namespace);
    let preconditions = Some(Preconditions { uid: cluster.meta().uid.clone(), resource_version: None });
    match api.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Err(error) if !has_code(&error, 404) && !has_code(&error, 409) => {
            Err(Error::Delete { what: format!("VirtualCluster {namespace}/{name}"), source: error }.into())
        }
        _ => Err(Stop::Waiting(note)),
    }
}

fn end(cluster: &VirtualCluster, lifetime: Duration) -> Option<Timestamp> {
    let created = cluster.metadata.creation_timestamp.as_ref()?.0;
    // A lifetime of thousands of years has no end.
    created.checked_add(jiff::SignedDuration::try_from(lifetime).ok()?).ok()
}
