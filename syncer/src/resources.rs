//! One file a resource: how it is translated, which side owns which field, and how it is kept in step.

pub(crate) mod config_map;
pub(crate) mod endpoint_slice;
pub(crate) mod endpoints;
pub(crate) mod event;
pub(crate) mod export;
pub(crate) mod general;
pub(crate) mod ingress;
pub(crate) mod kubernetes_service;
pub(crate) mod metrics;
mod mirror;
pub(crate) mod network_policy;
pub(crate) mod node;
pub(crate) mod persistent_volume_claim;
pub(crate) mod pod;
pub(crate) mod pod_disruption_budget;
pub(crate) mod secret;
pub(crate) mod service;
mod tune;

use crate::context::{Context, Kind, Task};
use crate::error::Result;
use crate::queue::Outcome;
use crate::spaces::{self, Gate};

pub(crate) use self::mirror::{refuse_foreign, stamp};
pub(crate) use self::tune::tuned;

/// Brings one virtual object and what belongs to it on the host in step.
pub(crate) async fn reconcile(cx: &Context, task: &Task) -> Result<Outcome> {
    let key = &task.key;
    match spaces::gate(cx, task) {
        Gate::Open => {}
        Gate::Parked => return Ok(Outcome::Done),
        Gate::Closed(why) => return Box::pin(spaces::closed(cx, task, why)).await,
    }
    match task.kind {
        Kind::KubernetesService => Box::pin(kubernetes_service::reconcile(cx)).await,
        Kind::ConfigMap => Box::pin(config_map::reconcile(cx, key)).await,
        Kind::Secret => Box::pin(secret::reconcile(cx, key)).await,
        Kind::PersistentVolumeClaim => Box::pin(persistent_volume_claim::reconcile(cx, key)).await,
        Kind::Service => Box::pin(service::reconcile(cx, key)).await,
        Kind::Endpoints => Box::pin(endpoints::reconcile(cx, key)).await,
        Kind::EndpointSlice => Box::pin(endpoint_slice::reconcile(cx, key)).await,
        Kind::Export => Box::pin(export::reconcile(cx, key)).await,
        Kind::NetworkPolicy => Box::pin(network_policy::reconcile(cx, key)).await,
        Kind::PodDisruptionBudget => Box::pin(pod_disruption_budget::reconcile(cx, key)).await,
        Kind::Ingress => Box::pin(ingress::reconcile(cx, key)).await,
        Kind::Rule(number) => Box::pin(general::reconcile(cx, number, key)).await,
        Kind::Pod => Box::pin(pod::reconcile(cx, key)).await,
        Kind::Node => Box::pin(node::reconcile(cx, key)).await,
        Kind::Namespace => spaces::reconcile(cx, key),
    }
}
