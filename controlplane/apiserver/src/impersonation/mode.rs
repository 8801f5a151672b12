//! The ways of acting as another user, and what each asks for.

use crate::{
    authorization::{self, Attributes, Decision},
    server::Server,
    status::ApiError,
    user::{ANONYMOUS, AUTHENTICATED, MASTERS, UNAUTHENTICATED, User},
    validation::{formats, names},
};

/// From so many rights on, the right to all of them is asked for first.
const MANY: usize = 4;

/// What a service account's token says of the node of its pod.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// A way of acting as another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A service account as the node that it runs on.
    AssociatedNode,
    /// Anybody as a node.
    ArbitraryNode,
    /// As a service account.
    ServiceAccount,
    /// As somebody who is neither.
    UserInfo,
    /// As anybody, whatever is done.
    Legacy,
}

impl Mode {
    /// In the order in which they are tried.
    pub const ALL: [Self; 5] =
        [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo, Self::Legacy];

    const fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Legacy => "",
        }
    }

    /// The verb of the right to be the user.
    const fn verb(self) -> &'static str {
        match self {
            Self::AssociatedNode => "impersonate:associated-node",
            Self::ArbitraryNode => "impersonate:arbitrary-node",
            Self::ServiceAccount => "impersonate:serviceaccount",
            Self::UserInfo => "impersonate:user-info",
            Self::Legacy => "impersonate",
        }
    }

    /// The same, as the audit log tells it.
    pub fn constraint(self) -> Option<&'static str> {
        self.is_constrained().then(|| self.verb())
    }

    fn is_constrained(self) -> bool {
        self != Self::Legacy
    }

    /// Whether somebody may be meant to act as somebody else in this way.
    pub fn applies(self, wanted: &User, requestor: &User) -> bool {
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (node(&wanted.name), service_account(&wanted.name));
        match self {
            Self::AssociatedNode => {
                let own = requestor.extra.get(NODE_NAME).map(Vec::as_slice);
                only_name
                    && service_account(&requestor.name).is_some()
                    && matches!((own, node), (Some([own]), Some(node)) if own == node)
            }
            Self::ArbitraryNode => only_name && node.is_some(),
            Self::ServiceAccount => only_name && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Legacy => true,
        }
    }

    /// The user that is acted as, if the one of the request may.
    pub async fn check(
        self,
        server: &Server,
        wanted: &User,
        attributes: &Attributes<'_>,
    ) -> Result<User, ApiError> {
        let mut requestor = attributes.user.clone();
        if self == Self::AssociatedNode {
            // The association is checked; which node it is must make no difference to authorizers.
            let keys = requestor.extra.keys().cloned().collect();
            requestor.extra = [("authentication.kubernetes.io/associated-node-keys".into(), keys)].into();
        }
        let asking = Asking { mode: self, server, requestor: &requestor };
        if self.is_constrained() {
            let verb = format!("impersonate-on:{}:{}", self.name(), attributes.verb);
            asking.ask(&Attributes { user: &requestor, verb: &verb, ..*attributes }).await?;
        }
        let mut acting = wanted.clone();
        asking.name(&mut acting).await?;
        if !wanted.uid.is_empty() {
            asking.right("uids", "", &wanted.uid).await?;
        }
        asking.groups(&wanted.groups).await?;
        asking.extra(wanted).await?;
        if acting.name == ANONYMOUS {
            if !acting.in_group(UNAUTHENTICATED) {
                acting.groups.push(UNAUTHENTICATED.into());
            }
        } else if !acting.in_group(UNAUTHENTICATED) && !acting.in_group(AUTHENTICATED) {
            acting.groups.push(AUTHENTICATED.into());
        }
        Ok(acting)
    }
}

/// Somebody who asks to act as somebody else.
struct Asking<'a> {
    mode: Mode,
    server: &'a Server,
    requestor: &'a User,
}

