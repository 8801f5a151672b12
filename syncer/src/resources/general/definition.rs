//! Definitions of custom resources: those of the host, copied into the virtual cluster.
//!
//! The copy has the one version that is synchronised and no conversion webhook, which only the host could reach. A
//! definition that the tenant brought is left alone: objects then have to satisfy both.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionSpec, CustomResourceDefinitionVersion,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use vkube_watch::{Event, Follower, Source};

use super::{General, Shape, api_resource};
use crate::context::{Context, MANAGER};
use crate::error::{Error, Result};
use crate::labels::FROM_HOST;
use crate::rules::catalogue::{Place, Served};

/// How often an attempt is repeated that an API server refused; definitions change rarely.
const RETRY: Duration = Duration::from_secs(10);

/// Whether a rule's kind is known only from its definition on the host.
pub(crate) fn is_wanted(general: &General) -> bool {
    general.rule.known.is_none_or(|known| known.served == Served::Defined)
}

/// Keeps the virtual definition equal to the host's, for ever; `found` is called when the kind is served first.
pub(crate) async fn follow(cx: &Context, general: &General, found: impl Fn()) {
    let definitions: Api<CustomResourceDefinition> = Api::all(cx.host_client.clone());
    let source = Source::of(definitions).fields(&format!("metadata.name={}", general.rule.resource));
    let mut follower = Follower::new(source);
    loop {
        let Event::Apply(definition) = follower.next::<CustomResourceDefinition>().await else { continue };
        loop {
            match install(cx, general, &definition).await {
                Ok(Some(shape)) => {
                    if general.shape.set(shape).is_ok() {
                        found();
                    }
                    break;
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(resource = general.rule.resource, %error, "cannot copy a definition");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// Installs the host's definition, and waits until the kind is served. `None` if the host has no such version.
async fn install(cx: &Context, general: &General, host: &CustomResourceDefinition) -> Result<Option<Shape>> {
    let Some(version) = version(general, &host.spec) else {
        tracing::warn!(resource = general.rule.resource, "the host does not serve the version of a rule");
        return Ok(None);
    };
    let api: Api<CustomResourceDefinition> = Api::all(cx.virtual_client.clone());
    let name = host.name_any();
    let live = api.get_opt(&name).await.map_err(Error::Virtual)?;
    if live.is_none_or(|live| live.labels().contains_key(FROM_HOST)) {
        let wanted = copy(host, version);
        let params = PatchParams::apply(MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(&wanted)).await.map_err(Error::Virtual)?;
    }
    let established = kube::runtime::conditions::is_crd_established();
    kube::runtime::wait::await_condition(api, &name, established)
        .await
        .map_err(|_| Error::Waiting("a definition to be established"))?;
    Ok(Some(shape(&host.spec, version)))
}

/// The version that is synchronised: the rule's, else the table's, else the one that the host stores.
fn version<'a>(
    general: &General,
    spec: &'a CustomResourceDefinitionSpec,
) -> Option<&'a CustomResourceDefinitionVersion> {
    let named = |name: &str| spec.versions.iter().find(|version| version.served && version.name == name);
    if let Some(name) = &general.rule.version {
        return named(name);
    }
    let usual = general.rule.known.and_then(|known| named(known.version));
    usual.or_else(|| spec.versions.iter().find(|version| version.storage && version.served))
}

fn copy(
    host: &CustomResourceDefinition,
    version: &CustomResourceDefinitionVersion,
) -> CustomResourceDefinition {
    let annotations = host.metadata.annotations.iter().flatten();
    // Without it a group of Kubernetes' own is refused (KEP-1111).
    let approved = annotations.filter(|(key, _)| key.as_str() == "api-approved.kubernetes.io");
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: host.metadata.name.clone(),
            labels: Some([(FROM_HOST.to_owned(), "true".to_owned())].into()),
            annotations: Some(approved.map(|(key, value)| (key.clone(), value.clone())).collect()),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            conversion: None,
            versions: vec![CustomResourceDefinitionVersion { storage: true, ..version.clone() }],
            ..host.spec.clone()
        },
        status: None,
    }
}

fn shape(spec: &CustomResourceDefinitionSpec, version: &CustomResourceDefinitionVersion) -> Shape {
    let has_status = version.subresources.as_ref().is_some_and(|all| all.status.is_some());
    Shape {
        api: api_resource(&spec.group, &version.name, &spec.names.kind, &spec.names.plural),
        place: if spec.scope == "Cluster" { Place::Cluster } else { Place::Namespaced },
        has_status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_one_version_and_no_webhook() {
        let host: CustomResourceDefinition = serde_saphyr::from_str(
            r"
            metadata: {name: widgets.example.com, annotations: {note: x, api-approved.kubernetes.io: url}}
            spec:
              group: example.com
              scope: Namespaced
              names: {kind: Widget, plural: widgets}
              conversion: {strategy: Webhook}
              versions:
              - {name: v1, served: true, storage: false, subresources: {status: {}}}
              - {name: v2, served: true, storage: true}
            ",
        )
        .unwrap();
        let copied = copy(&host, &host.spec.versions[0]);
        assert_eq!(copied.spec.versions.len(), 1);
        assert!(copied.spec.versions[0].storage);
        assert_eq!(copied.spec.conversion, None);
        assert_eq!(copied.metadata.annotations.unwrap().len(), 1);
        let shape = shape(&host.spec, &host.spec.versions[0]);
        assert_eq!(shape.api.api_version, "example.com/v1");
        assert!(shape.has_status);
    }
}
