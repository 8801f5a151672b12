// Literals read best where they are passed on.
#![allow(clippy::needless_pass_by_value)]

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::schema::types::{CustomListType, Form, Node, Scalar};

mod applying;
mod laws;
mod updating;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn request<'a>(definition: &str, api_version: &'a str, kind: &'a str) -> Request<'a> {
    Request {
        manager: "alice",
        api_version,
        kind,
        subresource: "",
        ty: Type::builtin(definition).unwrap(),
        now: at(0),
        reset: &Reset::NONE,
        convert: None,
    }
}

fn config_maps<'a>() -> Request<'a> {
    request("io.k8s.api.core.v1.ConfigMap", "v1", "ConfigMap")
}

fn services<'a>() -> Request<'a> {
    Request { reset: &Reset::Fields(&["status"]), ..request("io.k8s.api.core.v1.Service", "v1", "Service") }
}

fn deployments<'a>() -> Request<'a> {
    Request {
        reset: &Reset::Fields(&["status"]),
        ..request("io.k8s.api.apps.v1.Deployment", "apps/v1", "Deployment")
    }
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

/// A live object, as if the store had answered.
fn stored(mut object: Value) -> Value {
    object["metadata"]["uid"] = "1".into();
    object
}

/// What each manager owns: `alice Apply` → paths.
fn owners(object: &Value) -> BTreeMap<String, Vec<String>> {
    let managers = managers::decode(object).unwrap();
    let shown = managers.into_iter().map(|(id, owned)| {
        let mut paths = Vec::new();
        owned.set.for_each(&mut |path| paths.push(path.iter().map(ToString::to_string).collect::<String>()));
        paths.sort();
        let name = format!("{} {:?} {}", id.manager, id.operation, id.subresource);
        (name.trim().to_owned(), paths)
    });
    shown.collect()
}

fn owns(object: &Value, manager: &str) -> Vec<String> {
    owners(object).remove(manager).unwrap_or_default()
}

fn times(object: &Value) -> Vec<(String, Option<String>)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, name: &str| entry[name].as_str().map(str::to_owned);
    entries.iter().map(|entry| (text(entry, "manager").unwrap(), text(entry, "time"))).collect()
}

fn node(form: Form) -> Node {
    Node { form, ..Node::default() }
}

fn fields(fields: Vec<(&str, Node)>) -> Node {
    let fields = fields.into_iter().map(|(name, node)| (name.to_owned(), node)).collect();
    node(Form::Object { fields, required: Vec::new(), map_type: None })
}

/// The schema of a custom resource with a list of each sort.
fn widget_schema() -> Node {
    let port = fields(vec![
        ("port", node(Form::Scalar(Scalar::Int32))),
        ("proto", Node { default: Some("TCP".into()), ..node(Form::Scalar(Scalar::String)) }),
    ]);
    let list = |items, list_type| node(Form::List { items: Box::new(items), list_type });
    let text = || node(Form::Scalar(Scalar::String));
    fields(vec![
        ("apiVersion", text()),
        ("kind", text()),
        ("metadata", fields(vec![("name", text()), ("uid", text()), ("managedFields", node(Form::Any))])),
        (
            "spec",
            fields(vec![
                ("size", node(Form::Scalar(Scalar::Int32))),
                ("on", node(Form::Scalar(Scalar::Boolean))),
                ("tags", list(text(), CustomListType::Set)),
                ("plain", list(text(), CustomListType::Atomic)),
                ("ports", list(port, CustomListType::Map(vec!["port".into()]))),
                ("labels", node(Form::Map { values: Box::new(text()), map_type: None })),
                ("free", Node { preserve_unknown: true, ..node(Form::Any) }),
            ]),
        ),
    ])
}

fn widgets(schema: &Node) -> Request<'_> {
    Request { ty: Type::Custom(schema), api_version: "x.dev/v1", kind: "Widget", ..config_maps() }
}

fn widget(spec: Value) -> Value {
    json!({"apiVersion": "x.dev/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

#[test]
fn a_no_op_keeps_its_times() {
    let entry = |time: &str| {
        json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}})
    };
    let object =
        |time: &str, value: &str| json!({"metadata": {"managedFields": [entry(time)]}, "data": {"a": value}});
    let mut same = object("later", "1");
    keep_times(&object("before", "1"), &mut same);
    assert_eq!(same, object("before", "1"));
    let mut changed = object("later", "2");
    keep_times(&object("before", "1"), &mut changed);
    assert_eq!(changed, object("later", "2"));
}

#[test]
fn entries_that_cannot_be_read_say_why() {
    let why =
        |entry: Value| validate(&json!({"metadata": {"managedFields": [entry]}})).unwrap_err().to_string();
    assert_eq!(why(json!({})), "operation must be `Apply` or `Update`");
    assert_eq!(why(json!({"operation": "Update"})), "apiVersion must not be empty");
    assert_eq!(
        why(json!({"operation": "Update", "apiVersion": "v1"})),
        "missing fieldsType in managed fields entry 0"
    );
    assert_eq!(
        why(json!({"operation": "Update", "apiVersion": "v1", "fieldsType": "V2"})),
        "invalid fieldsType \"V2\" in managed fields entry 0"
    );
}

#[test]
fn all_but_some_fields_can_be_reset() {
    let resized = Reset::AllBut(&["spec.containers.*.resources", "status"]);
    let mut set = Set::from_value(&json!({
        "f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:resources": {"f:limits": {}}}},
            "f:nodeName": {}},
        "f:status": {"f:phase": {}}}))
    .unwrap();
    resized.apply(&mut set);
    assert_eq!(
        set.to_value(),
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:resources": {"f:limits": {}}}}},
            "f:status": {"f:phase": {}}})
    );
}

#[test]
fn ownership_of_replicas_moves_between_an_object_and_its_scale() {
    let entry = |manager: &str, fields: Value| {
        json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": "2024-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    let mut parent = json!({"metadata": {"managedFields": [
        entry("a", json!({"f:spec": {"f:replicas": {}, "f:paused": {}}})),
        entry("b", json!({"f:spec": {"f:selector": {}}}))]}});
    let mut scale =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {}, "spec": {"replicas": 1}});
    scale::to_scale(&parent, &mut scale, "spec.replicas").unwrap();
    assert_eq!(owners(&scale), BTreeMap::from([("a Update".into(), vec![".spec.replicas".into()])]));

    let mut scaled = scale.clone();
    scaled["spec"]["replicas"] = 5.into();
    let scaling = Request {
        manager: "hpa",
        subresource: "scale",
        ..request("io.k8s.api.autoscaling.v1.Scale", "autoscaling/v1", "Scale")
    };
    on_update(Some(&stored(scale)), &mut scaled, &scaling);
    scale::to_parent(&mut parent, &scaled, "apps/v1", "spec.replicas").unwrap();
    assert_eq!(
        owners(&parent),
        BTreeMap::from([
            ("a Update".into(), vec![".spec.paused".into()]),
            ("b Update".into(), vec![".spec.selector".into()]),
            ("hpa Update scale".into(), vec![".spec.replicas".into()]),
        ])
    );
}