impl Asking<'_> {
    async fn name(&self, acting: &mut User) -> Result<(), ApiError> {
        let name = acting.name.clone();
        let mut right = self.attributes("users", &name);
        if self.mode.is_constrained()
            && let Some(node) = node(&name)
        {
            (right.resource, right.name) = ("nodes", node);
            acting.groups = vec![authorization::node::GROUP.into()];
        }
        if self.mode == Mode::AssociatedNode {
            right.name = "*";
        }
        if let Some((namespace, account)) = service_account(&name) {
            (right.resource, right.namespace, right.name) = ("serviceaccounts", namespace, account);
            if acting.groups.is_empty() {
                acting.groups =
                    vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
            }
        }
        self.ask(&right).await
    }

    async fn groups(&self, groups: &[String]) -> Result<(), ApiError> {
        if self.mode.is_constrained() {
            let refuse = |name, why| Err(self.attributes("groups", name).forbidden(why));
            if groups.iter().any(String::is_empty) {
                return refuse("", "impersonating the empty string group is not allowed");
            }
            if groups.iter().any(|group| group == MASTERS) {
                return refuse(MASTERS, "impersonating the system:masters group is not allowed");
            }
            if groups.len() >= MANY && self.ask(&self.attributes("groups", "*")).await.is_ok() {
                return Ok(());
            }
        }
        for group in groups {
            self.ask(&self.attributes("groups", group)).await?;
        }
        Ok(())
    }

    async fn extra(&self, wanted: &User) -> Result<(), ApiError> {
        if self.mode.is_constrained() {
            if let Some(why) = wanted.extra.iter().find_map(|(key, values)| wrong_extra(key, values)) {
                return Err(self.attributes_of("userextras", "", "").forbidden(&why));
            }
            let several =
                wanted.extra.len() >= MANY || wanted.extra.values().map(Vec::len).sum::<usize>() >= MANY;
            if several && self.right("userextras", "*", "*").await.is_ok() {
                return Ok(());
            }
        }
        for (key, values) in &wanted.extra {
            for value in values {
                self.right("userextras", key, value).await?;
            }
        }
        Ok(())
    }

    async fn right(&self, resource: &str, subresource: &str, name: &str) -> Result<(), ApiError> {
        self.ask(&self.attributes_of(resource, subresource, name)).await
    }

    /// The right to be a user or in a group.
    fn attributes<'b>(&'b self, resource: &'b str, name: &'b str) -> Attributes<'b> {
        let group = if self.mode.is_constrained() { "authentication.k8s.io" } else { "" };
        Attributes { group, ..self.attributes_of(resource, "", name) }
    }

    /// The right to have a uid or an extra.
    fn attributes_of<'b>(&'b self, resource: &'b str, subresource: &'b str, name: &'b str) -> Attributes<'b> {
        Attributes {
            user: self.requestor,
            verb: self.mode.verb(),
            is_resource: true,
            group: "authentication.k8s.io",
            version: "v1",
            resource,
            subresource,
            namespace: "",
            name,
            path: "",
            field_selector: "",
        }
    }

    async fn ask(&self, attributes: &Attributes<'_>) -> Result<(), ApiError> {
        match authorization::decide(&self.server.parts.authorizers, attributes).await {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) | Decision::Failed(why) => {
                Err(attributes.forbidden(&why))
            }
        }
    }
}

fn wrong_extra(key: &str, values: &[String]) -> Option<String> {
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".into());
    }
    if let Some((part, why)) = formats::domain_prefixed_path(key).into_iter().next() {
        return Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {part:?}: {why}"
        ));
    }
    if key.chars().any(char::is_uppercase) {
        return Some(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"));
    }
    if values.is_empty() {
        return Some("impersonating empty values in extra is not allowed".into());
    }
    let empty = values.iter().any(String::is_empty);
    empty.then(|| "impersonating the empty string value in extra is not allowed".into())
}

/// The name of a node, if it is the user of one.
fn node(user: &str) -> Option<&str> {
    user.strip_prefix(authorization::node::PREFIX).filter(|name| names::dns1123_subdomain(name).is_empty())
}

/// Namespace and name of a service account, if it is the user of one.
fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':').filter(|(namespace, name)| {
        names::dns1123_label(namespace).is_empty() && names::dns1123_subdomain(name).is_empty()
    })
}
