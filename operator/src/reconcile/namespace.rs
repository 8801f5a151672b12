//! The host namespace: made, adopted or refused.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use vkube_crds::{annotations, labels};

use super::steps::Attempt;
use super::{Report, Stop};
use crate::build::{self, Key, Object};
use crate::conditions::Check;
use crate::error::{Error, has_code};
use crate::names::{FIELD_MANAGER, Identity};
use crate::reason::Reason;

/// Makes sure that the host namespace exists and is ours; returns whether it was made just now, so that nothing can be
/// in it.
///
/// Server-side apply would take over a namespace of that name; so it is created first, which fails if it exists. One
/// that exists is ours by our UID, or becomes ours if it was retained from a cluster of this namespace and name.
pub(super) async fn ensure(
    attempt: &Attempt<'_>,
    policy: Option<&str>,
    report: &mut Report,
) -> Result<bool, Stop> {
    let host = &attempt.context.host;
    let identity = &attempt.identity;
    let key = Key::new::<Namespace>(None, &identity.host_namespace);
    let mut live = host.get(&key).await?;
    let mut made = false;
    if live.is_none() {
        live = create(host.client(), &key, identity).await?;
        made = live.is_some();
    }
    let Some(found) = live else {
        report.checks.namespace = Check::Pending("the namespace vanished while it was made".into());
        return Err(Stop::Waiting("waiting for the host namespace".into()));
    };
    if found.metadata.deletion_timestamp.is_some() {
        let message = format!("namespace {} is being deleted", identity.host_namespace);
        report.checks.namespace = Check::Failed(Reason::NamespaceTerminating, message.clone());
        return Err(Stop::Waiting(message));
    }
    let live = if identity.owns(found.metadata.labels.as_ref()) {
        found
    } else if is_retained(&found, identity) {
        adopt(host.client(), identity).await?;
        host.get(&key).await?.unwrap_or(found)
    } else {
        let message = format!("namespace {} exists and is not of this cluster", identity.host_namespace);
        report.checks.namespace = Check::Failed(Reason::NameConflict, message.clone());
        return Err(Stop::Stalled(Reason::NameConflict, message));
    };
    let desired = Object::of(build::namespace(identity, &attempt.settings, policy));
    let applied = host.apply_over(Some(live), desired, identity).await?;
    attempt.ours(applied)?;
    report.checks.namespace = Check::applied("the host namespace is there");
    Ok(made)
}

/// Creates the namespace with the labels that make it ours. `None` if one appeared meanwhile: its event wakes us.
async fn create(client: &Client, key: &Key, identity: &Identity) -> Result<Option<DynamicObject>, Error> {
    let mut bare = DynamicObject::new(&identity.host_namespace, &key.resource);
    bare.metadata.labels = Some(identity.labels());
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    match Api::all_with(client.clone(), &key.resource).create(&params, &bare).await {
        Ok(live) => Ok(Some(live)),
        Err(error) if has_code(&error, 409) => Ok(None),
        Err(source) => Err(Error::Apply { what: key.describe(), source }),
    }
}

/// Only the operator sets these labels, so they can be trusted.
pub(super) fn is_retained(live: &DynamicObject, identity: &Identity) -> bool {
    let label = |key: &str| live.labels().get(key).map(String::as_str);
    live.annotations().get(annotations::RETAINED).is_some_and(|value| value == "true")
        && label(labels::CLUSTER_NAMESPACE) == Some(&identity.namespace)
        && label(labels::CLUSTER_NAME) == Some(&identity.name)
}

pub(super) async fn adopt(client: &Client, identity: &Identity) -> Result<(), Error> {
    let patch = json!({"metadata": {
        "annotations": {annotations::RETAINED: null},
        "labels": {labels::CLUSTER_UID: identity.uid},
    }});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let api = Api::<Namespace>::all(client.clone());
    api.patch(&identity.host_namespace, &params, &Patch::Merge(patch))
        .await
        .map(drop)
        .map_err(|source| Error::Apply { what: format!("Namespace {}", identity.host_namespace), source })
}
