//! RuntimeClass: pods get the overhead and the scheduling of their runtime class.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, default_toleration_seconds::append};
use crate::{
    registry::access::{at, entries, has, list_at, make_map, set, str_at},
    status::ApiError,
};

pub struct RuntimeClass;

impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        pod: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if attributes.operation == Operation::Create && attributes.is("", "pods") {
                apply(attributes, pod).await?;
            }
            Ok(())
        })
    }
}

async fn apply(attributes: &Attributes<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let name = str_at(pod, "/spec/runtimeClassName").to_owned();
    if name.is_empty() {
        if has(pod, "/spec/overhead") {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(attributes.forbidden(pod, why));
        }
        return Ok(());
    }
    let Some(class) = attributes.server.find("node.k8s.io", "runtimeclasses", "", &name).await? else {
        return Err(attributes.forbidden(pod, &format!("pod rejected: RuntimeClass {name:?} not found")));
    };
    let overhead = at(&class, "/overhead/podFixed");
    if has(pod, "/spec/overhead") && at(pod, "/spec/overhead") != overhead {
        let why = if overhead.is_null() {
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        } else {
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        };
        return Err(attributes.forbidden(pod, why));
    }
    if !overhead.is_null() {
        set(pod, "/spec/overhead", overhead.clone());
    }
    for (key, value) in entries(&class, "/scheduling/nodeSelector") {
        let selector = make_map(pod, "/spec/nodeSelector");
        if let Some(own) = selector.get(key).filter(|own| *own != value) {
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(own)
            );
            return Err(attributes.forbidden(pod, &why));
        }
        selector.insert(key.clone(), value.clone());
    }
    for toleration in list_at(&class, "/scheduling/tolerations") {
        if !list_at(pod, "/spec/tolerations").contains(toleration) {
            append(pod, "tolerations", toleration.clone());
        }
    }
    Ok(())
}
