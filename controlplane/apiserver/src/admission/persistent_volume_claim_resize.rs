//! PersistentVolumeClaimResize: claims grow only where their class allows it.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, default_classes::annotation};
use crate::{
    registry::access::{at, bool_at, str_at},
    schema::quantity::Quantity,
    status::ApiError,
};

pub struct PersistentVolumeClaimResize;

impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        claim: &'a Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(check(attributes, claim))
    }
}

async fn check(attributes: &Attributes<'_>, claim: &Value) -> Result<(), ApiError> {
    const FIXED: &str = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    let Some(old) = attributes.old else { return Ok(()) };
    if attributes.operation != Operation::Update || !attributes.is("", "persistentvolumeclaims") {
        return Ok(());
    }
    let size = |claim: &Value| {
        Quantity::from_value(at(claim, "/spec/resources/requests/storage")).unwrap_or(Quantity::ZERO)
    };
    if size(claim) <= size(old) {
        return Ok(());
    }
    if str_at(old, "/status/phase") != "Bound" {
        return Err(attributes.forbidden(claim, "Only bound persistent volume claims can be expanded"));
    }
    let name = class(claim);
    if name.is_empty() || name != class(old) {
        return Err(attributes.forbidden(claim, FIXED));
    }
    let found = attributes.server.find("storage.k8s.io", "storageclasses", "", name).await?;
    if found.is_some_and(|c| bool_at(&c, "/allowVolumeExpansion")) {
        return Ok(());
    }
    Err(attributes.forbidden(claim, FIXED))
}

fn class(claim: &Value) -> &str {
    annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| str_at(claim, "/spec/storageClassName"))
}
