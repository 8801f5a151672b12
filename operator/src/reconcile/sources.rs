//! Texts of the cluster's owner that the spec refers to, and which of what is not the operator's a cluster depends on.

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::DynamicObject;
use vkube_crds::{KeyRef, SourceKind, VirtualClusterSpec, claims_name};

use super::steps::Attempt;
use crate::apply::Host;
use crate::build::Key;
use crate::error::Error;
use crate::names::Identity;
use crate::references::Reference;

/// A text; the inner error says, for people, why there is none.
pub(super) async fn text(
    host: &Host,
    namespace: &str,
    kind: SourceKind,
    at: &KeyRef,
) -> Result<Result<String, String>, Error> {
    let key = match kind {
        SourceKind::Secret => Key::new::<Secret>(Some(namespace), &at.name),
        SourceKind::ConfigMap => Key::new::<ConfigMap>(Some(namespace), &at.name),
    };
    let Some(live) = host.get(&key).await? else {
        return Ok(Err(format!("{} {} does not exist", kind.as_str(), at.name)));
    };
    let found = match kind {
        SourceKind::Secret => bytes(&live, "data", &at.key).map(String::from_utf8),
        SourceKind::ConfigMap => {
            let text = live.data.get("data").and_then(|data| data.get(&at.key)?.as_str());
            let plain = text.map(|text| Ok(text.to_owned()));
            plain.or_else(|| bytes(&live, "binaryData", &at.key).map(String::from_utf8))
        }
    };
    Ok(match found {
        Some(Ok(text)) => Ok(text),
        Some(Err(_)) => Err(format!("{} {}, key {}, is not text", kind.as_str(), at.name, at.key)),
        None => Err(format!("{} {} has no key {}", kind.as_str(), at.name, at.key)),
    })
}

/// What a key of such a field of a Secret or ConfigMap holds.
pub(super) fn bytes(live: &DynamicObject, field: &str, key: &str) -> Option<Vec<u8>> {
    let encoded = live.data.get(field)?.get(key)?.clone();
    serde_json::from_value::<ByteString>(encoded).ok().map(|bytes| bytes.0)
}

/// Where the configurations of a spec are.
pub(super) fn configurations(spec: &VirtualClusterSpec, identity: &Identity) -> BTreeSet<Reference> {
    let places = spec.config_from.iter().filter_map(vkube_crds::ConfigSource::place);
    places.map(|(kind, at)| beside(identity, kind, &at.name)).collect()
}

/// Everything that wakes the cluster when it changes, besides what is the operator's.
pub(super) fn all(attempt: &Attempt<'_>) -> BTreeSet<Reference> {
    let Attempt { identity, settings, .. } = attempt;
    let mut wanted = configurations(&attempt.cluster.spec, identity);
    let manifests = settings.bootstrap.iter().flat_map(|bootstrap| &bootstrap.refs);
    wanted.extend(manifests.map(|one| beside(identity, one.kind, &one.place.name)));
    let files = settings.tuning.files().map(|(_, from)| &from.name);
    let database = settings.database.iter().map(|database| &database.secret);
    let secrets = database.chain(&settings.ca_secret).chain(files);
    wanted.extend(secrets.map(|name| beside(identity, SourceKind::Secret, name)));
    wanted.extend(settings.mapped.as_ref().map(|_| Reference {
        kind: SourceKind::ConfigMap,
        namespace: identity.host_namespace.clone(),
        name: claims_name(&identity.name),
    }));
    wanted
}

fn beside(identity: &Identity, kind: SourceKind, name: &str) -> Reference {
    Reference { kind, namespace: identity.namespace.clone(), name: name.to_owned() }
}
