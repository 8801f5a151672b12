//! Installs vkube into the sandbox's host, as `install.yaml` would.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
    runtime::wait::{self, await_condition},
};
use vkube_operator::install::{NAMESPACE, OPERATOR};

use super::Error;

/// Who owns what is installed.
const MANAGER: &str = "vkube-sandbox";
/// Kubeconfigs name addresses: the user of a sandbox does not use its DNS.
const ADDRESSES: &str = "--cluster-ip-addresses";

/// Whether the operator runs on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// As a pod, made for the sandbox.
    Pod,
    /// Elsewhere, as a process of somebody's own.
    Elsewhere,
}

/// Applies the manifests.
pub async fn apply(client: &Client, image: &str, operator: Operator) -> Result<(), Error> {
    for mut object in vkube_operator::install_manifests(image) {
        let kind = object.types.clone().unwrap_or_default();
        let what = format!("install {} {}", kind.kind, object.name_any());
        if kind.kind == "Deployment" {
            if operator == Operator::Elsewhere {
                continue;
            }
            adapt(&mut object);
        }
        let resource = GroupVersionKind::try_from(&kind).map(|kind| ApiResource::from_gvk(&kind));
        let Ok(resource) = resource else { continue };
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let parameters = PatchParams::apply(MANAGER).force();
        let applied = api.patch(&object.name_any(), &parameters, &Patch::Apply(&object)).await;
        applied.map_err(|source| Error::Api { what, source })?;
    }
    Ok(())
}

/// Makes the operator's Deployment one for the sandbox.
fn adapt(deployment: &mut DynamicObject) {
    let arguments = deployment.data.pointer_mut("/spec/template/spec/containers/0/args");
    if let Some(arguments) = arguments.and_then(serde_json::Value::as_array_mut) {
        arguments.push(ADDRESSES.into());
    }
}

/// Waits until the operator is available.
pub(super) async fn await_operator(client: &Client) -> Result<(), wait::Error> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    await_condition(api, OPERATOR, |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status.and_then(|status| status.available_replicas).unwrap_or(0) > 0
    })
    .await
    .map(drop)
}
