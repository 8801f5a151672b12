//! What others have to say before a cluster is ready.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A condition that somebody else sets in `status.conditions`, as with the readiness gates of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessGate {
    /// Type of the condition, with the domain of whoever sets it, such as `example.com/Seeded`.
    #[schemars(
        length(min = 3, max = 253),
        regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub condition_type: String,
}
