//! How long a cluster lives, and when it sleeps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// When a cluster is deleted by itself: by whichever time comes first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteAfter {
    /// So long after its creation, such as `72h`. A cluster with `deletionProtection` stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::duration")]
    pub since_creation: Option<String>,
    /// So long after the last request of a person or tool from outside the cluster, such as `168h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::duration")]
    pub since_last_activity: Option<String>,
}

/// When a cluster sleeps by itself: control plane and pods go, the data stays, and `replicas` is as it was.
///
/// The annotation `vkube.dev/wake` with a time wakes it from then on, until the next time to sleep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SleepRule {
    /// Sleep so long after the last request of a person or tool from outside the cluster, such as `2h`; at least `1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::duration")]
    pub after: Option<String>,
    /// Sleep at these times: a cron schedule, such as `0 20 * * 1-5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub schedule: Option<String>,
    /// Wake at these times: a cron schedule, such as `0 7 * * 1-5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub wake_schedule: Option<String>,
    /// Time zone of the schedules by its IANA name, such as `Europe/Berlin`. Default: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub timezone: Option<String>,
    /// Wake when somebody connects to the API server: the operator takes the connection, wakes the cluster and passes the
    /// connection on once it answers. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_on_connect: Option<bool>,
}

/// Writes that are refused to all but the cluster's own controllers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WritePermissions {
    /// Nothing is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_create: Option<bool>,
    /// Nothing is updated or patched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_update: Option<bool>,
    /// Nothing is deleted or evicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_delete: Option<bool>,
}
