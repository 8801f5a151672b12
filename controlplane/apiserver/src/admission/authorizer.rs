//! The `authorizer` of expressions: may the user of a request, or a service account, do something else?
//! (<https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-authorizer-library>)

use std::sync::Arc;

use serde_json::Value as Json;

use super::Attributes;
use crate::{
    authorization::{self, Decision},
    cel::{Error, Value, value::Foreign},
    server::Server,
    user::User,
    validation::names,
};

/// Who is asked about.
#[derive(Clone, Debug)]
struct Subject {
    server: Server,
    user: Arc<User>,
}

/// `authorizer`; its field `requestResource` is the request's own resource.
#[derive(Debug)]
pub struct Authorizer {
    subject: Subject,
    request: Option<ResourceCheck>,
}

#[derive(Debug)]
struct PathCheck {
    subject: Subject,
    path: String,
}

#[derive(Debug)]
struct GroupCheck {
    subject: Subject,
    group: String,
}

#[derive(Clone, Debug)]
struct ResourceCheck {
    subject: Subject,
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    field_selector: String,
}

/// The answer.
#[derive(Debug)]
struct Verdict(Decision);

impl Authorizer {
    /// The authorizer of a request about an object.
    pub fn value(attributes: &Attributes<'_>, object: &Json) -> Value<'static> {
        let subject = Subject { server: attributes.server.clone(), user: Arc::new(attributes.user.clone()) };
        let request = ResourceCheck {
            subject: subject.clone(),
            group: attributes.definition.group().into(),
            resource: attributes.definition.plural().into(),
            subresource: attributes.subresource.into(),
            namespace: attributes.namespace.into(),
            name: attributes.object_name(object).into(),
            field_selector: String::new(),
        };
        foreign(Self { subject, request: Some(request) })
    }
}

fn foreign(value: impl Foreign + 'static) -> Value<'static> {
    Value::Foreign(Arc::new(value))
}

impl Foreign for Authorizer {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.Authorizer"
    }

    fn field(&self, name: &str) -> Option<Value<'static>> {
        let request = self.request.clone().filter(|_| name == "requestResource")?;
        Some(foreign(request))
    }

    fn call(&self, function: &str, arguments: &[Value<'_>]) -> Option<Result<Value<'static>, Error>> {
        let subject = self.subject.clone();
        Some(match (function, arguments) {
            ("path", [Value::Text(path)]) if path.trim().is_empty() => {
                Err(Error::other("path must not be empty"))
            }
            ("path", [Value::Text(path)]) => Ok(foreign(PathCheck { subject, path: path.to_string() })),
            ("group", [Value::Text(group)]) => Ok(foreign(GroupCheck { subject, group: group.to_string() })),
            ("serviceAccount", [Value::Text(namespace), Value::Text(name)]) => {
                if !names::dns1123_subdomain(name).is_empty() {
                    return Some(Err(Error::other("Invalid service account name")));
                }
                if !names::dns1123_label(namespace).is_empty() {
                    return Some(Err(Error::other("Invalid service account namespace")));
                }
                let user = Arc::new(User::service_account(namespace, name, ""));
                Ok(foreign(Self { subject: Subject { user, ..subject }, request: None }))
            }
            _ => return None,
        })
    }
}

impl Foreign for PathCheck {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.PathCheck"
    }

    fn call(&self, function: &str, arguments: &[Value<'_>]) -> Option<Result<Value<'static>, Error>> {
        let ("check", [Value::Text(verb)]) = (function, arguments) else { return None };
        let attributes = authorization::Attributes::path(&self.subject.user, verb, &self.path);
        Some(Ok(self.subject.decide(&attributes)))
    }
}

impl Foreign for GroupCheck {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.GroupCheck"
    }

    fn call(&self, function: &str, arguments: &[Value<'_>]) -> Option<Result<Value<'static>, Error>> {
        let ("resource", [Value::Text(resource)]) = (function, arguments) else { return None };
        if resource.trim().is_empty() {
            return Some(Err(Error::other("resource must not be empty")));
        }
        Some(Ok(foreign(ResourceCheck {
            subject: self.subject.clone(),
            group: self.group.clone(),
            resource: resource.to_string(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            field_selector: String::new(),
        })))
    }
}

impl Foreign for ResourceCheck {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.ResourceCheck"
    }

    fn call(&self, function: &str, arguments: &[Value<'_>]) -> Option<Result<Value<'static>, Error>> {
        let [Value::Text(text)] = arguments else { return None };
        let mut next = self.clone();
        match function {
            "subresource" => next.subresource = text.to_string(),
            "namespace" => next.namespace = text.to_string(),
            "name" => next.name = text.to_string(),
            "fieldSelector" => next.field_selector = text.to_string(),
            // No authorizer here looks at labels, so they neither allow nor deny anything.
            "labelSelector" => {}
            "check" => return Some(Ok(self.check(text))),
            _ => return None,
        }
        Some(Ok(foreign(next)))
    }
}

impl ResourceCheck {
    fn check(&self, verb: &str) -> Value<'static> {
        self.subject.decide(&authorization::Attributes {
            user: &self.subject.user,
            verb,
            is_resource: true,
            group: &self.group,
            version: ALL_VERSIONS,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            path: "",
            field_selector: &self.field_selector,
        })
    }
}

/// Rights do not depend on the version.
const ALL_VERSIONS: &str = "*";

impl Subject {
    fn decide(&self, attributes: &authorization::Attributes<'_>) -> Value<'static> {
        foreign(Verdict(authorization::decide_at_once(&self.server.parts.authorizers, attributes)))
    }
}

impl Foreign for Verdict {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.Decision"
    }

    fn call(&self, function: &str, arguments: &[Value<'_>]) -> Option<Result<Value<'static>, Error>> {
        if !arguments.is_empty() {
            return None;
        }
        let (Decision::Allow(reason)
        | Decision::Deny(reason)
        | Decision::NoOpinion(reason)
        | Decision::Failed(reason)) = &self.0;
        Some(Ok(match function {
            "allowed" => Value::Bool(matches!(self.0, Decision::Allow(_))),
            "reason" => Value::text(reason.clone()),
            // Authorizers answer from memory and cannot fail.
            "errored" => Value::Bool(false),
            "error" => Value::text(""),
            _ => return None,
        }))
    }
}
