//! Secrets: the certificates of the control plane, and kubeconfigs.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use serde_json::json;
use vkube_crds::annotations;

use super::identity::{metadata, owner};
use crate::cluster_api::CLUSTER_NAME;
use crate::names::Identity;
use crate::pki::{Authority, Pair};

/// Key of the kubeconfig that `status.kubeconfig.secretRef` names.
pub const KUBECONFIG_KEY: &str = "value";
/// User name of the administrator inside the virtual cluster.
pub const ADMIN: &str = "kubernetes-admin";

/// The certificates of the control plane. `rotations` remembers which requests to rotate have been served.
pub fn pki_secret(
    identity: &Identity,
    authority: &Authority,
    serving: &Pair,
    rotations: BTreeMap<String, String>,
) -> Secret {
    let texts = [
        ("ca.crt", &authority.pair.certificate),
        ("ca.key", &authority.pair.key),
        ("tls.crt", &serving.certificate),
        ("tls.key", &serving.key),
    ];
    Secret {
        metadata: ObjectMeta {
            annotations: Some(rotations).filter(|map| !map.is_empty()),
            ..metadata(identity, &identity.host_namespace, &identity.pki_secret())
        },
        type_: Some("Opaque".into()),
        data: Some(data(texts)),
        ..Secret::default()
    }
}

/// What is said of a kubeconfig besides certificates.
#[derive(Clone, Copy, Debug)]
pub struct Kubeconfig<'a> {
    /// Name of its Secret.
    pub name: &'a str,
    /// URL of the API server.
    pub server: &'a str,
    /// User inside the cluster.
    pub user: &'a str,
    /// The request to rotate that was served last.
    pub rotation: Option<&'a str>,
    /// Whether its Secret is as Cluster API wants it.
    pub cluster_api: bool,
}

/// A kubeconfig beside the VirtualCluster, whole and in parts, under the keys that tools look for: `value` (Cluster API,
/// Flux), `config`, `kubeconfig`.
pub fn kubeconfig_secret(
    identity: &Identity,
    wanted: &Kubeconfig<'_>,
    authority: &Authority,
    client: &Pair,
) -> Secret {
    let &Kubeconfig { name, server, user, rotation, cluster_api } = wanted;
    let config = kubeconfig(identity, server, user, authority, client);
    let texts = [
        (KUBECONFIG_KEY, &config),
        ("config", &config),
        ("kubeconfig", &config),
        ("certificate-authority", &authority.pair.certificate),
        ("client-certificate", &client.certificate),
        ("client-key", &client.key),
        ("server", &server.to_owned()),
    ];
    let mut labels = identity.labels();
    if cluster_api {
        labels.insert(CLUSTER_NAME.into(), identity.name.clone());
    }
    Secret {
        metadata: ObjectMeta {
            labels: Some(labels),
            owner_references: Some(vec![owner(identity)]),
            annotations: rotation
                .map(|token| BTreeMap::from([(annotations::ROTATE.to_owned(), token.to_owned())])),
            ..metadata(identity, &identity.namespace, name)
        },
        type_: Some(kubeconfig_type(cluster_api).into()),
        data: Some(data(texts)),
        ..Secret::default()
    }
}

/// The type of a kubeconfig's Secret, which is immutable.
pub fn kubeconfig_type(cluster_api: bool) -> &'static str {
    if cluster_api { "cluster.x-k8s.io/secret" } else { "Opaque" }
}

fn kubeconfig(identity: &Identity, server: &str, user: &str, authority: &Authority, client: &Pair) -> String {
    let base64 = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
    let cluster = &identity.name;
    let context = format!("{user}@{cluster}");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": cluster,
            "cluster": {"server": server, "certificate-authority-data": base64(&authority.pair.certificate)},
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": base64(&client.certificate),
                "client-key-data": base64(&client.key),
            },
        }],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
    });
    // JSON is YAML too, should the encoder ever refuse plain strings and maps.
    serde_saphyr::to_string(&config).unwrap_or_else(|_| config.to_string())
}

/// Texts, as a Secret holds them.
pub(super) fn data<const N: usize>(texts: [(&str, &String); N]) -> BTreeMap<String, ByteString> {
    texts.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes()))).collect()
}
