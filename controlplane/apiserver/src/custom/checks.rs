//! What the schema of a custom resource demands of values, compiled from its OpenAPI form.

pub mod embedded;
pub mod formats;
pub mod lists;
pub mod validate;

use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::pattern;
use crate::registry::access::{bool_at, list_at, map_at, opt_str, str_at, strs_at};

/// A schema. Most schemas demand little, so what is rare is boxed.
#[derive(Debug, Default)]
pub struct Checks {
    /// The types allowed; none means any.
    pub types: &'static [&'static str],
    /// Whether `null` is allowed.
    pub nullable: bool,
    /// The format, if it is a known one for the type.
    pub format: Option<Box<str>>,
    /// Bounds of values.
    pub bounds: Option<Box<Bounds>>,
    /// Fields that must be there.
    pub required: Box<[Box<str>]>,
    /// The fields, sorted by name.
    pub properties: Box<[(Box<str>, Self)]>,
    /// What other keys may hold.
    pub additional: Additional,
    /// What the items of a list must be.
    pub items: Option<Box<Self>>,
    /// Alternatives and negations.
    pub logic: Option<Box<Logic>>,
    /// How the items of a list differ.
    pub list: ListKind,
    /// It holds a whole Kubernetes object.
    pub embedded: bool,
    /// Fields that it does not name are kept.
    pub preserves: bool,
    /// Its rules in CEL.
    pub rules: Box<[super::rules::Rule]>,
}

/// Keys besides the named fields.
#[derive(Debug, Default)]
pub enum Additional {
    /// Anything.
    #[default]
    Any,
    /// None.
    Forbidden,
    /// Values of this schema.
    Of(Box<Checks>),
}

/// Alternatives and negations.
#[derive(Debug, Default)]
pub struct Logic {
    /// All must hold.
    pub all_of: Vec<Checks>,
    /// At least one must hold.
    pub any_of: Vec<Checks>,
    /// Exactly one must hold.
    pub one_of: Vec<Checks>,
    /// This must not hold.
    pub not: Option<Checks>,
}

/// How the items of a list differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// They need not.
    #[default]
    Atomic,
    /// They all differ.
    Set,
    /// They differ in these fields.
    Map(Box<[Box<str>]>),
}

/// Bounds of values.
#[derive(Debug, Default)]
pub struct Bounds {
    /// The largest number.
    pub maximum: Option<f64>,
    /// Whether the largest number itself is out.
    pub exclusive_maximum: bool,
    /// The smallest number.
    pub minimum: Option<f64>,
    /// Whether the smallest number itself is out.
    pub exclusive_minimum: bool,
    /// Numbers are multiples of this.
    pub multiple_of: Option<f64>,
    /// The longest text, in characters.
    pub max_length: Option<i64>,
    /// The shortest text.
    pub min_length: Option<i64>,
    /// What a text must match.
    pub pattern: Option<Pattern>,
    /// The most items.
    pub max_items: Option<i64>,
    /// The fewest items.
    pub min_items: Option<i64>,
    /// No item twice.
    pub unique_items: bool,
    /// The most fields.
    pub max_properties: Option<i64>,
    /// The fewest fields.
    pub min_properties: Option<i64>,
    /// The values allowed; none means any.
    pub allowed: Box<[Value]>,
}

/// A pattern, compiled when it is first needed.
#[derive(Debug)]
pub struct Pattern {
    /// As the schema has it.
    pub text: Box<str>,
    compiled: OnceLock<Result<Regex, String>>,
}

impl Pattern {
    /// Whether a text matches; an error if the pattern is none.
    pub fn matches(&self, text: &str) -> Result<bool, &str> {
        let compiled = self.compiled.get_or_init(|| pattern::compile(&self.text));
        compiled.as_ref().map(|regex| regex.is_match(text)).map_err(String::as_str)
    }
}

