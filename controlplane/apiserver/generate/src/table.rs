//! Merges the OpenAPI definitions, the protobuf messages and the facts into the text of the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::Value;

use crate::{
    facts::Facts,
    openapi::Definitions,
    proto::{self, Messages},
};

/// The modules whose definitions the server presents.
const MODULES: &[&str] = &[
    "io.k8s.api.admissionregistration.v1",
    "io.k8s.api.apps.v1",
    "io.k8s.api.authentication.v1",
    "io.k8s.api.authorization.v1",
    "io.k8s.api.autoscaling.v1",
    "io.k8s.api.autoscaling.v2",
    "io.k8s.api.batch.v1",
    "io.k8s.api.certificates.v1",
    "io.k8s.api.coordination.v1",
    "io.k8s.api.core.v1",
    "io.k8s.api.discovery.v1",
    "io.k8s.api.events.v1",
    "io.k8s.api.flowcontrol.v1",
    "io.k8s.api.networking.v1",
    "io.k8s.api.node.v1",
    "io.k8s.api.policy.v1",
    "io.k8s.api.rbac.v1",
    "io.k8s.api.resource.v1",
    "io.k8s.api.scheduling.v1",
    "io.k8s.api.storage.v1",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    META,
    "io.k8s.apimachinery.pkg.version",
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
];

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Types of requests that no definition describes.
const OPTIONS: &[&str] = &["CreateOptions", "GetOptions", "ListOptions", "PatchOptions", "UpdateOptions"];

/// Definitions that the table knows as scalars or as any JSON.
fn special(name: &str) -> Option<&'static str> {
    Some(match name.strip_prefix("io.k8s.")? {
        "apimachinery.pkg.api.resource.Quantity" => "quantity",
        "apimachinery.pkg.util.intstr.IntOrString" => "intorstring",
        "apimachinery.pkg.apis.meta.v1.Time" => "time",
        "apimachinery.pkg.apis.meta.v1.MicroTime" => "microtime",
        "apimachinery.pkg.apis.meta.v1.Duration" => "duration",
        "apimachinery.pkg.runtime.RawExtension"
        | "apimachinery.pkg.apis.meta.v1.FieldsV1"
        | "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON" => "any",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray" => "schemaorarray",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool" => "schemaorbool",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray" => "schemaorstrings",
        _ => return None,
    })
}

/// One line of the table.
#[derive(Clone, Debug, Default)]
struct Row {
    name: String,
    ty: String,
    attributes: Vec<String>,
}

impl Row {
    fn is_inline(&self) -> bool {
        self.attributes.iter().any(|a| a == "inline")
    }

    fn flattened(mut self) -> Self {
        self.attributes.retain(|a| !a.starts_with("tag="));
        self
    }
}

/// Attributes and rows by definition.
type Types = BTreeMap<String, (Vec<String>, Vec<Row>)>;

/// The properties of a definition of which `names` have no row yet.
struct Left<'a> {
    names: BTreeMap<String, &'a str>,
    properties: &'a serde_json::Map<String, Value>,
    required: BTreeSet<&'a str>,
}

/// The sources of the table.
pub struct Sources {
    /// OpenAPI definitions.
    pub definitions: Definitions,
    /// Protobuf messages.
    pub messages: Messages,
    /// Go facts.
    pub facts: Facts,
}

impl Sources {
    /// The text of the table.
    pub fn table(&self) -> String {
        let mut types = Types::new();
        for (name, body) in &self.definitions {
            let module = name.rsplit_once('.').map_or("", |(module, _)| module);
            if MODULES.contains(&module) && special(name).is_none() {
                self.add(name, body, &mut types);
            }
        }
        for name in OPTIONS.iter().map(|n| format!("{META}.{n}")) {
            self.add_proto_only(&name, &mut types);
        }
        Self::add_metadata_only(&mut types);
        self.add_lists(&mut types);
        render(&types)
    }

    /// A message with the fields that only the facts know.
    fn message(&self, name: &str) -> Option<proto::Message> {
        let known = self.messages.get(&name.to_lowercase()).map(|(_, message)| message.clone());
        let tags = self.facts.tags(name);
        if known.is_none() && tags.is_empty() {
            return None;
        }
        let mut message = known.unwrap_or_default();
        message.fields.extend_from_slice(tags);
        Some(message)
    }

    fn add(&self, name: &str, body: &Value, types: &mut Types) {
        let empty = serde_json::Map::new();
        let properties = body["properties"].as_object().unwrap_or(&empty);
        let required: BTreeSet<&str> =
            body["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut left = Left {
            names: properties.keys().map(|k| (k.to_lowercase(), k.as_str())).collect(),
            properties,
            required,
        };
        let message = self.message(name).unwrap_or_default();

        let mut rows = Vec::new();
        for key in ["kind", "apiversion"] {
            if !message.fields.iter().any(|f| flat(&f.name) == key)
                && let Some(field) = left.names.remove(key)
            {
                rows.push(self.row(name, field, &left, None));
            }
        }
        rows.extend(self.rows(name, &message, &mut left, types));
        for field in std::mem::take(&mut left.names).into_values() {
            eprintln!("no protobuf tag: {name}.{field}");
            rows.push(self.row(name, field, &left, None));
        }
        let atomic = message.markers.iter().any(|m| m == "structType=atomic");
        types.insert(name.into(), (if atomic { vec!["atomic".to_owned()] } else { Vec::new() }, rows));
    }

