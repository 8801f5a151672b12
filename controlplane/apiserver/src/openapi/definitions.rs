//! Definitions of built-in types.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Flavor, META, prose::Prose};
use crate::schema::{
    table::AnyForm,
    types::{Field, Keys, ListType, MapType, Scalar, Shape, Type},
};

/// The groups and versions at which the kinds of every group (such as `DeleteOptions`) are known.
const EVERY_VERSION: &str = "/v1 admission.k8s.io/v1 admission.k8s.io/v1beta1 \
    admissionregistration.k8s.io/v1 admissionregistration.k8s.io/v1alpha1 admissionregistration.k8s.io/v1beta1 \
    apiextensions.k8s.io/v1 apiextensions.k8s.io/v1beta1 apiregistration.k8s.io/v1 \
    apiregistration.k8s.io/v1beta1 apps/v1 apps/v1beta1 apps/v1beta2 authentication.k8s.io/v1 \
    authentication.k8s.io/v1alpha1 authentication.k8s.io/v1beta1 authorization.k8s.io/v1 \
    authorization.k8s.io/v1beta1 autoscaling/v1 autoscaling/v2 batch/v1 batch/v1beta1 certificates.k8s.io/v1 \
    certificates.k8s.io/v1alpha1 certificates.k8s.io/v1beta1 coordination.k8s.io/v1 \
    coordination.k8s.io/v1alpha2 coordination.k8s.io/v1beta1 discovery.k8s.io/v1 discovery.k8s.io/v1beta1 \
    events.k8s.io/v1 events.k8s.io/v1beta1 extensions/v1beta1 flowcontrol.apiserver.k8s.io/v1 \
    flowcontrol.apiserver.k8s.io/v1beta1 flowcontrol.apiserver.k8s.io/v1beta2 \
    flowcontrol.apiserver.k8s.io/v1beta3 imagepolicy.k8s.io/v1alpha1 internal.apiserver.k8s.io/v1alpha1 \
    networking.k8s.io/v1 networking.k8s.io/v1beta1 node.k8s.io/v1 node.k8s.io/v1alpha1 node.k8s.io/v1beta1 \
    policy/v1 policy/v1beta1 rbac.authorization.k8s.io/v1 rbac.authorization.k8s.io/v1alpha1 \
    rbac.authorization.k8s.io/v1beta1 resource.k8s.io/v1 resource.k8s.io/v1alpha3 resource.k8s.io/v1beta1 \
    resource.k8s.io/v1beta2 scheduling.k8s.io/v1 scheduling.k8s.io/v1alpha2 scheduling.k8s.io/v1beta1 \
    storage.k8s.io/v1 storage.k8s.io/v1alpha1 storage.k8s.io/v1beta1 storagemigration.k8s.io/v1beta1";

/// The definitions that `name` refers to, itself included.
pub fn reachable(name: &str, found: &mut BTreeSet<String>) {
    if !found.insert(name.to_owned()) {
        return;
    }
    let Some(Shape::Object(object)) = Type::builtin(name).map(Type::shape) else { return };
    for field in object.fields() {
        if let Some(inner) = referred(name, field, field.ty()) {
            reachable(inner, found);
        }
    }
    if name == SCHEMA_PROPS {
        for union in UNIONS {
            found.insert((*union).to_owned());
        }
    }
}

const APIEXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";
const SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
const UNIONS: &[&str] = &[
    JSON,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
];
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const DURATION: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration";
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const FIELDS_V1: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The definition that a field's value, or its items, refer to. Which one raw JSON is depends on the field.
fn referred(owner: &str, field: Field<'_>, ty: Type<'_>) -> Option<&'static str> {
    match ty.shape() {
        Shape::Object(_) => ty.name(),
        Shape::Map(map) => referred(owner, field, map.values()),
        Shape::List(list) => referred(owner, field, list.items()),
        Shape::Any => Some(match ty.any_form() {
            AnyForm::Raw if owner.starts_with(APIEXTENSIONS) => JSON,
            AnyForm::Raw if field.name() == "fieldsV1" => FIELDS_V1,
            AnyForm::Raw => RAW_EXTENSION,
            AnyForm::SchemaOrArray => UNIONS[1],
            AnyForm::SchemaOrBool => UNIONS[2],
            AnyForm::SchemaOrStrings => UNIONS[3],
        }),
        Shape::Scalar(scalar) => match scalar {
            Scalar::Quantity => Some(QUANTITY),
            Scalar::IntOrString => Some(INT_OR_STRING),
            Scalar::Time => Some(TIME),
            Scalar::MicroTime => Some(MICRO_TIME),
            Scalar::Duration => Some(DURATION),
            _ => None,
        },
    }
}

