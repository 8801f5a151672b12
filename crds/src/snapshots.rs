//! Snapshots of a cluster's objects, and starting from one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// Snapshots that are taken by schedule. They are files on the cluster's volume, hold every object with its Secrets but no
/// data of the tenant's volumes, and go with the volume. Not for clusters whose store is a database outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshots {
    /// When one is taken: a cron schedule, such as `0 3 * * *`. What a cluster sleeps through is made up for once.
    #[schemars(length(min = 1, max = 128))]
    pub schedule: String,
    /// Time zone of the schedule by its IANA name, such as `Europe/Berlin`. Default: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub timezone: Option<String>,
    /// How many of those taken by schedule are kept. Default: `7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub keep: Option<i32>,
}

/// A snapshot that the cluster is brought to: before it is ready for the first time, and again when this changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreFrom {
    /// The VirtualCluster, in the same namespace, that keeps the snapshot; it must be awake. Default: this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub cluster: Option<String>,
    /// Name of the snapshot.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9-]+$"))]
    pub snapshot: String,
}

/// The snapshots that are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotsStatus {
    /// The newest of those taken by schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SnapshotStatus>,
    /// How many of those are kept.
    #[serde(default)]
    pub kept: i32,
}

/// A snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// When it was complete.
    #[schemars(schema_with = "schemas::time")]
    pub taken: Option<Time>,
    /// Its size in bytes.
    #[serde(default)]
    pub size: i64,
}
