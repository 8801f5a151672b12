//! TaintNodesByCondition: a new node takes no pods until it is ready.

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin, default_toleration_seconds::append};
use crate::{
    registry::access::{list_at, str_at},
    status::ApiError,
};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub struct TaintNodesByCondition;

impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        node: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        if attributes.is("", "nodes") && attributes.operation == Operation::Create {
            let tainted = list_at(node, "/spec/taints")
                .iter()
                .any(|t| str_at(t, "/key") == NOT_READY && str_at(t, "/effect") == "NoSchedule");
            if !tainted {
                append(node, "taints", json!({"key": NOT_READY, "effect": "NoSchedule"}));
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
