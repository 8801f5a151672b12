//! Version 2 as the protobuf that client-go asks for (`openapi.v2.Document` of gnostic).

use serde_json::{Map, Value};

use crate::codec::protobuf::wire;

/// How a JSON value becomes a field.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Bool,
    Int,
    Double,
    /// Each string of an array.
    Texts,
    /// A message with fields of its own.
    Message(Fields),
    /// A schema.
    Schema,
    /// Each schema of an array.
    Schemas,
    /// An object with free keys: pairs of name and value in a message of their own.
    Named(&'static Self),
    /// The value as YAML text, which JSON is.
    Any,
    /// Each value of an array as text.
    Anys,
    /// A schema or, for `additionalProperties`, a boolean.
    SchemaOrBool,
    /// One schema in the list that `items` may be.
    Items,
    /// `type`, which may be several.
    Types,
    /// The codes of responses.
    Responses,
    /// Parameters, each one a reference or itself.
    Parameters,
    /// One parameter.
    Parameter,
    /// Pairs of name and list of texts.
    Requirements,
}

type Fields = &'static [(&'static str, u32, Form)];

const DOCUMENT: Fields = &[
    ("swagger", 1, Form::Text),
    ("info", 2, Form::Message(INFO)),
    ("security", 12, Form::Requirements),
    ("securityDefinitions", 13, Form::Named(&Form::Message(SECURITY))),
];
const INFO: Fields = &[("title", 1, Form::Text), ("version", 2, Form::Text)];
const SECURITY: Fields = &[("apiKey", 2, Form::Message(API_KEY))];
const API_KEY: Fields = &[
    ("type", 1, Form::Text),
    ("name", 2, Form::Text),
    ("in", 3, Form::Text),
    ("description", 4, Form::Text),
];
const PATH_ITEM: Fields = &[
    ("get", 2, Form::Message(OPERATION)),
    ("put", 3, Form::Message(OPERATION)),
    ("post", 4, Form::Message(OPERATION)),
    ("delete", 5, Form::Message(OPERATION)),
    ("options", 6, Form::Message(OPERATION)),
    ("head", 7, Form::Message(OPERATION)),
    ("patch", 8, Form::Message(OPERATION)),
    ("parameters", 9, Form::Parameters),
    ("x-", 10, Form::Any),
];
const OPERATION: Fields = &[
    ("tags", 1, Form::Texts),
    ("description", 3, Form::Text),
    ("operationId", 5, Form::Text),
    ("produces", 6, Form::Texts),
    ("consumes", 7, Form::Texts),
    ("parameters", 8, Form::Parameters),
    ("responses", 9, Form::Responses),
    ("schemes", 10, Form::Texts),
    ("x-", 13, Form::Any),
];
const RESPONSE: Fields = &[("description", 1, Form::Text), ("schema", 2, Form::Message(SCHEMA_ITEM))];
const SCHEMA_ITEM: Fields = &[("", 1, Form::Schema)];
const REFERENCE: Fields = &[("$ref", 1, Form::Text), ("description", 2, Form::Text)];
const BODY: Fields = &[
    ("description", 1, Form::Text),
    ("name", 2, Form::Text),
    ("in", 3, Form::Text),
    ("required", 4, Form::Bool),
    ("schema", 5, Form::Schema),
];
const QUERY: Fields = &[
    ("required", 1, Form::Bool),
    ("in", 2, Form::Text),
    ("description", 3, Form::Text),
    ("name", 4, Form::Text),
    ("type", 6, Form::Text),
    ("uniqueItems", 20, Form::Bool),
];
const PATH: Fields = &[
    ("required", 1, Form::Bool),
    ("in", 2, Form::Text),
    ("description", 3, Form::Text),
    ("name", 4, Form::Text),
    ("type", 5, Form::Text),
    ("uniqueItems", 19, Form::Bool),
];
const SCHEMA: Fields = &[
    ("$ref", 1, Form::Text),
    ("format", 2, Form::Text),
    ("title", 3, Form::Text),
    ("description", 4, Form::Text),
    ("default", 5, Form::Any),
    ("multipleOf", 6, Form::Double),
    ("maximum", 7, Form::Double),
    ("exclusiveMaximum", 8, Form::Bool),
    ("minimum", 9, Form::Double),
    ("exclusiveMinimum", 10, Form::Bool),
    ("maxLength", 11, Form::Int),
    ("minLength", 12, Form::Int),
    ("pattern", 13, Form::Text),
    ("maxItems", 14, Form::Int),
    ("minItems", 15, Form::Int),
    ("uniqueItems", 16, Form::Bool),
    ("maxProperties", 17, Form::Int),
    ("minProperties", 18, Form::Int),
    ("required", 19, Form::Texts),
    ("enum", 20, Form::Anys),
    ("additionalProperties", 21, Form::SchemaOrBool),
    ("type", 22, Form::Types),
    ("items", 23, Form::Items),
    ("allOf", 24, Form::Schemas),
    ("properties", 25, Form::Named(&Form::Schema)),
    ("example", 30, Form::Any),
    ("x-", 31, Form::Any),
];

/// A document that grows part by part.
pub struct Document {
    bytes: Vec<u8>,
    paths: Vec<u8>,
    definitions: Vec<u8>,
    parameters: Vec<u8>,
}

