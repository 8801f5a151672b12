//! Types as every engine sees them.
//!
//! A [`Type`] is a small `Copy` handle on either a row of the generated table ([`Type::builtin`]) or a
//! node of a compiled custom schema, so engines are written once. Built-in rows are read-only data of the
//! binary: they cost nothing at start and are shared by all processes.

use std::collections::BTreeMap;

use serde_json::Value;

pub use super::table::{Field, List, Map, Object};

/// A type. Cheap to copy; see [`Type::shape`].
#[derive(Clone, Copy, Debug)]
pub enum Type<'a> {
    /// A type of the generated table, by its index there.
    Builtin(u16),
    /// A node of a custom schema.
    Custom(&'a Node),
}

/// What a value of a type looks like.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'a> {
    /// An object with named fields.
    Object(Object<'a>),
    /// An object with free keys.
    Map(Map<'a>),
    /// An array.
    List(List<'a>),
    /// A scalar.
    Scalar(Scalar),
    /// Any JSON value, kept as it is.
    Any,
}

/// Scalars, by their form on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// UTF-8 text.
    String,
    /// Base64 in JSON, bytes in protobuf.
    Bytes,
    /// true or false.
    Boolean,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Number with a fraction.
    Double,
    /// An amount such as `100m` or `1Gi`; string or number in JSON (`resource.Quantity`).
    Quantity,
    /// Integer or string (`intstr.IntOrString`).
    IntOrString,
    /// RFC 3339 with seconds (`metav1.Time`).
    Time,
    /// RFC 3339 with microseconds (`metav1.MicroTime`).
    MicroTime,
    /// A duration such as `1h5m` (`metav1.Duration`).
    Duration,
}

/// How apply treats an object or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
    /// Each field has its own owners.
    Granular,
    /// One owner for all of it.
    Atomic,
}

/// How apply treats a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType<'a> {
    /// One owner for all of it.
    Atomic,
    /// Scalars, each its own key.
    Set,
    /// Objects, told apart by these fields.
    Map(Keys<'a>),
}

/// The key fields of an associative list, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys<'a> {
    /// Comma-separated, of the table.
    Builtin(&'static str),
    /// Of a custom schema.
    Custom(&'a [String]),
}

/// How a strategic merge patch treats a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy<'a> {
    /// Lists are merged by the key (or as sets where there is none) instead of replaced.
    pub merge: bool,
    /// Only the patch's fields survive (`retainKeys`).
    pub retain_keys: bool,
    /// The field that tells list items apart.
    pub merge_key: Option<&'a str>,
}

/// A schema node of a custom resource.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// What its values look like.
    pub form: Form,
    /// `null` is allowed.
    pub nullable: bool,
    /// The default, if any.
    pub default: Option<Value>,
    /// Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// It holds a whole Kubernetes object (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
}

/// The form of a [`Node`].
#[derive(Clone, Debug, Default)]
pub enum Form {
    /// Named fields.
    Object {
        /// By JSON name.
        fields: BTreeMap<String, Node>,
        /// Those that must be there.
        required: Vec<String>,
        /// For apply.
        map_type: Option<MapType>,
    },
    /// Free keys (`additionalProperties`).
    Map {
        /// The values' schema.
        values: Box<Node>,
        /// For apply.
        map_type: Option<MapType>,
    },
    /// An array.
    List {
        /// The items' schema.
        items: Box<Node>,
        /// `x-kubernetes-list-type`, atomic if absent.
        list_type: CustomListType,
    },
    /// A scalar.
    Scalar(Scalar),
    /// Any value.
    #[default]
    Any,
    /// A built-in type inside a custom one (`metadata` is `ObjectMeta`).
    Builtin(u16),
}

/// `x-kubernetes-list-type` with its keys.
#[derive(Clone, Debug, Default)]
pub enum CustomListType {
    /// `atomic`
    #[default]
    Atomic,
    /// `set`
    Set,
    /// `map` with `x-kubernetes-list-map-keys`
    Map(Vec<String>),
}
