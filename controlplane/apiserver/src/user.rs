//! Who a request comes from.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// An authenticated user (`authentication.k8s.io/v1 UserInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The uid; often empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of everyone who authenticated.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everyone who did not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The extra that tells one credential of a user from another.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// The user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The operator of the host, where it asks a virtual cluster for something.
pub const OPERATOR: &str = "system:vkube-operator";

impl User {
    /// Whether this is a person or tool from outside: neither nobody, nor a node, nor what runs in the cluster or
    /// looks after it.
    pub fn is_from_outside(&self) -> bool {
        let inside = ["system:serviceaccount:", "system:node:", OPERATOR];
        self.name != ANONYMOUS && !inside.iter().any(|prefix| self.name.starts_with(prefix))
    }

    /// A user with these groups, and `system:authenticated`.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let groups = groups.iter().copied().chain([AUTHENTICATED]).map(Into::into).collect();
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// A component of the control plane itself, in `system:masters`.
    pub fn component(name: &str) -> Self {
        Self::new(name, &[MASTERS])
    }

    /// Whoever does not authenticate.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..Self::default() }
    }

    /// In the group of everyone who authenticated, unless it already says of itself whether it did.
    pub fn authenticated(mut self) -> Self {
        if self.name != ANONYMOUS && !self.in_group(AUTHENTICATED) && !self.in_group(UNAUTHENTICATED) {
            self.groups.push(AUTHENTICATED.into());
        }
        self
    }

    /// As `UserInfo`, without what is empty.
    pub fn to_value(&self) -> Value {
        let mut info = json!({"username": self.name});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.groups.is_empty() {
            info["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }

    /// Whether it is in a group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The user of a service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            uid: uid.into(),
            ..Self::new(
                format!("system:serviceaccount:{namespace}:{name}"),
                &["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")],
            )
        }
    }
}
