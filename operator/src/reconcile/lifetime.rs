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
use crate::observe;
use crate::reason::Reason;

/// When the cluster was used last, or made, where that counts.
pub(super) async fn used(attempt: &Attempt<'_>, report: &mut Report) -> Result<Timestamp, Stop> {
    let created = attempt.cluster.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let created = created.unwrap_or(Timestamp::UNIX_EPOCH);
    if !attempt.settings.depends_on_use() {
        report.last_activity = None;
        return Ok(created);
    }
    // Without a kubeconfig nobody can have used it, and the operator may have no rights there yet.
    if report.kubeconfig.is_some()
        && let Some(told) = observe::last_request(&attempt.context.host, &attempt.identity).await?
    {
        report.last_activity = Some(Time(told));
    }
    Ok(report.last_activity.as_ref().map_or(created, |time| time.0.max(created)))
}

/// Deletes the cluster if its time has come; else notes when it comes.
pub(super) async fn ensure(attempt: &Attempt<'_>, used: Timestamp, report: &mut Report) -> Result<(), Stop> {
    let cluster = attempt.cluster;
    let settings = &attempt.settings;
    let created = cluster.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let ends = [
        settings.lifetime.zip(created).and_then(|(lifetime, created)| end(created, lifetime)),
        settings.idle_lifetime.and_then(|lifetime| end(used, lifetime)),
    ];
    let end = ends.into_iter().flatten().min();
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

fn end(begun: Timestamp, lifetime: Duration) -> Option<Timestamp> {
    // A lifetime of thousands of years has no end.
    begun.checked_add(jiff::SignedDuration::try_from(lifetime).ok()?).ok()
}
