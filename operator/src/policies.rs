//! Reconciles policies: says whether they are well-formed, counts their clusters, and keeps those in use.
//!
//! A policy that clusters are bound to is not gone when it is deleted: a finalizer holds it until the last of them is
//! bound elsewhere or deleted, as Kubernetes protects volumes in use. So no cluster ever loses its bounds by accident.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use serde_json::json;
use vkube_crds::{POLICY_FINALIZER, VirtualClusterPolicy, VirtualClusterPolicyStatus};

use crate::apply::Host;
use crate::backoff::Backoff;
use crate::context::{Cluster, Policy};
use crate::error::{Error, has_code};
use crate::finalizer;
use crate::metrics::Metrics;
use crate::names::STATUS_MANAGER;
use crate::policy::malformed;
use crate::reason::Reason;

/// What every reconcile of a policy shares.
pub struct PolicyContext {
    /// Access to the host.
    pub host: Host,
    /// What is counted.
    pub metrics: Metrics,
    /// All clusters.
    pub clusters: Store<Cluster>,
    /// Failures in a row.
    pub backoff: Backoff,
}

/// One reconcile of one policy.
pub async fn reconcile(policy: Arc<Policy>, context: Arc<PolicyContext>) -> Result<Action, Error> {
    let begun = Instant::now();
    let outcome = match &policy.0 {
        Ok(policy) => run(policy, &context).await,
        Err(invalid) => {
            tracing::warn!(error = invalid.error, name = invalid.metadata.name, "a policy is malformed");
            Ok(())
        }
    };
    let failure = outcome.as_ref().err().map(Error::reason);
    context.metrics.reconciled("virtualclusterpolicy", begun.elapsed(), failure);
    outcome?;
    context.backoff.succeeded(policy.meta().uid.as_deref().unwrap_or_default());
    Ok(Action::await_change())
}

/// When to try again after a failure.
#[allow(clippy::needless_pass_by_value, reason = "the signature that a controller wants")]
pub fn on_error(policy: Arc<Policy>, error: &Error, context: Arc<PolicyContext>) -> Action {
    let metadata = policy.meta();
    let wait = context.backoff.failed(metadata.uid.as_deref().unwrap_or_default(), metadata.generation);
    tracing::warn!(name = metadata.name, error = error.chain(), retry_in = ?wait, "failed to reconcile a policy");
    Action::requeue(wait)
}

async fn run(policy: &VirtualClusterPolicy, context: &PolicyContext) -> Result<(), Error> {
    let bound = bound(policy, &context.clusters);
    if policy.metadata.deletion_timestamp.is_some() {
        if bound == 0 {
            return finalizer::remove_from_policy(&context.host, policy, POLICY_FINALIZER).await;
        }
    } else {
        finalizer::add_to_policy(&context.host, policy, POLICY_FINALIZER).await?;
    }
    let before = policy.status.clone().unwrap_or_default();
    let after = status(policy, &before, bound, Timestamp::now());
    if before == after {
        return Ok(());
    }
    let name = policy.name_any();
    let body = json!({
        "apiVersion": VirtualClusterPolicy::api_version(&()),
        "kind": VirtualClusterPolicy::kind(&()),
        "metadata": {"name": name, "uid": policy.metadata.uid},
        "status": after,
    });
    let api = Api::<VirtualClusterPolicy>::all(context.host.client().clone());
    match api.patch_status(&name, &PatchParams::apply(STATUS_MANAGER).force(), &Patch::Apply(body)).await {
        Err(error) if has_code(&error, 404) => Ok(()),
        Err(source) => Err(Error::Apply { what: format!("status of VirtualClusterPolicy {name}"), source }),
        Ok(_) => Ok(()),
    }
}

/// How many clusters are bound to the policy.
fn bound(policy: &VirtualClusterPolicy, clusters: &Store<Cluster>) -> usize {
    clusters.state_filter(|cluster| policy_uid(cluster).as_ref() == policy.metadata.uid.as_ref()).len()
}

/// UID of the policy that a cluster is bound to.
pub fn policy_uid(cluster: &Cluster) -> Option<String> {
    let status = cluster.0.as_ref().ok()?.status.as_ref()?;
    status.policy.as_ref().map(|policy| policy.uid.clone())
}

/// The status of a policy. Pure.
fn status(
    policy: &VirtualClusterPolicy,
    before: &VirtualClusterPolicyStatus,
    bound: usize,
    now: Timestamp,
) -> VirtualClusterPolicyStatus {
    let generation = policy.metadata.generation.unwrap_or_default();
    let condition = |type_: &str, status: &str, reason: Reason, message: &str| Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: before
            .conditions
            .iter()
            .find(|previous| previous.type_ == type_ && previous.status == status)
            .map_or_else(
                || Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
                |previous| previous.last_transition_time.clone(),
            ),
    };
    let wrong = malformed(policy);
    let conditions = if wrong.is_empty() {
        vec![condition("Ready", "True", Reason::Applied, "the policy is well-formed")]
    } else {
        let message = wrong.join("; ");
        vec![
            condition("Ready", "False", Reason::InvalidSpec, &message),
            condition("Stalled", "True", Reason::InvalidSpec, &message),
        ]
    };
    VirtualClusterPolicyStatus {
        observed_generation: Some(generation),
        matched_virtual_clusters: i32::try_from(bound).unwrap_or(i32::MAX),
        conditions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk(value: serde_json::Value) -> VirtualClusterPolicy {
        let mut policy = VirtualClusterPolicy::new("standard", serde_json::from_value(value).unwrap());
        policy.metadata.generation = Some(3);
        policy
    }

    fn conditions(policy: &VirtualClusterPolicy) -> Vec<(String, String)> {
        let status = status(policy, &VirtualClusterPolicyStatus::default(), 2, Timestamp::UNIX_EPOCH);
        status.conditions.into_iter().map(|condition| (condition.type_, condition.status)).collect()
    }

    #[test]
    fn a_policy_that_can_be_applied_is_ready() {
        let policy = mk(json!({"enforced": {"isolation": {"podSecurity": "restricted"}}}));
        assert_eq!(conditions(&policy), [("Ready".into(), "True".into())]);
    }

    #[test]
    fn a_policy_that_no_cluster_could_follow_is_stalled() {
        for spec in [
            json!({"enforced": {"certificates": {"validity": "1h", "renewBefore": "2h"}}}),
            json!({"defaults": {"isolation": {"networkPolicy": {"egressCIDRs": ["10.0.0.0/99"]}}}}),
            json!({"selector": {"clusterSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}}),
            json!({"constraints": {"maxVolumeSize": "big"}}),
        ] {
            let policy = mk(spec);
            assert_eq!(
                conditions(&policy),
                [("Ready".into(), "False".into()), ("Stalled".into(), "True".into())],
                "{policy:?}"
            );
        }
    }

    #[test]
    fn a_status_that_says_the_same_keeps_its_times() {
        let policy = mk(json!({}));
        let first = status(&policy, &VirtualClusterPolicyStatus::default(), 0, Timestamp::UNIX_EPOCH);
        assert_eq!(status(&policy, &first, 0, Timestamp::MAX), first);
    }
}
