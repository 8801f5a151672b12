//! What a virtual cluster shares with its host.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// The resource whose objects are mapped instead of copied.
pub const NAMESPACES: &str = "namespaces";

/// What a virtual cluster shares with its host, besides what pods need. Resources are named `plural.group`, as
/// `certificates.cert-manager.io`; those of the core group by their plural alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// Resources of the virtual cluster that are made on the host. The host serves them; what the control plane may
    /// write there is up to roles labelled `vkube.dev/aggregate-to-sync`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub to_host: BTreeMap<String, ToHost>,
    /// Resources of the host that are shown, read-only, in the virtual cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub from_host: BTreeMap<String, SyncRule>,
    /// What the virtual cluster sees of the host's nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Nodes>,
}

impl Sync {
    /// Whether the objects of any resource are copied by rule.
    pub fn has_rules(&self) -> bool {
        let to_host = self.to_host.iter().filter(|(resource, _)| *resource != NAMESPACES);
        let mut rules = to_host.map(|(_, to_host)| &to_host.rule).chain(self.from_host.values());
        rules.any(|rule| rule.enabled != Some(false))
    }

    /// How virtual namespaces get namespaces of their own on the host, if any do.
    pub fn namespaces(&self) -> Option<&ToHost> {
        self.to_host.get(NAMESPACES).filter(|namespaces| namespaces.rule.enabled != Some(false))
    }
}

/// A resource of the virtual cluster on its way to the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToHost {
    /// What both ways have in common.
    #[serde(flatten)]
    pub rule: SyncRule,
    /// For `configmaps` and `secrets`: all of them, and not only those that a synchronised object refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// For `namespaces`: whether those without a mapping stay off the host, instead of sharing the cluster's own.
    /// Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mappings_only: Option<bool>,
    /// For `namespaces`: further labels of those on the host; those of Kubernetes and vkube cannot be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub extra_labels: BTreeMap<String, String>,
}

/// How a resource is synchronised, whichever way it goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncRule {
    /// Whether it is synchronised. Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Version of a custom resource. Default: the one that the host stores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub version: Option<String>,
    /// Which objects, by their labels. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub selector: Option<LabelSelector>,
    /// What appears where, as `namespace/name`: of the host's namespaced resources, there and in the virtual cluster, `*`
    /// as the name standing for all objects; of `services` on their way to the host, here and there. No namespace on the
    /// host, as in `/name`, stands for the cluster's own. Of `namespaces` on their way to the host: a virtual one and the
    /// one that it has on the host for itself, or patterns of both with one `*` each, `${name}` standing there for the
    /// cluster's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::mappings")]
    pub mappings: BTreeMap<String, String>,
    /// Changes to an object before it is written, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub patches: Vec<SyncPatch>,
}

/// A change to an object before it is written. It has either an expression or a reference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncPatch {
    /// Where, as `spec.rules[*].host` or `metadata.annotations['example.com/key']`.
    #[schemars(length(min = 1, max = 512))]
    pub path: String,
    /// A CEL expression for the value at the path; `null` removes it. It may speak of `value` (what is there), `object`
    /// (what is about to be written) and `source` (the object on the side that it comes from).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
    /// The kind of object that is named at the path, as `Secret`. Its name is translated, and ConfigMaps and Secrets are
    /// synchronised for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub reference: Option<String>,
}

/// What a virtual cluster sees of the host's nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    /// Which nodes, and how much of them. Default: `Used`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<NodeMode>,
    /// Which nodes, by their labels, for the mode `Selected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::label_selector")]
    pub selector: Option<LabelSelector>,
    /// A scheduler of the virtual cluster's own, which chooses a node for each pod before the host gets it; what the
    /// host's taints and other tenants' pods do not allow there waits. It needs the mode `Selected` or `All`, since it
    /// can only choose nodes that it sees. Default: the host's scheduler chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
}

/// The scheduler of a virtual cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduler {
    /// Its profiles, in the form of those of `KubeSchedulerConfiguration`. Default: `default-scheduler`, with all
    /// plugins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::scheduler_profiles")]
    pub profiles: Vec<serde_json::Value>,
}

/// Which nodes a virtual cluster sees, and how much of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeMode {
    /// None. Pods say where they run, but there is no such object.
    None,
    /// Made-up nodes in place of those that run the cluster's pods; they tell nothing of the host.
    Virtual,
    /// Copies of the nodes that run the cluster's pods, without what identifies the machine.
    #[default]
    Used,
    /// Besides, the nodes that the selector chooses.
    Selected,
    /// All nodes of the host.
    All,
}
