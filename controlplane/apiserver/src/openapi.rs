//! The OpenAPI documents at `/openapi/v2` and `/openapi/v3`, by which clients explain, validate and merge.
//!
//! They are made when asked for, one definition and one path at a time, and nothing is kept: definitions
//! come from the schema table, descriptions from prose that was compressed at build time, paths from what
//! is served. Hashes come from what a document is made of, so an index costs nothing either.

mod custom;
mod definitions;
mod gnostic;
mod operations;
mod parameters;
mod prose;
pub mod remote;
mod serve;
pub mod v2;
pub mod v3;

pub use serve::serve;

use serde_json::Value;

use crate::schema::types::Type;

/// A resource at one version, as the documents show it.
#[derive(Clone, Debug)]
pub struct Served<'a> {
    /// The API group; empty for core.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The kind of its objects.
    pub kind: &'a str,
    /// The kind of its lists.
    pub list_kind: String,
    /// Its name in URLs.
    pub plural: &'a str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: &'a [&'a str],
    /// Its subresources.
    pub subresources: Vec<ServedSubresource<'a>>,
    /// What its objects look like.
    pub schema: Schema<'a>,
}

/// A subresource, as the documents show it.
#[derive(Clone, Debug)]
pub struct ServedSubresource<'a> {
    /// Its name in URLs.
    pub name: &'a str,
    /// The group of its kind.
    pub group: &'a str,
    /// The version of its kind.
    pub version: &'a str,
    /// The kind that it takes and answers.
    pub kind: &'a str,
    /// What can be done with it.
    pub verbs: &'a [&'a str],
}

/// Where the schema of a resource comes from.
#[derive(Clone, Copy, Debug)]
pub enum Schema<'a> {
    /// The definition of the table, such as `io.k8s.api.core.v1.Pod`.
    Builtin(&'a str),
    /// That of a CustomResourceDefinition.
    Custom(&'a crate::custom::Schema),
}

/// The two versions of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavor {
    V2,
    V3,
}

impl Flavor {
    fn reference(self, definition: &str) -> Value {
        let prefix = match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        };
        serde_json::json!({"$ref": format!("{prefix}{definition}")})
    }
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

impl Served<'_> {
    /// The name of its definition.
    fn definition(&self) -> String {
        match self.schema {
            Schema::Builtin(name) => name.to_owned(),
            Schema::Custom(_) => custom::definition_name(self.group, self.version, self.kind),
        }
    }

    /// The name of the definition of its lists.
    fn list_definition(&self) -> String {
        match self.schema {
            Schema::Builtin(name) => format!("{name}List"),
            Schema::Custom(_) => custom::definition_name(self.group, self.version, &self.list_kind),
        }
    }

    fn is_custom(&self) -> bool {
        matches!(self.schema, Schema::Custom(_))
    }

    fn has(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
}

/// Where the kinds of a group and version are defined, such as `io.k8s.api.core.v1.`.
fn module(group: &str, version: &str) -> String {
    let package = match group {
        "" => "api.core",
        "apiextensions.k8s.io" => "apiextensions-apiserver.pkg.apis.apiextensions",
        "apiregistration.k8s.io" => "kube-aggregator.pkg.apis.apiregistration",
        _ => {
            let first = group.split('.').next().unwrap_or(group);
            return format!("io.k8s.api.{first}.{version}.");
        }
    };
    format!("io.k8s.{package}.{version}.")
}

/// The definition of a kind, if it is a built-in one.
fn builtin_definition(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    Type::builtin(&format!("{}{kind}", module(group, version)))?.name()
}

#[cfg(test)]
mod tests;