impl Checks {
    /// Compiles an OpenAPI schema.
    pub fn compile(schema: &Value) -> Self {
        let types = types(schema);
        Self {
            types,
            nullable: bool_at(schema, "/nullable"),
            format: opt_str(schema, "/format").filter(|f| formats::is_known(f, types)).map(Into::into),
            bounds: bounds(schema),
            required: strs_at(schema, "/required").map(Into::into).collect(),
            properties: map_at(schema, "/properties").map(properties).unwrap_or_default(),
            additional: match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => Additional::Forbidden,
                Some(of @ Value::Object(_)) => Additional::Of(Box::new(Self::compile(of))),
                _ => Additional::Any,
            },
            items: schema.get("items").filter(|i| i.is_object()).map(|i| Box::new(Self::compile(i))),
            logic: logic(schema),
            list: match str_at(schema, "/x-kubernetes-list-type") {
                "set" => ListKind::Set,
                "map" => {
                    ListKind::Map(strs_at(schema, "/x-kubernetes-list-map-keys").map(Into::into).collect())
                }
                _ => ListKind::Atomic,
            },
            embedded: bool_at(schema, "/x-kubernetes-embedded-resource"),
            preserves: bool_at(schema, "/x-kubernetes-preserve-unknown-fields"),
            rules: list_at(schema, "/x-kubernetes-validations")
                .iter()
                .map(super::rules::Rule::read)
                .collect(),
        }
    }

    /// The schema of a field.
    pub fn property(&self, name: &str) -> Option<&Self> {
        let at = self.properties.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        self.properties.get(at).map(|(_, schema)| schema)
    }

    /// The schema of a field or of another key.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.property(name).or(match &self.additional {
            Additional::Of(schema) => Some(schema),
            Additional::Any | Additional::Forbidden => None,
        })
    }
}

fn types(schema: &Value) -> &'static [&'static str] {
    if bool_at(schema, "/x-kubernetes-int-or-string") {
        return &["integer", "string"];
    }
    match str_at(schema, "/type") {
        "object" => &["object"],
        "array" => &["array"],
        "string" => &["string"],
        "integer" => &["integer"],
        "number" => &["number"],
        "boolean" => &["boolean"],
        _ => &[],
    }
}

fn properties(properties: &Map<String, Value>) -> Box<[(Box<str>, Checks)]> {
    let mut compiled: Vec<(Box<str>, Checks)> =
        properties.iter().map(|(name, schema)| (name.as_str().into(), Checks::compile(schema))).collect();
    compiled.sort_by(|a, b| a.0.cmp(&b.0));
    compiled.into()
}

fn logic(schema: &Value) -> Option<Box<Logic>> {
    let all = |pointer| list_at(schema, pointer).iter().map(Checks::compile).collect::<Vec<_>>();
    let logic = Logic {
        all_of: all("/allOf"),
        any_of: all("/anyOf"),
        one_of: all("/oneOf"),
        not: schema.get("not").filter(|n| n.is_object()).map(Checks::compile),
    };
    let empty = logic.all_of.is_empty() && logic.any_of.is_empty() && logic.one_of.is_empty();
    (!empty || logic.not.is_some()).then(|| Box::new(logic))
}

fn bounds(schema: &Value) -> Option<Box<Bounds>> {
    const FIELDS: &[&str] = &[
        "maximum",
        "minimum",
        "multipleOf",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "uniqueItems",
        "maxProperties",
        "minProperties",
        "enum",
    ];
    if !FIELDS.iter().any(|field| schema.get(*field).is_some()) {
        return None;
    }
    let float = |field: &str| schema.get(field).and_then(Value::as_f64);
    let integer = |field: &str| schema.get(field).and_then(Value::as_i64);
    Some(Box::new(Bounds {
        maximum: float("maximum"),
        exclusive_maximum: bool_at(schema, "/exclusiveMaximum"),
        minimum: float("minimum"),
        exclusive_minimum: bool_at(schema, "/exclusiveMinimum"),
        multiple_of: float("multipleOf"),
        max_length: integer("maxLength"),
        min_length: integer("minLength"),
        pattern: opt_str(schema, "/pattern")
            .filter(|p| !p.is_empty())
            .map(|p| Pattern { text: p.into(), compiled: OnceLock::new() }),
        max_items: integer("maxItems"),
        min_items: integer("minItems"),
        unique_items: bool_at(schema, "/uniqueItems"),
        max_properties: integer("maxProperties"),
        min_properties: integer("minProperties"),
        allowed: list_at(schema, "/enum").into(),
    }))
}
