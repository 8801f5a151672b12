//! Who may do what inside a cluster, as its owner outside says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A ClusterRole inside the cluster, and who has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Name of a ClusterRole inside the cluster, such as `cluster-admin` or `view`.
    #[schemars(length(min = 1, max = 128))]
    pub cluster_role: String,
    /// Who has it, in every namespace of the cluster.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub subjects: Vec<AccessSubject>,
}

/// A user, group or service account inside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessSubject {
    /// What it is.
    pub kind: SubjectKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace, for a service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What a subject is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// A user.
    #[default]
    User,
    /// A group of users.
    Group,
    /// A service account.
    ServiceAccount,
}

impl SubjectKind {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::ServiceAccount => "ServiceAccount",
        }
    }
}