impl Document {
    /// A document with these members.
    pub fn new(head: &Value) -> Self {
        let mut head = head.clone();
        // The kind of a security definition is a field of its own here.
        if let Some(Value::Object(definitions)) = head.get_mut("securityDefinitions") {
            for definition in definitions.values_mut() {
                *definition = serde_json::json!({"apiKey": definition.take()});
            }
        }
        let mut bytes = Vec::new();
        if let Value::Object(head) = &head {
            message(head, DOCUMENT, &mut bytes);
        }
        Self { bytes, paths: Vec::new(), definitions: Vec::new(), parameters: Vec::new() }
    }

    /// Adds a path, a definition or a parameter.
    pub fn add(&mut self, part: &str, name: &str, value: &Value) {
        match part {
            "paths" => named(name, value, 2, Form::Message(PATH_ITEM), &mut self.paths),
            "definitions" => named(name, value, 1, Form::Schema, &mut self.definitions),
            _ => named(name, value, 1, Form::Parameter, &mut self.parameters),
        }
    }

    /// All of it.
    pub fn finish(mut self) -> Vec<u8> {
        wire::bytes(&mut self.bytes, 8, &self.paths);
        wire::bytes(&mut self.bytes, 9, &self.definitions);
        wire::bytes(&mut self.bytes, 10, &self.parameters);
        self.bytes
    }
}

fn named(name: &str, value: &Value, tag: u32, form: Form, out: &mut Vec<u8>) {
    wire::message(out, tag, |out| {
        wire::bytes(out, 1, name.as_bytes());
        field(value, 2, form, out);
    });
}

fn message(object: &Map<String, Value>, fields: Fields, out: &mut Vec<u8>) {
    for (name, tag, form) in fields {
        if *name == "x-" {
            for (key, value) in object.iter().filter(|(key, _)| key.starts_with("x-")) {
                named(key, value, *tag, *form, out);
            }
        } else if let Some(value) = object.get(*name) {
            field(value, *tag, *form, out);
        }
    }
}

fn field(value: &Value, tag: u32, form: Form, out: &mut Vec<u8>) {
    let empty = Map::new();
    let object = value.as_object().unwrap_or(&empty);
    let items = || value.as_array().into_iter().flatten();
    match form {
        Form::Text => wire::bytes(out, tag, value.as_str().unwrap_or_default().as_bytes()),
        Form::Bool => wire::number(out, tag, i64::from(value.as_bool().unwrap_or_default())),
        Form::Int => wire::number(out, tag, value.as_i64().unwrap_or_default()),
        Form::Double => wire::double(out, tag, value.as_f64().unwrap_or_default()),
        Form::Texts => items().for_each(|item| field(item, tag, Form::Text, out)),
        Form::Message(fields) if fields.first().is_some_and(|(name, ..)| name.is_empty()) => {
            // A choice of which this is always the first.
            wire::message(out, tag, |out| field(value, 1, fields[0].2, out));
        }
        Form::Message(fields) => wire::message(out, tag, |out| message(object, fields, out)),
        Form::Schema => wire::message(out, tag, |out| message(object, SCHEMA, out)),
        Form::Schemas => items().for_each(|item| field(item, tag, Form::Schema, out)),
        Form::Named(inner) => wire::message(out, tag, |out| {
            object.iter().for_each(|(name, value)| named(name, value, 1, *inner, out));
        }),
        Form::Any => wire::message(out, tag, |out| {
            let mut yaml = value.to_string();
            yaml.push('\n');
            wire::bytes(out, 2, yaml.as_bytes());
        }),
        Form::Anys => items().for_each(|item| field(item, tag, Form::Any, out)),
        Form::SchemaOrBool => wire::message(out, tag, |out| match value {
            Value::Bool(allowed) => wire::number(out, 2, i64::from(*allowed)),
            schema => field(schema, 1, Form::Schema, out),
        }),
        Form::Items => wire::message(out, tag, |out| field(value, 1, Form::Schema, out)),
        Form::Types => wire::message(out, tag, |out| match value {
            Value::Array(_) => field(value, 1, Form::Texts, out),
            one => field(one, 1, Form::Text, out),
        }),
        Form::Responses => wire::message(out, tag, |out| {
            for (code, response) in object {
                wire::message(out, 1, |out| {
                    wire::bytes(out, 1, code.as_bytes());
                    // The other choice would be a reference.
                    wire::message(out, 2, |out| field(response, 1, Form::Message(RESPONSE), out));
                });
            }
        }),
        Form::Parameters => {
            for item in items() {
                wire::message(out, tag, |out| {
                    if item.get("$ref").is_some() {
                        field(item, 2, Form::Message(REFERENCE), out);
                    } else {
                        field(item, 1, Form::Parameter, out);
                    }
                });
            }
        }
        Form::Parameter => wire::message(out, tag, |out| match value["in"].as_str() {
            Some("body") => field(value, 1, Form::Message(BODY), out),
            Some("path") => wire::message(out, 2, |out| field(value, 4, Form::Message(PATH), out)),
            _ => wire::message(out, 2, |out| field(value, 3, Form::Message(QUERY), out)),
        }),
        Form::Requirements => {
            for item in items().filter_map(Value::as_object) {
                wire::message(out, tag, |out| {
                    for (name, scopes) in item {
                        wire::message(out, 1, |out| {
                            wire::bytes(out, 1, name.as_bytes());
                            wire::message(out, 2, |out| field(scopes, 1, Form::Texts, out));
                        });
                    }
                });
            }
        }
    }
}
