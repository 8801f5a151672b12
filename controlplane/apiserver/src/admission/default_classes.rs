//! DefaultStorageClass and DefaultIngressClass: claims and ingresses that name no class get the default one.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::{
    metadata,
    registry::access::{has, map_at, set},
    status::ApiError,
};

pub struct DefaultStorageClass;

pub struct DefaultIngressClass;

impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        claim: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if attributes.operation != Operation::Create
                || !attributes.is("", "persistentvolumeclaims")
                || has(claim, "/spec/storageClassName")
                || annotation(claim, "volume.beta.kubernetes.io/storage-class").is_some()
            {
                return Ok(());
            }
            let marks = [
                "storageclass.kubernetes.io/is-default-class",
                "storageclass.beta.kubernetes.io/is-default-class",
            ];
            let classes = attributes.server.find_all("storage.k8s.io", "storageclasses", "").await?;
            if let Some(class) = newest(&classes, &marks) {
                set(claim, "/spec/storageClassName", metadata::name(class));
            }
            Ok(())
        })
    }
}

impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        ingress: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if attributes.operation != Operation::Create
                || !attributes.is("networking.k8s.io", "ingresses")
                || has(ingress, "/spec/ingressClassName")
                || annotation(ingress, "kubernetes.io/ingress.class").is_some()
            {
                return Ok(());
            }
            let classes = attributes.server.find_all("networking.k8s.io", "ingressclasses", "").await?;
            if let Some(class) = newest(&classes, &["ingressclass.kubernetes.io/is-default-class"]) {
                set(ingress, "/spec/ingressClassName", metadata::name(class));
            }
            Ok(())
        })
    }
}

/// An annotation of an object.
pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    map_at(object, "/metadata/annotations")?.get(name)?.as_str()
}

/// The newest class that is marked as the default; of several the first by name.
fn newest<'a>(classes: &'a [Value], marks: &[&str]) -> Option<&'a Value> {
    let mut defaults: Vec<&Value> =
        classes.iter().filter(|c| marks.iter().any(|mark| annotation(c, mark) == Some("true"))).collect();
    let time = |class: &Value| metadata::text(class, "creationTimestamp").to_owned();
    defaults.sort_by(|a, b| time(b).cmp(&time(a)).then_with(|| metadata::name(a).cmp(metadata::name(b))));
    defaults.first().copied()
}
