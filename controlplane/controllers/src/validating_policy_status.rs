//! The status of validating admission policies: which generation has been seen, and what its expressions get
//! wrong about the types of the kinds that it names.
//!
//! Whoever runs the controllers knows those types and brings the checker. As upstream, a generation is checked
//! once: a schema that changes later does not change what was said of a policy.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    ExpressionWarning, TypeChecking, ValidatingAdmissionPolicy,
};
use serde_json::Value;

use crate::Context;
use crate::api::Error;
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::Key;

type Check = dyn Fn(&Value) -> Vec<(String, String)> + Send + Sync;

/// Finds what the expressions of a policy, given as a document, get wrong: the fields that they are in, with
/// what to say of them.
#[derive(Clone)]
pub struct TypeChecker(Arc<Check>);

impl TypeChecker {
    /// A checker of this function.
    pub fn new(check: impl Fn(&Value) -> Vec<(String, String)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    fn warnings(&self, policy: &ValidatingAdmissionPolicy) -> Vec<ExpressionWarning> {
        let document = serde_json::to_value(policy).unwrap_or_default();
        let found = (self.0)(&document).into_iter();
        found.map(|(field_ref, warning)| ExpressionWarning { field_ref, warning }).collect()
    }
}

impl fmt::Debug for TypeChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeChecker").finish_non_exhaustive()
    }
}

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let policies: Informer<ValidatingAdmissionPolicy> = context.informers.of();
    let queue = context.queue("validatingadmissionpolicy-status");
    wake_itself(&policies, &queue);
    let (checker, shutdown) = (context.type_checker.clone(), context.shutdown.clone());
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = policies.synced() => {}
        }
        queue.run(1, &shutdown, |key| report(&policies, checker.as_ref(), key)).await;
    }
}

async fn report(
    policies: &Informer<ValidatingAdmissionPolicy>,
    checker: Option<&TypeChecker>,
    key: Key,
) -> Result<(), Error> {
    let Some(policy) = policies.get("", &key.name) else { return Ok(()) };
    let seen = policy.status.as_ref().and_then(|status| status.observed_generation).unwrap_or_default();
    if policy.metadata.generation.is_some_and(|generation| generation <= seen) {
        return Ok(());
    }
    let warnings = checker.map(|checker| checker.warnings(&policy));
    match policies.update_status(&policy, &plan(&policy, warnings)).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

fn plan(
    policy: &ValidatingAdmissionPolicy,
    warnings: Option<Vec<ExpressionWarning>>,
) -> ValidatingAdmissionPolicy {
    let mut seen = policy.clone();
    let status = seen.status.get_or_insert_default();
    status.observed_generation = policy.metadata.generation;
    status.type_checking = warnings.map(|warnings| TypeChecking {
        expression_warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
    });
    seen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy() -> ValidatingAdmissionPolicy {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "generation": 4},
            "status": {
                "observedGeneration": 3,
                "typeChecking": {"expressionWarnings": [{"fieldRef": "old", "warning": "old"}]},
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_policy_is_reported_as_seen_and_its_conditions_are_kept() {
        let status = plan(&policy(), Some(Vec::new())).status.unwrap();
        assert_eq!((status.observed_generation, status.conditions.unwrap().len()), (Some(4), 1));
        assert_eq!(status.type_checking, Some(TypeChecking { expression_warnings: None }));
    }

    #[test]
    fn what_expressions_get_wrong_replaces_what_an_earlier_generation_got_wrong() {
        let checker = TypeChecker::new(|policy| {
            let field = format!("{}.spec", policy["metadata"]["name"].as_str().unwrap());
            vec![(field, "undefined".to_owned())]
        });
        let warnings = checker.warnings(&policy());
        let status = plan(&policy(), Some(warnings)).status.unwrap();
        let told = status.type_checking.unwrap().expression_warnings.unwrap();
        assert_eq!((told.len(), &*told[0].field_ref, &*told[0].warning), (1, "p.spec", "undefined"));
    }
}
