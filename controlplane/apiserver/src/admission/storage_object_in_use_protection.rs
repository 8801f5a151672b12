//! StorageObjectInUseProtection: claims and volumes stay as long as they are in use.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::{metadata, status::ApiError};

const PROTECTED: &[(&str, &str, &str)] = &[
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

pub struct StorageObjectInUseProtection;

impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        if attributes.operation == Operation::Create
            && let Some((_, _, finalizer)) = PROTECTED.iter().find(|(g, p, _)| attributes.is(g, p))
        {
            let mut finalizers: Vec<String> =
                metadata::finalizers(object).into_iter().map(Into::into).collect();
            if !finalizers.iter().any(|f| f == finalizer) {
                finalizers.push((*finalizer).into());
                metadata::set_finalizers(object, finalizers);
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
