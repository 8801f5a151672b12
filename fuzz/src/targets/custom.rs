//! Definitions of custom resources: judged, compiled, and objects of them read, judged and shown.

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};
use vkube_apiserver::{
    custom::{CustomResource, compile::compile},
    registry::{Resource, kind::Kind},
    resource::Definition,
    schema::{decode, defaults, types::Type},
};

const NAMES: &[&str] = &["a", "b-c", "spec", "status", "metadata", "name", "replicas", "in", "x.y/z"];

const RULES: &[&str] = &[
    "self.a == oldSelf.a",
    "self.all(x, x.a > 1)",
    "has(self.a) ? self.a.size() < 3 : true",
    "self.b__dash__c.matches('^a+$') && self.__in__ == 1",
    "self.map(x, x.name).exists(n, n == 'a')",
    "self == oldSelf || self.a + self.a != self.spec",
    "oldSelf.hasValue() && self.a.exists(k, v, k == v)",
    "self.metadata.name.startsWith('a') && self.?status.?a.orValue('') == self.kind",
    "duration(self) < duration('5m') && quantity(self.a).isGreaterThan(quantity('1'))",
    "self.filter(x, x.a in ['a', 'b']).size() == self.spec.replicas",
];

const PATHS: &[&str] =
    &[".spec.a", ".a", ".status.replicas", ".spec.a[0].b", ".metadata.creationTimestamp", "a["];

/// A schema, now and then a wrong one.
fn schema(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    const TYPES: &[&str] = &["object", "object", "array", "string", "integer", "number", "boolean", "x"];
    const FORMATS: &[&str] = &["date-time", "duration", "byte", "int64", "date", "ipv4", "x"];
    const LISTS: &[&str] = &["atomic", "set", "map"];
    let kind = *u.choose(if depth == 0 { &TYPES[3..] } else { TYPES })?;
    let mut schema = json!({"type": kind});
    match kind {
        "object" if u.ratio(1, 4)? => schema["additionalProperties"] = self::schema(u, depth - 1)?,
        "object" => {
            let count = u.int_in_range(0..=3)?;
            let fields =
                (0..count).map(|_| Ok(((*u.choose(NAMES)?).to_owned(), self::schema(u, depth - 1)?)));
            schema["properties"] = fields.collect::<Result<Map<_, _>>>()?.into();
            if u.ratio(1, 4)? {
                schema["required"] = json!([u.choose(NAMES)?]);
            }
        }
        "array" => {
            schema["items"] = self::schema(u, depth - 1)?;
            schema["x-kubernetes-list-type"] = (*u.choose(LISTS)?).into();
            if u.ratio(1, 3)? {
                schema["x-kubernetes-list-map-keys"] = json!([u.choose(NAMES)?]);
                schema["maxItems"] = u.int_in_range(-1..=20)?.into();
            }
        }
        _ => schema["format"] = (*u.choose(FORMATS)?).into(),
    }
    for _ in 0..u.int_in_range(0..=2)? {
        let (field, value) = match u.int_in_range(0..=13)? {
            0 => ("x-kubernetes-validations", rules(u)?),
            1 => ("nullable", true.into()),
            2 => ("default", crate::any(u, 2)?),
            3 => ("enum", json!([crate::any(u, 1)?, "a"])),
            4 => ("x-kubernetes-preserve-unknown-fields", true.into()),
            5 => ("x-kubernetes-int-or-string", true.into()),
            6 => ("x-kubernetes-embedded-resource", true.into()),
            7 => ("maxLength", u.int_in_range(-1..=70)?.into()),
            8 => ("pattern", crate::text(u)?.into()),
            9 => ("anyOf", json!([self::schema(u, depth.saturating_sub(1))?, {"required": ["a"]}])),
            10 => ("not", self::schema(u, depth.saturating_sub(1))?),
            11 => ("x-kubernetes-map-type", (*u.choose(&["atomic", "granular"])?).into()),
            12 => ("maxProperties", u.int_in_range(-1..=9)?.into()),
            _ => ("multipleOf", crate::any(u, 0)?),
        };
        schema[field] = value;
    }
    Ok(schema)
}

