//! The status of validating admission policies: which generation has been seen.
//!
//! Upstream's controller also checks the types of a policy's expressions and reports what it finds under
//! `typeChecking`. Nothing here does, so that field stays absent, which says just that.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;

use crate::Context;
use crate::api::Error;
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::Key;

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let policies: Informer<ValidatingAdmissionPolicy> = context.informers.of();
    let queue = context.queue("validatingadmissionpolicy-status");
    wake_itself(&policies, &queue);
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = policies.synced() => {}
        }
        queue.run(1, &shutdown, |key| report(&policies, key)).await;
    }
}

async fn report(policies: &Informer<ValidatingAdmissionPolicy>, key: Key) -> Result<(), Error> {
    let Some(policy) = policies.get("", &key.name) else { return Ok(()) };
    match policies.update_status(&policy, &plan(&policy)).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

fn plan(policy: &ValidatingAdmissionPolicy) -> ValidatingAdmissionPolicy {
    let mut seen = policy.clone();
    seen.status.get_or_insert_default().observed_generation = policy.metadata.generation;
    seen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_reported_as_seen_and_its_conditions_are_kept() {
        let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
            "metadata": {"name": "p", "generation": 4},
            "status": {"observedGeneration": 3, "conditions": [{
                "type": "Ready", "status": "True", "reason": "", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        }))
        .unwrap();
        let status = plan(&policy).status.unwrap();
        assert_eq!((status.observed_generation, status.conditions.unwrap().len()), (Some(4), 1));
    }
}
