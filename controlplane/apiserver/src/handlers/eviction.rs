//! Eviction: deleting a pod if its disruption budgets allow
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>).

use serde_json::{Value, json};
use vkube_store::{Change, Expect, Write};

use super::{
    binding,
    call::Call,
    call::read_body,
    delete,
    write::{admit_given, check_namespace},
};
use crate::{
    admission::Operation,
    body::{Request, Response},
    documents::{self, Expected},
    metadata,
    options::{DeleteOptions, Query, WriteOptions},
    respond,
    selectors::labels::LabelSelector,
    server::builtin,
    status::{ApiError, GroupResource},
    stored,
};

/// How many evictions may be waiting for the controller to confirm them.
const MOST: usize = 2000;

/// Evicts the pod that the path names.
pub async fn evict(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let write = WriteOptions::read(&call.query, &call.user_agent, "CreateOptions", false)?;
    let body = read_body(request).await?;
    let mut eviction = {
        let mut read = |api_version: &str| {
            let expected = Expected::part(api_version, "Eviction", "io.k8s.api.policy.v1")?;
            documents::read_as(call, request.headers(), &body, write.field_validation, &expected)
        };
        // The older form is still read, though nothing else of its version is served.
        read("policy/v1").or_else(|error| read("policy/v1beta1").map_err(|_| error))?
    };
    check_namespace(call, &mut eviction)?;
    if metadata::name(&eviction) != call.info.name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    admit_given(call, Operation::Create, &mut eviction, write.dry_run).await?;
    let mut options = match eviction.get("deleteOptions") {
        Some(options) => DeleteOptions::from_body(options)?,
        None => DeleteOptions::from_query(&Query::default())?,
    };
    options.dry_run |= write.dry_run;

    let pod = call.server.store().get(&call.key(), None).await?.ok_or_else(|| call.not_found())?;
    let pod = stored::decode(&pod)?;
    if !goes_freely(&pod) {
        claim_disruption(call, &pod, options.dry_run).await?;
    }
    call.info.subresource.clear();
    if !options.dry_run {
        announce(call).await?;
    }
    delete::delete_named(call, &options).await?;
    Ok(respond::done(call.accepted.encoding, &call.warnings))
}

/// Says in the pod's status why it will go.
async fn announce(call: &Call) -> Result<(), ApiError> {
    let definition = call.definition.stored();
    loop {
        let Some(entry) = call.server.store().get(&call.key(), None).await? else {
            return Err(call.not_found());
        };
        let mut pod = stored::decode(&entry)?;
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": null,
            "lastTransitionTime": metadata::time(call.now),
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        });
        binding::set_condition(&mut pod, condition);
        let write = Write {
            key: entry.key.clone(),
            expect: Expect::Modified(entry.modified),
            change: Change::Put { document: stored::encode(&mut pod, &definition)?, ttl: None },
        };
        match call.server.store().commit(vec![write]).await {
            Ok(_) => return Ok(()),
            Err(vkube_store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Pods that do not run disrupt nobody.
fn goes_freely(pod: &Value) -> bool {
    matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed" | "Pending"))
        || metadata::is_terminating(pod)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Why the budget could not be computed, if it could not.
fn failed_sync(budget: &Value) -> Option<&str> {
    let conditions = budget.pointer("/status/conditions").and_then(Value::as_array)?;
    let allowed = conditions.iter().find(|c| c["type"] == "DisruptionAllowed")?;
    (allowed["status"] == "False" && allowed["reason"] == "SyncFailed")
        .then(|| allowed["message"].as_str().unwrap_or_default())
}

/// Says that the budget allows no further disruption.
fn exhaust(budget: &mut Value, now: jiff::Timestamp) {
    let observed = budget.pointer("/status/observedGeneration").cloned().unwrap_or_default();
    let condition = json!({
        "type": "DisruptionAllowed",
        "status": "False",
        "observedGeneration": observed,
        "lastTransitionTime": metadata::time(now),
        "reason": "InsufficientPods",
        "message": "",
    });
    binding::set_condition(budget, condition);
}

async fn claim_disruption(call: &Call, pod: &Value, dry_run: bool) -> Result<(), ApiError> {
    let definition = builtin("policy", "poddisruptionbudgets")?;
    loop {
        let budgets = call.server.find_all("policy", "poddisruptionbudgets", call.namespace()).await?;
        let mut matching = budgets.into_iter().filter(|b| {
            b.pointer("/spec/selector").is_some_and(|s| LabelSelector::from_spec(s).matches_object(pod))
        });
        let Some(mut budget) = matching.next() else { return Ok(()) };
        if matching.next().is_some() {
            return Err(ApiError::unknown(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let number = |pointer: &str| budget.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let always =
            budget.pointer("/spec/unhealthyPodEvictionPolicy").and_then(Value::as_str) == Some("AlwaysAllow");
        let healthy_enough = number("/status/currentHealthy") >= number("/status/desiredHealthy");
        if !is_ready(pod) && (always || (healthy_enough && number("/status/desiredHealthy") > 0)) {
            return Ok(());
        }
        let name = metadata::name(&budget).to_owned();
        let refuse = |message: String| {
            ApiError::too_many_requests(
                "Cannot evict pod as it would violate the pod's disruption budget.",
                0,
            )
            .with_cause("DisruptionBudget", message, "")
        };
        if number("/status/observedGeneration") < metadata::generation(&budget) {
            let mut error = ApiError::too_many_requests(
                "Cannot evict pod as it would violate the pod's disruption budget.",
                10,
            );
            error = error.with_cause(
                "DisruptionBudget",
                format!("The disruption budget {name} is still being processed by the server."),
                "",
            );
            return Err(error);
        }
        let allowed = number("/status/disruptionsAllowed");
        if allowed < 0 {
            let budgets = GroupResource { group: "policy", resource: "poddisruptionbudget" };
            return Err(ApiError::forbidden(budgets, &name, "pdb disruptions allowed is negative"));
        }
        if budget.pointer("/status/disruptedPods").and_then(Value::as_object).is_some_and(|p| p.len() > MOST)
        {
            let budgets = GroupResource { group: "policy", resource: "poddisruptionbudget" };
            let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
            return Err(ApiError::forbidden(budgets, &name, why));
        }
        if allowed == 0 {
            let (desired, healthy) = (number("/status/desiredHealthy"), number("/status/currentHealthy"));
            return Err(refuse(match failed_sync(&budget) {
                Some(why) => format!(
                    "The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
                ),
                None if healthy <= desired => format!(
                    "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
                ),
                None => format!("The disruption budget {name} does not allow evicting pods currently"),
            }));
        }
        budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
        if allowed == 1 {
            exhaust(&mut budget, call.now);
        }
        budget["status"]["disruptedPods"][metadata::name(pod)] = metadata::time(call.now).into();
        if dry_run {
            return Ok(());
        }
        let key = definition.key(call.namespace(), &name);
        let Some(entry) = call.server.store().get(&key, None).await? else { continue };
        let seen = metadata::text(&budget, "resourceVersion");
        if entry.modified.to_string() != seen {
            continue;
        }
        let document = stored::encode(&mut budget, &definition)?;
        let write = Write {
            key,
            expect: Expect::Modified(entry.modified),
            change: Change::Put { document, ttl: None },
        };
        match call.server.store().commit(vec![write]).await {
            Ok(_) => return Ok(()),
            Err(vkube_store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
