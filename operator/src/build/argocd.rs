//! The cluster Secret by which Argo CD knows the cluster ("Declarative setup: clusters" in Argo CD's operator manual).

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use serde_json::json;
use vkube_crds::annotations;

use super::identity::metadata;
use crate::names::Identity;
use crate::pki::{Authority, Pair};
use crate::settings::Argocd;

/// By this label Argo CD finds clusters.
const SECRET_TYPE: (&str, &str) = ("argocd.argoproj.io/secret-type", "cluster");

/// The cluster Secret. `rotation` remembers the last request to rotate that was served.
pub fn argocd_secret(
    identity: &Identity,
    wanted: &Argocd,
    server: &str,
    authority: &Authority,
    client: &Pair,
    rotation: Option<&str>,
) -> Secret {
    let base64 = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
    let config = json!({"tlsClientConfig": {
        "caData": base64(&authority.pair.certificate),
        "certData": base64(&client.certificate),
        "keyData": base64(&client.key),
    }});
    let asked = &wanted.asked;
    let mut data = BTreeMap::from([
        ("name", wanted.name.clone()),
        ("server", server.to_owned()),
        ("config", config.to_string()),
    ]);
    data.extend(asked.project.clone().map(|project| ("project", project)));
    if !asked.namespaces.is_empty() {
        data.insert("namespaces", asked.namespaces.join(","));
        data.insert("clusterResources", asked.cluster_resources.unwrap_or_default().to_string());
    }
    let mut labels = asked.labels.clone();
    labels.extend(identity.labels());
    labels.insert(SECRET_TYPE.0.into(), SECRET_TYPE.1.into());
    Secret {
        metadata: ObjectMeta {
            labels: Some(labels),
            annotations: rotation
                .map(|token| BTreeMap::from([(annotations::ROTATE.to_owned(), token.to_owned())])),
            ..metadata(identity, &wanted.namespace, &identity.export_name())
        },
        type_: Some("Opaque".into()),
        data: Some(
            data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect(),
        ),
        ..Secret::default()
    }
}
