//! Custom resources: what a CustomResourceDefinition makes of the server.
//!
//! [`controller`] accepts definitions and keeps the catalog; [`compile`] makes a [`CustomResource`] of
//! each served version. A schema is kept as compact text and compiled when its first object comes.

pub mod checks;
pub mod cleanup;
pub mod columns;
pub mod compile;
pub mod conditions;
pub mod controller;
pub mod conversion;
pub mod field_path;
pub mod json_path;
pub mod pattern;
pub mod rules;
pub mod structure;
pub mod uri;
pub mod validation;
pub mod webhook;

use std::{
    io::{Read, Write},
    sync::{Arc, OnceLock},
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use jiff::Timestamp;
use serde_json::Value;

use self::checks::Checks;
use crate::{
    field::Errors,
    metadata,
    registry::{Subresource, kind::Kind},
    schema::{
        defaults,
        types::{Form, Node, Type},
    },
};

/// A served version of a CustomResourceDefinition, compiled.
#[derive(Debug)]
pub struct CustomResource {
    /// The API group.
    pub group: String,
    /// This version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The kind of its lists.
    pub list_kind: String,
    /// The name in URLs.
    pub plural: String,
    /// The name of one object.
    pub singular: String,
    /// What kubectl also calls it.
    pub short_names: Vec<String>,
    /// The groups of resources that it belongs to.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// `status` and `scale`, if declared.
    pub subresources: Vec<Subresource>,
    /// Where the scale subresource finds its numbers.
    pub scale: Option<ScalePointers>,
    /// What its objects look like.
    pub schema: Schema,
    /// The fields that selectors may name.
    pub selectable_fields: Vec<SelectableField>,
    /// The columns of its table.
    pub columns: Vec<columns::PrinterColumn>,
    /// What users of this version are warned of, if it is deprecated.
    pub deprecation: Option<String>,
    /// Whether its definition is being deleted: then nothing can be created.
    pub terminating: bool,
    /// Whether the definition has changed or has other versions, so that stored objects may not be what
    /// the schema of today makes of them.
    pub revised: bool,
    /// The revision at which its definition was made: nothing of it can be older.
    pub since: u64,
    /// The version that is stored, if it is not this one.
    pub stored: Option<Arc<Self>>,
    /// What brings objects from one version to another, if a webhook does.
    pub webhook: Option<Arc<webhook::Webhook>>,
}

/// An OpenAPI schema: packed text until it is first used. Few clients ask for the prose in it, and no
/// object needs it.
#[derive(Debug)]
pub struct Schema {
    packed: Box<[u8]>,
    compiled: OnceLock<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    structure: Node,
    checks: Checks,
}

impl Schema {
    /// Packs a schema.
    pub fn new(schema: &Value) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory cannot fail.
        let _ = encoder.write_all(schema.to_string().as_bytes());
        Self { packed: encoder.finish().unwrap_or_default().into(), compiled: OnceLock::new() }
    }

    /// The schema as it is kept; the same for the same schema.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The schema as JSON text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let unpacked = DeflateDecoder::new(&*self.packed).read_to_string(&mut text);
        if let Err(error) = unpacked {
            tracing::error!(%error, "cannot unpack the schema of a custom resource");
        }
        text
    }

    /// How objects are decoded, pruned, defaulted and applied.
    pub fn structure(&self) -> &Node {
        &self.compiled().structure
    }

    /// What it demands of objects.
    pub fn checks(&self) -> &Checks {
        &self.compiled().checks
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            let schema = serde_json::from_str(&self.text()).unwrap_or_default();
            Compiled { structure: structure::root(&schema), checks: Checks::compile(&schema) }
        })
    }
}

/// Where a custom resource keeps its replicas, as JSON pointers.
#[derive(Clone, Debug)]
pub struct ScalePointers {
    /// The wanted replicas.
    pub spec_replicas: String,
    /// The observed replicas.
    pub status_replicas: String,
    /// The selector in its text form.
    pub selector: Option<String>,
}

/// A field that selectors may name.
#[derive(Clone, Debug)]
pub struct SelectableField {
    /// Without the leading dot, as selectors name it.
    pub name: String,
    /// As a JSON pointer.
    pub pointer: String,
}

impl CustomResource {
    /// Whether stored objects are not what this version shows.
    pub fn is_converted(&self) -> bool {
        self.revised || self.stored.is_some()
    }

    /// Gives a new object the status that the schema has by default. What its creator says of one is dropped, the default
    /// with it, but whoever reads the object finds the default (as with every read from storage upstream).
    pub fn default_status(&self, object: &mut Value) {
        let Form::Object { fields, .. } = &self.schema.structure().form else { return };
        let Some(node) = fields.get("status").filter(|_| object.get("status").is_none()) else { return };
        if let Some(mut status) = node.default.clone() {
            defaults::apply_defaults(&mut status, Type::Custom(node));
            metadata::set_top(object, "status", Some(status));
        }
    }

    /// The columns of its Table.
    pub fn column_definitions(&self) -> Value {
        columns::definitions(&self.columns)
    }
}

impl Kind for CustomResource {
    fn validate(&self, object: &Value) -> Errors {
        validation::create(self, object)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Errors {
        validation::update(self, object, old)
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Errors {
        validation::status(self, object, old)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = crate::validation::metadata::finalizer_warnings(object, old);
        if let Some(old) = old {
            let ratcheted = rules::ratcheted(self.schema.checks(), object, old);
            warnings.extend(ratcheted.0.iter().map(ToString::to_string));
        }
        warnings
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        false
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        columns::cells(&self.columns, object, now)
    }

    fn field_values(&self, object: &Value) -> Vec<String> {
        self.selectable_fields
            .iter()
            .map(|field| match object.pointer(&field.pointer) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
