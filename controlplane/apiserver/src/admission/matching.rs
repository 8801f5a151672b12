//! Which requests a policy or webhook is about
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules>).

use serde_json::Value;

use super::{Attributes, Operation};
use crate::{
    metadata,
    registry::access::{at, has, list_at, str_at, strs_at},
    resource::Definition,
    selectors::labels::LabelSelector,
    status::ApiError,
};

const ALL: &str = "*";

/// Rules and selectors that a request must match.
#[derive(Debug)]
pub struct Matching {
    rules: Box<[Rule]>,
    excluded: Box<[Rule]>,
    /// Whether a rule about another version of a resource is about this one, too.
    equivalent: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
    /// Whether everything matches where there are no rules.
    open: bool,
}

#[derive(Debug)]
struct Rule {
    operations: Names,
    groups: Names,
    versions: Names,
    /// With their subresources.
    resources: Box<[(Box<str>, Box<str>)]>,
    scope: Scope,
    /// The names of objects; none means any.
    names: Box<[Box<str>]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Any,
    Cluster,
    Namespaced,
}

/// Names, or any.
#[derive(Debug)]
struct Names(Box<[Box<str>]>);

impl Names {
    fn read(rule: &Value, path: &str) -> Self {
        Self(strs_at(rule, path).map(Into::into).collect())
    }

    fn have(&self, name: &str) -> bool {
        self.0.iter().any(|known| **known == *ALL || **known == *name)
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        let resources = strs_at(rule, "/resources").map(|resource| {
            let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
            (resource.into(), part.into())
        });
        Self {
            operations: Names::read(rule, "/operations"),
            groups: Names::read(rule, "/apiGroups"),
            versions: Names::read(rule, "/apiVersions"),
            resources: resources.collect(),
            scope: match str_at(rule, "/scope") {
                "Cluster" => Scope::Cluster,
                "Namespaced" => Scope::Namespaced,
                _ => Scope::Any,
            },
            names: strs_at(rule, "/resourceNames").map(Into::into).collect(),
        }
    }

    fn matches(&self, attributes: &Attributes<'_>, object: &Value, resource: &Definition) -> bool {
        // A namespace is at cluster scope, whatever namespace its request is in.
        let cluster = attributes.namespace.is_empty() || attributes.definition.is("", "namespaces");
        let within = match self.scope {
            Scope::Any => true,
            Scope::Cluster => cluster,
            Scope::Namespaced => !cluster,
        };
        within
            && self.resources.iter().any(|(name, part)| {
                (**name == *ALL || **name == *resource.plural())
                    && (**part == *ALL || **part == *attributes.subresource)
            })
            && self.operations.have(attributes.operation.as_str())
            && self.groups.have(resource.group())
            && self.versions.have(resource.version())
            && (self.names.is_empty() || self.names.iter().any(|n| **n == *attributes.object_name(object)))
    }
}

fn rules(owner: &Value, path: &str) -> Box<[Rule]> {
    list_at(owner, path).iter().map(Rule::read).collect()
}

impl Matching {
    /// Of `MatchResources`: what policies and bindings have.
    pub fn of_policy(resources: &Value) -> Self {
        Self {
            rules: rules(resources, "/resourceRules"),
            excluded: rules(resources, "/excludeResourceRules"),
            open: true,
            ..Self::selectors(resources)
        }
    }

    /// Of a webhook.
    pub fn of_webhook(webhook: &Value) -> Self {
        Self { rules: rules(webhook, "/rules"), ..Self::selectors(webhook) }
    }

    fn selectors(owner: &Value) -> Self {
        Self {
            rules: Box::default(),
            excluded: Box::default(),
            equivalent: has(owner, "/matchPolicy") && str_at(owner, "/matchPolicy") != "Exact",
            namespaces: LabelSelector::from_spec(at(owner, "/namespaceSelector")),
            objects: LabelSelector::from_spec(at(owner, "/objectSelector")),
            open: false,
        }
    }

    /// The version of the resource by which the rules match a request; `None` if they do not.
    pub fn resource(&self, attributes: &Attributes<'_>, object: &Value) -> Option<Definition> {
        if self.find(&self.excluded, attributes, object).is_some() {
            return None;
        }
        if self.open && self.rules.is_empty() {
            return Some(attributes.definition.clone());
        }
        self.find(&self.rules, attributes, object)
    }

    fn find(&self, rules: &[Rule], attributes: &Attributes<'_>, object: &Value) -> Option<Definition> {
        if rules.iter().any(|rule| rule.matches(attributes, object, attributes.definition)) {
            return Some(attributes.definition.clone());
        }
        if rules.is_empty() || !self.equivalent {
            return None;
        }
        let others = attributes.equivalents();
        rules.iter().find_map(|rule| others.iter().find(|o| rule.matches(attributes, object, o)).cloned())
    }

    /// Whether the selectors choose the object and its namespace.
    pub async fn selects(&self, attributes: &Attributes<'_>, object: &Value) -> Result<bool, ApiError> {
        let of = |object: &Value| !object.is_null() && self.objects.matches_object(object);
        if !self.objects.is_empty() && !of(object) && !attributes.old.is_some_and(of) {
            return Ok(false);
        }
        if self.namespaces.is_empty() {
            return Ok(true);
        }
        let about_namespaces = attributes.definition.is("", "namespaces");
        let written = matches!(attributes.operation, Operation::Create | Operation::Update);
        if about_namespaces && attributes.subresource.is_empty() && written {
            return Ok(self.namespaces.matches_object(object));
        }
        if attributes.namespace.is_empty() {
            return Ok(!about_namespaces || self.namespaces.matches_object(attributes.old.unwrap_or(object)));
        }
        Ok(self.namespaces.matches_object(attributes.namespace_object().await?))
    }
}

impl Attributes<'_> {
    /// The name of the object; empty while it is still to be generated.
    pub fn object_name<'o>(&'o self, object: &'o Value) -> &'o str {
        if self.name.is_empty() { metadata::name(object) } else { self.name }
    }
}
