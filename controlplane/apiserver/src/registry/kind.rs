//! What is special to a kind.
//!
//! The engine does everything that all kinds share (decoding, schema defaults, pruning, metadata rules,
//! storage, patches, managed fields, watches). A [`Kind`] adds what only this kind does. Objects are JSON
//! documents that have already been decoded against the schema table: every present field has the type
//! that the schema says, unknown fields are gone, and the table's defaults are applied.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::field::Errors;

/// Who asks, and how, for the rules that depend on it.
#[derive(Clone, Debug)]
pub struct Writer<'a> {
    /// The authenticated user's name.
    pub user: &'a str,
    /// The user's uid; often empty.
    pub uid: &'a str,
    /// The user's groups.
    pub groups: &'a [String],
    /// What else is known of the user.
    pub extra: &'a BTreeMap<String, Vec<String>>,
    /// The time of the request.
    pub now: Timestamp,
    /// Whether nothing will be stored.
    pub dry_run: bool,
}

/// Which names a kind allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain (most kinds).
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// Anything that fits into a URL path segment (RBAC kinds).
    PathSegment,
}

/// A column of the Table form that kubectl prints.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The header.
    pub name: &'static str,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the name column, else empty.
    pub format: &'static str,
    /// The description that the real server sends.
    pub description: &'static str,
    /// 0 is always shown; 1 only with `-o wide`.
    pub priority: i32,
}

impl Column {
    /// The column as a table shows it.
    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

/// A subresource that the engine serves for a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `status`
    Status,
    /// `scale`
    Scale,
}

/// What is special to a kind. Every method has the behaviour of a plain kind as its default.
pub trait Kind: Send + Sync {
    /// Sets defaults that the schema table cannot express. Runs after the table's defaults, on every
    /// decoded object (create, update, and reading of older stored objects), so it is idempotent.
    fn default(&self, _object: &mut Value) {}

    /// Clears or sets the fields that a creator does not own (for example `status`). The engine has
    /// already removed `status` where the kind has a status subresource, and set generation 1.
    fn prepare_create(&self, _object: &mut Value, _writer: &Writer<'_>) {}

    /// Everything wrong with a new object, in the real server's order. `metadata` is checked by the engine.
    fn validate(&self, _object: &Value) -> Errors {
        Errors::default()
    }

    /// Keeps what an updater does not own. The engine has already restored `status` from `old` where the
    /// kind has a status subresource; it bumps the generation when [`Self::generation_fields`] differ.
    fn prepare_update(&self, _object: &mut Value, _old: &Value, _writer: &Writer<'_>) {}

    /// Everything wrong with an update (the checks of `validate` included where the real server runs
    /// them). `metadata` is checked by the engine.
    fn validate_update(&self, object: &Value, _old: &Value) -> Errors {
        self.validate(object)
    }

    /// [`Self::validate`] as often as kube-apiserver runs it on an update of kinds that it checks twice: clients see
    /// each cause twice.
    fn validate_twice(&self, object: &Value) -> Errors {
        let mut errors = self.validate(object);
        errors.extend(errors.clone());
        errors
    }

    /// Like [`Self::prepare_update`] for the status subresource: the engine has already restored
    /// everything but `status` (and what metadata a status writer may change) from `old`.
    fn prepare_status_update(&self, _object: &mut Value, _old: &Value) {}

    /// Like [`Self::prepare_status_update`], for kinds that record who or when.
    fn prepare_status_write(&self, object: &mut Value, old: &Value, _writer: &Writer<'_>) {
        self.prepare_status_update(object, old);
    }

    /// Completes what a writer of another subresource (`finalize`, `approval`, `resize`, …) wrote; the engine
    /// has already restored everything but the part that the subresource is about.
    fn prepare_part_update(&self, _object: &mut Value, _old: &Value, _part: &str, _writer: &Writer<'_>) {}

    /// Everything wrong with what a writer of another subresource wrote.
    fn validate_part_update(&self, _object: &Value, _old: &Value, _part: &str) -> Errors {
        Errors::default()
    }

    /// Everything wrong with a status update.
    fn validate_status_update(&self, _object: &Value, _old: &Value) -> Errors {
        Errors::default()
    }

    /// Warnings for the client (`Warning:` headers) on create, or on update when `old` is given.
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Warnings of what a creator wrote, before [`Self::prepare_create`] completes it and even if it is refused.
    fn early_warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Warnings for who writes the status.
    fn status_warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// What every client of a deprecated kind is warned of.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }

    /// The rule for names.
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    /// The top-level fields whose change bumps `metadata.generation`; empty for kinds without a generation.
    fn generation_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether a creator may set `status`, as kubelets do for their nodes.
    fn status_on_create(&self) -> bool {
        false
    }

    /// Whether a PUT to an absent name creates the object.
    fn create_on_update(&self) -> bool {
        false
    }

    /// Whether an update may leave out `metadata.resourceVersion`.
    fn unconditional_update(&self) -> bool {
        true
    }

    /// The columns of its Table; the default is Name and Created At.
    fn columns(&self) -> &'static [Column] {
        DEFAULT_COLUMNS
    }

    /// The cells of its row, one a column. `now` makes ages.
    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![
            object.pointer("/metadata/name").cloned().unwrap_or_default(),
            object.pointer("/metadata/creationTimestamp").cloned().unwrap_or_default(),
        ]
    }

    /// What a client may want to know of the object at once, in its row of a table: `metav1.TableRowCondition`.
    fn row_conditions(&self, _object: &Value) -> Vec<Value> {
        Vec::new()
    }

    /// Annotations that stand for fields of the real server's internal form: they are seen with the object,
    /// not with its metadata alone.
    fn annotations_of_versions(&self) -> &'static [&'static str] {
        &[]
    }

    /// The fields that field selectors may name, besides `metadata.name` and `metadata.namespace`;
    /// values in the order of these names come from [`Self::field_values`].
    fn selectable_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// The values of [`Self::selectable_fields`]; an absent value is the empty string.
    fn field_values(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }
}

/// The column that every table starts with.
pub const NAME_COLUMN: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    description: "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
    priority: 0,
};

const DEFAULT_COLUMNS: &[Column] = &[
    NAME_COLUMN,
    Column {
        name: "Created At",
        kind: "date",
        format: "",
        description: "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        priority: 0,
    },
];