/// The group and version of a module's kinds, for those that are served.
pub type Groups<'a> = [(String, &'a str, &'a str)];

/// A definition of the table, or of one of the types that it has as scalars.
pub fn definition(name: &str, flavor: Flavor, groups: &Groups<'_>, prose: &Prose<'_>) -> Value {
    let mut body = match Type::builtin(name).map(|ty| (ty, ty.shape())) {
        Some((_, Shape::Object(_))) => object(name, flavor, prose),
        _ => special(name, flavor),
    };
    if let Some(text) = prose.definition(name) {
        body.insert("description".into(), text.into());
    } else if let Some(kind) = name.strip_suffix("List") {
        let kind = kind.rsplit('.').next().unwrap_or_default();
        body.insert("description".into(), format!("{kind}List is a list of {kind} objects.").into());
    }
    if let Some(kinds) = kinds(name, groups) {
        body.insert("x-kubernetes-group-version-kind".into(), kinds);
    }
    Value::Object(body)
}

fn special(name: &str, flavor: Flavor) -> Map<String, Value> {
    let body = match (name, flavor) {
        (QUANTITY, Flavor::V2) | (DURATION, _) => json!({"type": "string"}),
        (QUANTITY, Flavor::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        (INT_OR_STRING, Flavor::V2) => json!({"type": "string", "format": "int-or-string"}),
        (INT_OR_STRING, Flavor::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        (TIME | MICRO_TIME, _) => json!({"type": "string", "format": "date-time"}),
        (RAW_EXTENSION | FIELDS_V1 | PATCH, _) => json!({"type": "object"}),
        _ => json!({}),
    };
    match body {
        Value::Object(body) => body,
        _ => Map::new(),
    }
}

fn object(name: &str, flavor: Flavor, prose: &Prose<'_>) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("type".into(), "object".into());
    let Some(Shape::Object(described)) = Type::builtin(name).map(Type::shape) else { return body };
    let mut properties = Map::new();
    let mut required: Vec<(u8, &str)> = Vec::new();
    for field in described.fields() {
        let mut schema = property(name, field, flavor);
        if let Some(text) = prose.field(name, field.name()) {
            schema.insert("description".into(), text.into());
        }
        properties.insert(field.name().into(), Value::Object(schema));
        if field.required() {
            required.push((field.order(), field.name()));
        }
    }
    if !properties.is_empty() {
        body.insert("properties".into(), Value::Object(properties));
    }
    required.sort_unstable();
    if !required.is_empty() {
        body.insert("required".into(), required.into_iter().map(|(_, name)| name).collect());
    }
    if described.map_type() == MapType::Atomic {
        body.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    body
}

fn property(owner: &str, field: Field<'_>, flavor: Flavor) -> Map<String, Value> {
    let ty = field.ty();
    let mut schema = match (reference(owner, field, ty), flavor) {
        // Beside a reference, version 3 allows nothing, hence `allOf`.
        (Some(name), Flavor::V3) => {
            Map::from_iter([("allOf".to_owned(), Value::Array(vec![flavor.reference(name)]))])
        }
        (Some(name), Flavor::V2) => match flavor.reference(name) {
            Value::Object(reference) => reference,
            _ => Map::new(),
        },
        (None, _) => plain(owner, field, ty, flavor),
    };
    if flavor == Flavor::V3
        && let Some(default) = default(field)
    {
        schema.insert("default".into(), default);
    }
    extensions(field, &mut schema);
    schema
}

/// The definition that a value itself refers to.
fn reference(owner: &str, field: Field<'_>, ty: Type<'_>) -> Option<&'static str> {
    match ty.shape() {
        Shape::List(_) | Shape::Map(_) => None,
        _ => referred(owner, field, ty),
    }
}

fn plain(owner: &str, field: Field<'_>, ty: Type<'_>, flavor: Flavor) -> Map<String, Value> {
    let mut schema = Map::new();
    match ty.shape() {
        Shape::Map(map) => {
            schema.insert("type".into(), "object".into());
            schema.insert("additionalProperties".into(), element(owner, field, map.values(), flavor));
        }
        Shape::List(list) => {
            schema.insert("type".into(), "array".into());
            schema.insert("items".into(), element(owner, field, list.items(), flavor));
        }
        Shape::Scalar(scalar) => {
            let (name, format) = match scalar {
                Scalar::Boolean => ("boolean", None),
                Scalar::Int32 => ("integer", Some("int32")),
                Scalar::Int64 => ("integer", Some("int64")),
                Scalar::Double => ("number", Some("double")),
                Scalar::Bytes => ("string", Some("byte")),
                _ => ("string", None),
            };
            schema.insert("type".into(), name.into());
            if let Some(format) = format {
                schema.insert("format".into(), format.into());
            }
            if let (Scalar::String, Some(values)) = (scalar, field.values()) {
                schema.insert("enum".into(), values.collect());
            }
        }
        Shape::Object(_) | Shape::Any => {}
    }
    schema
}

fn element(owner: &str, field: Field<'_>, ty: Type<'_>, flavor: Flavor) -> Value {
    match reference(owner, field, ty) {
        Some(name) => flavor.reference(name),
        None => Value::Object(plain(owner, field, ty, flavor)),
    }
}

/// The default of version 3: the declared one, or Go's zero of a value that is always there.
fn default(field: Field<'_>) -> Option<Value> {
    if let Some(declared) = field.default() {
        return Some(declared);
    }
    if field.pointer() || !field.always() {
        return None;
    }
    match field.ty().shape() {
        Shape::Object(_) => Some(json!({})),
        Shape::Scalar(Scalar::String) => Some("".into()),
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double) => Some(0.into()),
        Shape::Scalar(Scalar::Boolean) => Some(false.into()),
        _ => None,
    }
}

fn extensions(field: Field<'_>, schema: &mut Map<String, Value>) {
    match field.ty().shape() {
        Shape::List(list) => match list.list_type() {
            ListType::Atomic if field.atomic() => {
                schema.insert("x-kubernetes-list-type".into(), "atomic".into());
            }
            ListType::Atomic | ListType::Map(Keys::Custom(_)) => {}
            ListType::Set => {
                schema.insert("x-kubernetes-list-type".into(), "set".into());
            }
            ListType::Map(Keys::Builtin(keys)) => {
                schema.insert("x-kubernetes-list-type".into(), "map".into());
                schema.insert("x-kubernetes-list-map-keys".into(), keys.split(',').collect());
            }
        },
        Shape::Map(_) | Shape::Object(_) if field.atomic() => {
            schema.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        _ => {}
    }
    let patch = field.patch();
    if let Some(key) = patch.merge_key {
        schema.insert("x-kubernetes-patch-merge-key".into(), key.into());
    }
    let strategy = match (patch.merge, patch.retain_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => return,
    };
    schema.insert("x-kubernetes-patch-strategy".into(), strategy.into());
}

/// The kinds that a definition is of.
fn kinds(name: &str, groups: &Groups<'_>) -> Option<Value> {
    let Some(Shape::Object(object)) = Type::builtin(name).map(Type::shape) else { return None };
    let is_kind = |field: &str| object.field(field).is_some_and(|f| f.tag() == 0);
    let entry =
        |group: &str, version: &str, kind: &str| json!({"group": group, "kind": kind, "version": version});
    if let Some(kind) = name.strip_prefix(META) {
        return match kind {
            "DeleteOptions" | "WatchEvent" => {
                let versions = EVERY_VERSION.split_whitespace().filter_map(|gv| gv.split_once('/'));
                Some(versions.map(|(group, version)| entry(group, version, kind)).collect())
            }
            "Status" | "APIGroup" | "APIGroupList" | "APIResourceList" | "APIVersions" => {
                Some(json!([entry("", "v1", kind)]))
            }
            _ => None,
        };
    }
    if !is_kind("kind") || !is_kind("apiVersion") {
        return None;
    }
    let (module, kind) = name.rsplit_once('.')?;
    let (_, group, version) = groups.iter().find(|(m, ..)| m.trim_end_matches('.') == module)?;
    Some(json!([entry(group, version, kind)]))
}
