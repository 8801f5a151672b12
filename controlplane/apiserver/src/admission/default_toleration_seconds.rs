//! DefaultTolerationSeconds: pods leave nodes that are lost for five minutes.

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin};
use crate::{
    registry::access::{list_at, make_map, str_at},
    status::ApiError,
};

const TAINTS: &[&str] = &["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: i64 = 300;

pub struct DefaultTolerationSeconds;

impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        pod: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        if attributes.is("", "pods") && attributes.operation != Operation::Delete {
            tolerate(pod);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

fn tolerate(pod: &mut Value) {
    for taint in TAINTS {
        let tolerated = list_at(pod, "/spec/tolerations").iter().any(|t| {
            matches!(str_at(t, "/key"), key if key == *taint || key.is_empty())
                && matches!(str_at(t, "/effect"), "NoExecute" | "")
        });
        if !tolerated {
            let toleration = json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
            });
            append(pod, "tolerations", toleration);
        }
    }
}

/// Appends to a list of a pod's spec.
pub fn append(pod: &mut Value, field: &str, item: Value) {
    let list = make_map(pod, "/spec").entry(field).or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}
