//! A served resource, built in or custom, as the handlers see it.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    custom::CustomResource,
    registry::{Resource, Subresource, kind::Kind},
    schema::types::Type,
    status::{ApiError, GroupResource},
};

/// A resource at one version.
#[derive(Clone)]
pub enum Definition {
    /// Of the table.
    Builtin(&'static Resource),
    /// Of a CustomResourceDefinition.
    Custom(Arc<CustomResource>),
}

impl Definition {
    /// The API group; empty for core.
    pub fn group(&self) -> &str {
        match self {
            Self::Builtin(r) => r.group,
            Self::Custom(r) => &r.group,
        }
    }

    /// The version.
    pub fn version(&self) -> &str {
        match self {
            Self::Builtin(r) => r.version,
            Self::Custom(r) => &r.version,
        }
    }

    /// `group/version`, or just the version for core.
    pub fn api_version(&self) -> String {
        api_version(self.group(), self.version())
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        match self {
            Self::Builtin(r) => r.kind,
            Self::Custom(r) => &r.kind,
        }
    }

    /// The kind of its lists.
    pub fn list_kind(&self) -> String {
        match self {
            Self::Builtin(r) => format!("{}List", r.kind),
            Self::Custom(r) => r.list_kind.clone(),
        }
    }

    /// The Go type of its objects or lists in the real server, which some of its errors name.
    pub fn kind_in_go(&self, list: bool) -> String {
        match self {
            Self::Builtin(r) => {
                let package = match r.group {
                    "" | "events.k8s.io" => "core",
                    group => group.split('.').next().unwrap_or_default(),
                };
                format!("*{package}.{}{}", r.kind, if list { "List" } else { "" })
            }
            Self::Custom(_) if list => "*unstructured.UnstructuredList".into(),
            Self::Custom(_) => "*unstructured.Unstructured".into(),
        }
    }

    /// The resource's name in URLs.
    pub fn plural(&self) -> &str {
        match self {
            Self::Builtin(r) => r.plural,
            Self::Custom(r) => &r.plural,
        }
    }

    /// Whether its objects live in namespaces.
    pub fn namespaced(&self) -> bool {
        match self {
            Self::Builtin(r) => r.namespaced,
            Self::Custom(r) => r.namespaced,
        }
    }

    /// The group and plural, for messages.
    pub fn group_resource(&self) -> GroupResource<'_> {
        GroupResource { group: self.group(), resource: self.plural() }
    }

    /// The group and kind, for messages. Events of both groups are those of the core group inside.
    pub fn group_kind(&self) -> GroupResource<'_> {
        let group = if self.is("events.k8s.io", "events") { "" } else { self.group() };
        GroupResource { group, resource: self.kind() }
    }

    /// Whether this is the built-in resource of that name.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        matches!(self, Self::Builtin(r) if r.group == group && r.plural == plural)
    }

    /// Its verbs.
    pub fn allows(&self, verb: &str) -> bool {
        match self {
            Self::Builtin(r) => r.verbs.contains(&verb),
            Self::Custom(r) => verb != "create" || !r.terminating,
        }
    }

    /// A subresource that it has.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        match self {
            Self::Builtin(r) => r.subresources.iter().find(|s| s.name == name),
            Self::Custom(r) => r.subresources.iter().find(|s| s.name == name),
        }
    }

    /// Whether `status` is a subresource, so that it cannot be written through the object itself.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// The type of its objects.
    pub fn ty(&self) -> Result<Type<'_>, ApiError> {
        match self {
            Self::Builtin(r) => Type::builtin(r.type_name)
                .ok_or_else(|| ApiError::internal(format!("no schema of {}", r.type_name))),
            Self::Custom(r) => Ok(Type::Custom(r.schema.structure())),
        }
    }

    /// What is special to its kind.
    pub fn rules(&self) -> &dyn Kind {
        match self {
            Self::Builtin(r) => r.kind_rules,
            Self::Custom(r) => r.as_ref(),
        }
    }

    /// The selectable fields besides name and namespace.
    pub fn selectable_fields(&self) -> Vec<&str> {
        match self {
            Self::Builtin(r) => r.kind_rules.selectable_fields().to_vec(),
            Self::Custom(r) => r.selectable_fields.iter().map(|f| f.name.as_str()).collect(),
        }
    }

    /// The same resource at the version that is stored.
    pub fn stored(&self) -> Self {
        match self {
            Self::Builtin(Resource { stored_as: Some((group, version)), plural, .. }) => {
                Resource::find(group, version, plural).map_or_else(|| self.clone(), Self::Builtin)
            }
            Self::Custom(r) => Self::Custom(r.stored.as_ref().unwrap_or(r).clone()),
            Self::Builtin(_) => self.clone(),
        }
    }

    /// The same resource at the version that admission and validation see: custom objects are judged at
    /// the version of the request, built-in ones at the stored one.
    pub fn judged(&self) -> Self {
        match self {
            // New events are judged more strictly than those of the older form that they are stored in.
            Self::Builtin(r) if r.group == "events.k8s.io" => self.clone(),
            Self::Builtin(_) => self.stored(),
            Self::Custom(_) => self.clone(),
        }
    }

    /// Whether stored objects are not what this version shows: they are of another version, or from
    /// before the schema changed.
    pub fn is_converted(&self) -> bool {
        match self {
            Self::Builtin(r) => r.stored_as.is_some(),
            Self::Custom(r) => r.is_converted(),
        }
    }

    /// The prefix of its keys in the store, ending in a slash.
    pub fn prefix(&self) -> String {
        match self {
            Self::Builtin(r) => format!("/registry/{}/", r.plural),
            Self::Custom(r) => format!("/registry/{}/{}/", r.group, r.plural),
        }
    }

    /// The key of an object.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced() {
            format!("{}{namespace}/{name}", self.prefix())
        } else {
            format!("{}{name}", self.prefix())
        }
    }

    /// The namespace and name of a key below [`Self::prefix`].
    pub fn split_key<'k>(&self, key: &'k str) -> (&'k str, &'k str) {
        let prefix = match self {
            Self::Builtin(r) => "/registry//".len() + r.plural.len(),
            Self::Custom(r) => "/registry///".len() + r.group.len() + r.plural.len(),
        };
        let tail = key.get(prefix..).unwrap_or_default();
        if self.namespaced() { tail.split_once('/').unwrap_or_default() } else { ("", tail) }
    }

    /// Brings an object of this version to another version of the same resource.
    pub fn convert(&self, object: Value, to: &Self) -> Value {
        let mut object = match (self, to) {
            (Self::Builtin(from), Self::Builtin(to)) if !std::ptr::eq(*from, *to) => {
                crate::conversion::convert(object, from, to)
            }
            (Self::Custom(from), Self::Custom(to)) => {
                return crate::custom::conversion::convert(object, from, to);
            }
            _ => object,
        };
        crate::metadata::set_top(&mut object, "apiVersion", Some(to.api_version().into()));
        crate::metadata::set_top(&mut object, "kind", Some(to.kind().into()));
        object
    }
}

/// `group/version`, or just the version for core.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.into() } else { format!("{group}/{version}") }
}
