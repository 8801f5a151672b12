//! NamespaceLifecycle: objects are created in namespaces that exist and stay.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::{
    registry::access::str_at,
    status::{ApiError, GroupResource},
};

const NAMESPACES: GroupResource<'static> = GroupResource { group: "", resource: "namespaces" };
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(check(attributes, object))
    }
}

async fn check(attributes: &Attributes<'_>, object: &Value) -> Result<(), ApiError> {
    if attributes.definition.is("", "namespaces") {
        if attributes.operation == Operation::Delete && IMMORTAL.contains(&attributes.name) {
            let why = "this namespace may not be deleted";
            return Err(ApiError::forbidden(NAMESPACES, attributes.name, why));
        }
        return Ok(());
    }
    // What is updated is there already, so its namespace is too.
    let name = attributes.namespace;
    if attributes.operation != Operation::Create || name.is_empty() || !attributes.definition.namespaced() {
        return Ok(());
    }
    let namespace = attributes.server.find("", "namespaces", "", name).await?;
    let namespace = namespace.ok_or_else(|| ApiError::not_found(NAMESPACES, name))?;
    if str_at(&namespace, "/status/phase") != "Terminating" {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    Err(attributes.forbidden(object, &why).with_cause(
        "NamespaceTerminating",
        format!("namespace {name} is being terminated"),
        "metadata.namespace",
    ))
}