fn rules(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut rule = json!({"rule": u.choose(RULES)?});
    if u.arbitrary()? {
        rule["messageExpression"] = (*u.choose(&["'a' + self.a", "self", "string(self.size())"])?).into();
    }
    if u.arbitrary()? {
        rule["fieldPath"] = (*u.choose(&[".a", ".b-c", "['x.y/z'].a"])?).into();
    }
    if u.arbitrary()? {
        rule["optionalOldSelf"] = true.into();
    }
    Ok(json!([rule]))
}

fn definition(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut root = schema(u, 4)?;
    if u.ratio(9, 10)? {
        root = json!({"type": "object", "properties": {"spec": root, "status": schema(u, 2)?}});
    }
    if u.ratio(1, 4)? {
        root["x-kubernetes-validations"] = rules(u)?;
    }
    let mut path = || u.choose(PATHS).copied();
    let (column, selectable, spec, status) = (path()?, path()?, path()?, path()?);
    let kind = *u.choose(&["date", "integer", "string", "number", "boolean"])?;
    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": root},
        "subresources": {"status": {}, "scale": {"specReplicasPath": spec, "statusReplicasPath": status}},
        "additionalPrinterColumns": [{"name": "c", "type": kind, "jsonPath": column}],
        "selectableFields": [{"jsonPath": selectable}],
    });
    let names = json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"});
    Ok(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }))
}

/// An object with names of the schema in it.
fn object(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    if depth == 0 || u.ratio(1, 3)? {
        return crate::any(u, 1);
    }
    if u.ratio(1, 3)? {
        let count = u.int_in_range(0..=3)?;
        return Ok((0..count).map(|_| object(u, depth - 1)).collect::<Result<Vec<_>>>()?.into());
    }
    let count = u.int_in_range(0..=4)?;
    let fields = (0..count).map(|_| Ok(((*u.choose(NAMES)?).to_owned(), object(u, depth - 1)?)));
    Ok(fields.collect::<Result<Map<_, _>>>()?.into())
}

fn whole(u: &mut Unstructured<'_>, resource: &Arc<CustomResource>) -> Result<Option<Value>> {
    let mut value = json!({"spec": object(u, 4)?, "status": object(u, 2)?});
    value["apiVersion"] = "example.com/v1".into();
    value["kind"] = "Thing".into();
    value["metadata"] = json!({"name": "a"});
    let definition = Definition::Custom(resource.clone());
    let Ok(ty) = definition.ty() else { return Ok(None) };
    let Ok((mut value, _)) = decode::decode(value, ty) else { return Ok(None) };
    defaults::apply_defaults(&mut value, ty);
    Ok(Some(value))
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let wanted = definition(u)?;
    let Some(definitions) = Resource::find("apiextensions.k8s.io", "v1", "customresourcedefinitions") else {
        return Ok(());
    };
    let Some(ty) = Type::builtin(definitions.type_name) else { return Ok(()) };
    let Ok((definition, _)) = decode::decode(wanted, ty) else { return Ok(()) };
    // What is not accepted is never compiled.
    let errors = definitions.kind_rules.validate(&definition);
    if errors.0.iter().any(|error| !error.to_string().starts_with("status.storedVersions")) {
        return Ok(());
    }
    for resource in compile(&definition, &definition["spec"]["names"], 1) {
        let (Some(old), Some(new)) = (whole(u, &resource)?, whole(u, &resource)?) else { continue };
        let first = Kind::validate(&*resource, &new);
        assert_eq!(Kind::validate(&*resource, &new), first, "{definition} {new}");
        Kind::validate_update(&*resource, &new, &old);
        Kind::validate_status_update(&*resource, &new, &old);
        Kind::cells(&*resource, &new, jiff::Timestamp::UNIX_EPOCH);
        Kind::field_values(&*resource, &new);
    }
    Ok(())
}

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}