    /// The rows of a message. An embedded Go struct's fields are the outer object's in JSON, its own
    /// message in protobuf: it becomes rows without tags, and an `inline` row with the tag.
    fn rows(&self, name: &str, message: &proto::Message, left: &mut Left<'_>, types: &mut Types) -> Vec<Row> {
        let mut rows = Vec::new();
        for field in &message.fields {
            if let Some(json) = left.names.remove(&flat(&field.name)) {
                rows.push(self.row(name, json, left, Some(field)));
                continue;
            }
            let Some(inner_name) = field.ty.strip_prefix('#') else { continue };
            let Some((inner_name, _)) = self.messages.get(&inner_name.to_lowercase()) else { continue };
            let inner = self.message(inner_name).unwrap_or_default();
            let inner_rows = self.rows(inner_name, &inner, left, types);
            if inner_rows.is_empty() {
                continue;
            }
            rows.extend(inner_rows.iter().filter(|r| !r.is_inline()).cloned().map(Row::flattened));
            rows.push(Row {
                name: field.name.clone(),
                ty: format!("#{inner_name}"),
                attributes: vec![format!("tag={}", field.tag), "inline".into()],
            });
            types.entry(inner_name.clone()).or_insert_with(|| (Vec::new(), inner_rows));
        }
        rows
    }

    fn add_proto_only(&self, name: &str, types: &mut Types) {
        let Some(message) = self.message(name) else { return };
        let mut rows = type_meta();
        for field in &message.fields {
            let json = camel(&field.name);
            let ty =
                field.ty.strip_prefix('#').and_then(special).map_or_else(|| field.ty.clone(), Into::into);
            rows.push(self.finish(name, &json, ty, Some(field), false));
        }
        types.insert(name.into(), (Vec::new(), rows));
    }

    /// What a request for metadata only gets.
    fn add_metadata_only(types: &mut Types) {
        let name = format!("{META}.PartialObjectMetadata");
        let mut rows = type_meta();
        rows.push(list_row("metadata", format!("#{META}.ObjectMeta"), 1));
        types.insert(name, (Vec::new(), rows));
    }

    /// Lists: metadata and items, for every message `<Kind>List` of a kind in the table.
    fn add_lists(&self, types: &mut Types) {
        let kinds: Vec<String> = types.keys().cloned().collect();
        for kind in kinds {
            let name = format!("{kind}List");
            if types.contains_key(&name) || self.message(&name).is_none() {
                continue;
            }
            let mut rows = type_meta();
            rows.push(list_row("metadata", format!("#{META}.ListMeta"), 1));
            let mut items = list_row("items", format!("[]#{kind}"), 2);
            items.attributes.extend(["keep".to_owned(), "required".to_owned()]);
            rows.push(items);
            types.insert(name, (Vec::new(), rows));
        }
    }

    fn row(&self, message: &str, name: &str, left: &Left<'_>, field: Option<&proto::Field>) -> Row {
        let schema = &left.properties[name];
        let required = left.required.contains(name);
        let wrapped = field
            .and_then(|f| f.ty.strip_prefix("{}#").or_else(|| f.ty.strip_prefix('#')))
            .is_some_and(|t| (t.ends_with(".ExtraValue") || t.ends_with(".Verbs")) && !t.starts_with("[]"));
        let mut ty = table_type(schema);
        if wrapped {
            ty = ty.replace("[]string", "[=]string");
        }
        if let Some(field) = field
            && field.ty.ends_with("int32")
        {
            ty = ty.replace("int64", "int32");
        }
        // The API server's own required fields; the crate makes `metadata` required for its purposes.
        self.finish(message, name, ty, field, required && name != "metadata")
    }

    fn finish(
        &self,
        message: &str,
        name: &str,
        ty: String,
        field: Option<&proto::Field>,
        required: bool,
    ) -> Row {
        let fact = self.facts.field(message, name);
        let is_message = ty.starts_with('#') || is_struct_scalar(&ty);
        let by_rule = is_message && !["metadata", "spec", "status", "template"].contains(&name);
        let pointer = by_rule != fact.flip_pointer;

        let mut attributes = Vec::new();
        if let Some(field) = field {
            attributes.push(format!("tag={}", field.tag));
        }
        for (set, word) in [
            (fact.required.unwrap_or(required), "required"),
            (pointer, "ptr"),
            (fact.keep_empty, "keep"),
            (fact.omit_zero, "omitzero"),
        ] {
            if set {
                attributes.push(word.into());
            }
        }
        if let Some(field) = field {
            attributes.extend(self.markers(&field.markers));
        }
        if let Some(go_type) = fact.go_type {
            if let Some(values) = self.facts.values(&go_type) {
                attributes.push(format!("enum={}", values.replace(' ', "\u{a0}")));
            }
            attributes.push(format!("go={}", short_go(&go_type)));
        }
        Row { name: name.into(), ty, attributes }
    }

