//! May this user do this? Authorizers are asked in order; the first that allows or denies decides.

pub mod configuration;
pub mod node;
#[cfg(test)]
mod tests;
pub mod webhook;

use crate::{options::Query, request_info::RequestInfo, status::ApiError, status::GroupResource, user::User};

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// By whom.
    pub user: &'a User,
    /// The verb.
    pub verb: &'a str,
    /// Whether it is about a resource, not a path.
    pub is_resource: bool,
    /// The API group.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The plural resource.
    pub resource: &'a str,
    /// The subresource.
    pub subresource: &'a str,
    /// The namespace; empty at cluster scope.
    pub namespace: &'a str,
    /// The object's name; empty for collections.
    pub name: &'a str,
    /// The path, for non-resources.
    pub path: &'a str,
    /// By which fields a collection is narrowed, as the request says it.
    pub field_selector: &'a str,
}

impl<'a> Attributes<'a> {
    /// Of a request.
    pub fn of(user: &'a User, info: &'a RequestInfo) -> Self {
        Self {
            user,
            verb: &info.verb,
            is_resource: info.is_resource,
            group: &info.group,
            version: &info.version,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            path: &info.path,
            field_selector: "",
        }
    }

    /// Whether only those of a collection are meant that have this value in a field.
    pub fn selects(&self, field: &str, value: &str) -> bool {
        let terms = self.field_selector.split(',').filter_map(|term| term.trim().strip_prefix(field));
        terms
            .filter_map(|rest| rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')))
            .any(|of| of == value)
    }

    /// Of a path that is no resource.
    pub fn path(user: &'a User, verb: &'a str, path: &'a str) -> Self {
        let (group, version, resource, subresource) = ("", "", "", "");
        let (namespace, name, field_selector) = ("", "", "");
        let is_resource = false;
        Self {
            user,
            verb,
            is_resource,
            group,
            version,
            resource,
            subresource,
            namespace,
            name,
            path,
            field_selector,
        }
    }

    /// The error of a request that nobody allowed.
    pub fn forbidden(&self, reason: &str) -> ApiError {
        if !self.is_resource {
            let mut error = ApiError::new(
                http::StatusCode::FORBIDDEN,
                "Forbidden",
                format!(
                    "forbidden: User {:?} cannot {} path {:?}{}",
                    self.user.name,
                    self.verb,
                    self.path,
                    because(reason)
                ),
            );
            error.details = Some(Box::default());
            return error;
        }
        let resource = if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        };
        let scope = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", self.namespace)
        };
        let why = format!(
            "User {:?} cannot {} resource {resource:?} in API group {:?} {scope}{}",
            self.user.name,
            self.verb,
            self.group,
            because(reason)
        );
        ApiError::forbidden(GroupResource { group: self.group, resource: self.resource }, self.name, &why)
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// The one object that a request for a collection is about, by a field selector for its name; so may a
/// role that is about single objects allow to list or watch them.
pub fn selected_name(info: &RequestInfo, query: &Query) -> String {
    if !info.name.is_empty() {
        return info.name.clone();
    }
    let selector = field_selector(info, query);
    let terms = selector.split(',').filter_map(|term| term.trim().strip_prefix("metadata.name="));
    terms.map(|name| name.trim_start_matches('=')).next().unwrap_or_default().to_owned()
}

/// By which fields a request narrows a collection.
pub fn field_selector<'a>(info: &RequestInfo, query: &'a Query) -> &'a str {
    let is_collection = matches!(info.verb.as_str(), "list" | "watch" | "deletecollection");
    if is_collection { query.get("fieldSelector") } else { "" }
}

/// An authorizer's answer, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow(String),
    /// No, whatever the others say.
    Deny(String),
    /// Not mine to say.
    NoOpinion(String),
    /// Nobody knows: who would have to be asked does not answer. Others may still allow it.
    Failed(String),
}

/// Decides who may do what, from memory; only webhooks are waited for.
pub trait Authorizer: Send + Sync + 'static {
    /// Its name as `--authorization-mode` knows it.
    fn mode(&self) -> &'static str;

    /// The decision.
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;

    /// The server that is to be asked instead.
    fn webhook(&self) -> Option<&webhook::Webhook> {
        None
    }
}

impl Authorizer for webhook::Webhook {
    fn mode(&self) -> &'static str {
        "Webhook"
    }

    /// Who cannot wait gets no answer.
    fn authorize(&self, _attributes: &Attributes<'_>) -> Decision {
        Decision::NoOpinion(String::new())
    }

    fn webhook(&self) -> Option<&webhook::Webhook> {
        Some(self)
    }
}

/// Allows everything (`--authorization-mode=AlwaysAllow`).
#[derive(Debug)]
pub struct AlwaysAllow;

impl Authorizer for AlwaysAllow {
    fn mode(&self) -> &'static str {
        "AlwaysAllow"
    }

    fn authorize(&self, _attributes: &Attributes<'_>) -> Decision {
        Decision::Allow(String::new())
    }
}

/// Denies everything (`--authorization-mode=AlwaysDeny`).
#[derive(Debug)]
pub struct AlwaysDeny;

impl Authorizer for AlwaysDeny {
    fn mode(&self) -> &'static str {
        "AlwaysDeny"
    }

    fn authorize(&self, _attributes: &Attributes<'_>) -> Decision {
        Decision::NoOpinion("Everything is forbidden.".into())
    }
}

/// Asks the authorizers in order. Members of `system:masters` may do everything.
pub async fn decide(authorizers: &[Box<dyn Authorizer>], attributes: &Attributes<'_>) -> Decision {
    let mut verdict = Verdict::default();
    if attributes.user.in_group(crate::user::MASTERS) {
        return Decision::Allow(String::new());
    }
    for authorizer in authorizers {
        let decision = match authorizer.webhook() {
            Some(webhook) => webhook.authorize(attributes).await,
            None => authorizer.authorize(attributes),
        };
        if let Some(decided) = verdict.add(decision) {
            return decided;
        }
    }
    verdict.end()
}

/// The same for those who cannot wait, without the authorizers that would have to be waited for.
pub fn decide_at_once(authorizers: &[Box<dyn Authorizer>], attributes: &Attributes<'_>) -> Decision {
    if attributes.user.in_group(crate::user::MASTERS) {
        return Decision::Allow(String::new());
    }
    let mut verdict = Verdict::default();
    let mut decisions = authorizers.iter().map(|authorizer| authorizer.authorize(attributes));
    decisions.find_map(|decision| verdict.add(decision)).unwrap_or_else(|| verdict.end())
}

/// What those who did not decide have said.
#[derive(Default)]
struct Verdict {
    reasons: Vec<String>,
    failures: Vec<String>,
}

impl Verdict {
    /// Takes a decision, and returns it if it is one.
    fn add(&mut self, decision: Decision) -> Option<Decision> {
        match decision {
            Decision::NoOpinion(reason) if reason.is_empty() => None,
            Decision::NoOpinion(reason) => {
                self.reasons.push(reason);
                None
            }
            Decision::Failed(why) => {
                self.failures.push(why);
                None
            }
            decided @ (Decision::Allow(_) | Decision::Deny(_)) => Some(decided),
        }
    }

    fn end(mut self) -> Decision {
        match self.failures.len() {
            0 => Decision::NoOpinion(self.reasons.join("\n")),
            1 => Decision::Failed(self.failures.remove(0)),
            _ => Decision::Failed(format!("[{}]", self.failures.join(", "))),
        }
    }
}
