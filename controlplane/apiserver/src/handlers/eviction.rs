//! Eviction: deleting a pod if its disruption budgets allow
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>).

use http::StatusCode;
use serde_json::{Value, json};
use vkube_store::{Change, Expect, Write};

use super::{call::Call, call::read_body, delete, write::admit_given};
use crate::{
    admission::Operation,
    body::{Request, Response},
    documents::{self, Expected},
    metadata, negotiation,
    options::{DeleteOptions, Query, WriteOptions},
    respond,
    schema::types::Type,
    selectors::labels::LabelSelector,
    server::builtin,
    status::ApiError,
    stored,
};

/// Evicts the pod that the path names.
pub async fn evict(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let write = WriteOptions::read(&call.query, &call.user_agent, "CreateOptions", false)?;
    let encoding = negotiation::content_type(request.headers(), false)?;
    let body = read_body(request).await?;
    let expected = Expected {
        api_version: "policy/v1".into(),
        kind: "Eviction".into(),
        group: "policy".into(),
        custom: false,
    };
    let ty = Type::builtin("io.k8s.api.policy.v1.Eviction")
        .ok_or_else(|| ApiError::internal("no schema of Eviction"))?;
    let (mut eviction, _) = documents::read_as(encoding, &body, &expected, ty)?;
    let named = metadata::name(&eviction);
    if !named.is_empty() && named != call.info.name {
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
    delete::delete_named(call, &options).await?;
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::document(
        StatusCode::CREATED,
        &status,
        call.accepted.encoding,
        Type::builtin(crate::codec::STATUS),
    ))
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

async fn claim_disruption(call: &Call, pod: &Value, dry_run: bool) -> Result<(), ApiError> {
    let definition = builtin("policy", "poddisruptionbudgets")?;
    loop {
        let budgets = call.server.find_all("policy", "poddisruptionbudgets", call.namespace()).await?;
        let mut matching = budgets.into_iter().filter(|b| {
            b.pointer("/spec/selector").is_some_and(|s| LabelSelector::from_spec(s).matches_object(pod))
        });
        let Some(mut budget) = matching.next() else { return Ok(()) };
        if matching.next().is_some() {
            let mut error = ApiError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            );
            error.message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.".into();
            return Err(error);
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
        if allowed <= 0 {
            return Err(refuse(format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                number("/status/desiredHealthy"),
                number("/status/currentHealthy")
            )));
        }
        budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
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
        let document = stored::encode(&budget, &definition)?;
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
