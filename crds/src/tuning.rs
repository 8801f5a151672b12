//! How a control plane is run, beyond its image, size and place: what it is told, how it is probed, who measures it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// Whether something is done that needs a part which the host may lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Switch {
    /// Where the host has that part.
    #[default]
    Auto,
    /// Yes; a condition says so where the host lacks it.
    Enabled,
    /// No.
    Disabled,
}

/// How Prometheus finds the control plane's metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceMonitor {
    /// Whether there is a ServiceMonitor in the host namespace, with a client certificate that may read metrics and nothing
    /// else. `Auto`: if the host has the Prometheus operator. Default: `Auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<Switch>,
    /// Labels of the ServiceMonitor, by which a Prometheus chooses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::string_map")]
    pub labels: BTreeMap<String, String>,
    /// How often metrics are read. Default: as that Prometheus has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::duration")]
    pub interval: Option<String>,
}

/// How the kubelet asks the control plane whether it is well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// Until it has started. Default: every second, 120 times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// Whether it is to be started anew. Default: every 20 seconds, 3 times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// Whether it is sent requests. Default: every 10 seconds, 3 times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
}

/// The times of a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Seconds from one question to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub period_seconds: Option<i32>,
    /// Seconds that an answer may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,
    /// Failures in a row that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: Option<i32>,
}

/// Admission plugins of the virtual API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionPlugins {
    /// Plugins that run besides the default ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub enable: Vec<String>,
    /// Default plugins that do not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::string_set")]
    pub disable: Vec<String>,
}

/// A key of a Secret in the namespace of the VirtualCluster that holds a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Key that holds the file.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}
