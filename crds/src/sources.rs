//! Texts beside a VirtualCluster that it refers to: keys of Secrets and ConfigMaps of its namespace.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key of a Secret or ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the Secret or ConfigMap, in the namespace of the VirtualCluster.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A document of configuration: the key of a Secret, or that of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)")
    .message("configFrom: one of secretKeyRef and configMapKeyRef"))]
pub struct ConfigSource {
    /// It is in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// It is in a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
}

impl ConfigSource {
    /// Where it is; `None` if it does not say, which the CRD refuses.
    pub fn place(&self) -> Option<(SourceKind, &KeyRef)> {
        let secret = self.secret_key_ref.as_ref().map(|key| (SourceKind::Secret, key));
        secret.or_else(|| self.config_map_key_ref.as_ref().map(|key| (SourceKind::ConfigMap, key)))
    }
}

/// A text with manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestRef {
    /// What it is in.
    pub kind: SourceKind,
    /// Which one, and its key.
    #[serde(flatten)]
    pub place: KeyRef,
}

/// What holds a text.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum SourceKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    #[default]
    ConfigMap,
}

impl SourceKind {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}