    /// The attributes that markers become.
    fn markers(&self, markers: &[String]) -> Vec<String> {
        let mut attributes = Vec::new();
        let value = |key: &'static str| {
            let found = markers.iter().filter_map(move |m| m.strip_prefix(key));
            found.map(|v| v.trim().trim_matches('"').to_owned())
        };
        match value("listType=").next().as_deref() {
            Some("map") => {
                let keys: Vec<String> = value("listMapKey=").collect();
                attributes.push(format!("list={}", keys.join(",")));
            }
            Some("set") => attributes.push("set".into()),
            Some("atomic") => attributes.push("atomic".into()),
            _ => {}
        }
        if value("mapType=").chain(value("structType=")).any(|v| v == "atomic") {
            attributes.push("atomic".into());
        }
        if let Some(strategy) = value("patchStrategy=").next() {
            attributes.push(format!("patch={strategy}"));
        }
        if let Some(key) = value("patchMergeKey=").next() {
            attributes.push(format!("mergekey={key}"));
        }
        if let Some(default) = markers.iter().find_map(|m| m.strip_prefix("default=")) {
            let constant =
                default.strip_prefix("ref(").and_then(|name| self.facts.constant(name.trim_end_matches(')')));
            let default = constant.unwrap_or(default);
            if serde_json::from_str::<Value>(default).is_ok() {
                attributes.push(format!("default={}", default.replace(' ', "\u{a0}")));
            } else {
                eprintln!("default is no JSON: {default}");
            }
        }
        attributes
    }
}

fn list_row(name: &str, ty: String, tag: u32) -> Row {
    Row { name: name.into(), ty, attributes: vec![format!("tag={tag}")] }
}

fn type_meta() -> Vec<Row> {
    ["kind", "apiVersion"]
        .map(|name| Row { name: name.into(), ty: "string".into(), attributes: Vec::new() })
        .into()
}

fn is_struct_scalar(ty: &str) -> bool {
    !matches!(ty, "string" | "bool" | "int32" | "int64" | "double" | "bytes")
        && !ty.starts_with(['[', '{', '#'])
}

/// `[]v1.Protocol` for `[]core.v1.Protocol`.
fn short_go(go_type: &str) -> String {
    let mut text = String::new();
    let mut word = String::new();
    for c in go_type.chars().chain(['\0']) {
        if c.is_alphanumeric() || c == '.' || c == '_' || c == '-' {
            word.push(c);
            continue;
        }
        let parts: Vec<&str> = word.rsplitn(3, '.').collect();
        match parts.as_slice() {
            [name, package, ..] => {
                let _ = write!(text, "{package}.{name}");
            }
            _ => text.push_str(&word),
        }
        word.clear();
        if c != '\0' {
            text.push(c);
        }
    }
    text
}

fn table_type(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return special(reference).map_or_else(|| format!("#{reference}"), Into::into);
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("byte")) => "bytes".into(),
        (Some("string"), _) => "string".into(),
        (Some("boolean"), _) => "bool".into(),
        (Some("integer"), Some("int32")) => "int32".into(),
        (Some("integer"), _) => "int64".into(),
        (Some("number"), _) => "double".into(),
        (Some("array"), _) => format!("[]{}", table_type(&schema["items"])),
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            format!("{{}}{}", table_type(&schema["additionalProperties"]))
        }
        _ => "any".into(),
    }
}

fn flat(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

fn camel(name: &str) -> String {
    let mut text = String::new();
    for (i, part) in name.split('_').enumerate() {
        let mut chars = part.chars();
        match chars.next() {
            Some(first) if i > 0 => {
                text.push(first.to_ascii_uppercase());
                text.push_str(chars.as_str());
            }
            _ => text.push_str(part),
        }
    }
    text
}

fn render(types: &Types) -> String {
    let mut text = String::from(
        "# Generated by `cargo run -p vkube-schema-gen`; do not edit.\n\
         # A definition, its fields in Go's order, their types and attributes.\n",
    );
    for (name, (attributes, rows)) in types {
        let _ = write!(text, "\n{name}");
        for attribute in attributes {
            let _ = write!(text, " {attribute}");
        }
        text.push('\n');
        for row in rows {
            let _ = write!(text, "  {} {}", row.name, row.ty);
            for attribute in &row.attributes {
                let _ = write!(text, " {attribute}");
            }
            text.push('\n');
        }
    }
    text
}
