//! How long a cluster lives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// When a cluster is deleted by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteAfter {
    /// So long after its creation, such as `72h`. A cluster with `deletionProtection` stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::duration")]
    pub since_creation: Option<String>,
}
