//! Plays recorded conversations with a real server through the rules of the kinds, without a server:
//! decode, default, prepare, validate, show. Admission, allocation and metadata are the engine's and are
//! left out of the comparison. Says so and passes where the recordings are not there.

mod compare;
mod recordings;

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Resource;
use super::access::{at, get, has, int_at, list_at, make_map, remove, set, set_default, str_at};
use super::kind::Writer;
use crate::schema::types::Type;
use crate::schema::{decode, defaults};
use compare::{forget_the_engine, includes, matches};
use recordings::scenarios;

const UID: &str = "11111111-2222-3333-4444-000000000000";

/// Warnings that are not of a kind.
const WARNINGS_OF_THE_ENGINE: &[&str] = &[
    "unknown field",
    "duplicate field",
    "already set in map",
    "would violate PodSecurity",
    "is deprecated in v1.33+",
    "ownerReferences",
    "child pods are preserved",
    "Validation failed for",
];

/// What the allocator of services or admission does, not a kind.
const OF_OTHERS: &[&str] = &[
    "services/clusterIP out of range",
    "services/ipv6 on ipv4",
    "services/RequireDualStack",
    "services/nodePort out of range",
    "explicit-allocation/same IP again",
    "explicit-allocation/same node port again",
    "explicit-allocation/same port twice in one service",
    "explicit-allocation/network address",
    "explicit-allocation/outside the range",
    "explicit-allocation/broadcast address",
    "families/RequireDualStack",
    "families/IPv6 only",
    "families/two families",
    "families/IPv6 address",
    "families/upgrade to require",
    "nodes/cordon",
];

/// A scenario's state: objects by their path.
#[derive(Default)]
struct World {
    objects: BTreeMap<String, Value>,
    mismatches: Vec<String>,
    compared: usize,
}

/// What a path of the API names.
struct Target {
    resource: &'static Resource,
    namespace: Option<String>,
    name: Option<String>,
    subresource: String,
}

fn target(path: &str) -> Option<Target> {
    let path = path.split('?').next()?;
    let mut parts = path.trim_start_matches('/').split('/');
    let (group, version) = match parts.next()? {
        "api" => ("", parts.next()?),
        "apis" => (parts.next()?, parts.next()?),
        _ => return None,
    };
    let rest: Vec<&str> = parts.collect();
    let (namespace, rest) = match rest.as_slice() {
        ["namespaces", namespace, rest @ ..]
            if !rest.is_empty() && !["status", "finalize"].contains(&rest[0]) =>
        {
            (Some((*namespace).to_owned()), rest)
        }
        rest => (None, rest),
    };
    Some(Target {
        resource: Resource::find(group, version, rest.first()?)?,
        namespace,
        name: rest.get(1).map(ToString::to_string),
        subresource: rest.get(2).map(ToString::to_string).unwrap_or_default(),
    })
}

/// The object in the form that it is stored in, with that form's resource; and back.
fn convert(resource: &'static Resource, object: Value, store: bool) -> (&'static Resource, Value) {
    use super::autoscaling::conversion as hpa;
    let Some((group, version)) = resource.stored_as else { return (resource, object) };
    if resource.kind == "Event" {
        return (resource, object);
    }
    let stored = Resource::find(group, version, resource.plural).unwrap();
    let convert = if store { hpa::v1_to_v2 } else { hpa::v2_to_v1 };
    (stored, convert(object))
}

static EXTRA: BTreeMap<String, Vec<String>> = BTreeMap::new();

fn writer() -> Writer<'static> {
    static GROUPS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let groups = GROUPS.get_or_init(|| vec!["system:masters".into(), "system:authenticated".into()]);
    Writer { user: "admin", uid: "admin-uid", groups, extra: &EXTRA, now: Timestamp::now(), dry_run: false }
}

fn decoded(resource: &Resource, body: Value) -> Result<Value, String> {
    let ty = Type::builtin(resource.type_name).ok_or_else(|| format!("no type {}", resource.type_name))?;
    let (mut object, _) = decode::decode(body, ty).map_err(|error| error.to_string())?;
    defaults::apply_defaults(&mut object, ty);
    resource.kind_rules.default(&mut object);
    Ok(object)
}

/// What the engine does around the kind when an object is created.
fn created(target: &Target, object: Value) -> (Value, crate::field::Errors) {
    let (resource, mut object) = convert(target.resource, object, true);
    if let Some(namespace) = &target.namespace {
        set(&mut object, "/metadata/namespace", namespace.as_str());
    }
    set(&mut object, "/metadata/uid", UID);
    set(&mut object, "/metadata/creationTimestamp", "2024-01-01T00:00:00Z");
    if !resource.kind_rules.generation_fields().is_empty() {
        set(&mut object, "/metadata/generation", 1);
    }
    if resource.subresource("status").is_some() && !resource.kind_rules.status_on_create() {
        remove(&mut object, "/status");
    }
    if has(&object, "/metadata/generateName") && !has(&object, "/metadata/name") {
        let name = format!("{}12345", str_at(&object, "/metadata/generateName"));
        set(&mut object, "/metadata/name", name);
    }
    if resource.kind == "Pod" {
        set_default(&mut object, "/spec/serviceAccountName", "default");
    }
    resource.kind_rules.prepare_create(&mut object, &writer());
    let errors = resource.kind_rules.validate(&object);
    (convert(target.resource, object, false).1, errors)
}

impl World {
    fn store(&mut self, key: String, target: &Target, mut object: Value) {
        if target.resource.plural == "services" {
            allocate(&mut object);
        }
        let of_events = target.resource.group == "events.k8s.io";
        let stored = if of_events { super::events::conversion::events_to_core(object) } else { object };
        self.objects.insert(key, stored);
    }

    fn compare(&mut self, step: &str, what: &str, expected: &Value, actual: &Value) {
        self.compared += 1;
        if !matches(expected, actual) {
            self.mismatches.push(format!("{step}: {what}\n  want {expected}\n  got  {actual}"));
        }
    }

    fn play(&mut self, scenario: &Path, step: &Value) {
        let file = scenario.file_stem().unwrap().to_string_lossy();
        let label = format!("{file}/{}", str_at(step, "/name"));
        if OF_OTHERS.contains(&label.as_str()) {
            return;
        }
        let Some(target) = target(str_at(step, "/path")) else { return };
        if ["/headers", "/as"].iter().any(|other| has(step, other)) {
            return;
        }
        let body = at(step, "/body").clone();
        match str_at(step, "/method") {
            "POST" if target.name.is_none() && body.is_object() => self.post(&label, &target, body, step),
            "PATCH" | "PUT" if target.name.is_some() => self.change(&label, &target, &body, step),
            "DELETE" => {
                if let Some(name) = &target.name {
                    self.objects.remove(&key(&target, name));
                }
            }
            "GET" if str_at(step, "/accept").contains("as=Table") => self.list(&label, &target, step),
            _ => {}
        }
    }

    fn post(&mut self, label: &str, target: &Target, body: Value, step: &Value) {
        let status = int_at(step, "/expect/status");
        let object = match decoded(target.resource, body) {
            Ok(object) => object,
            Err(error) => {
                if status == 201 {
                    self.mismatches.push(format!("{label}: {error}"));
                }
                return;
            }
        };
        let (object, errors) = created(target, object);
        if status == 422 {
            self.compare_causes(label, &errors, step);
        } else if matches!(status, 0 | 201) {
            if status == 201 {
                self.compare_written(label, target, &object, &errors, step);
            }
            self.compare_warnings(label, target, &object, None, step);
            let name = str_at(&object, "/metadata/name").to_owned();
            self.store(key(target, &name), target, object);
        }
    }

    fn change(&mut self, label: &str, target: &Target, body: &Value, step: &Value) {
        let status = int_at(step, "/expect/status");
        let key = key(target, target.name.as_deref().unwrap_or_default());
        let Some(mut old) = self.objects.get(&key).cloned() else { return };
        if target.resource.group == "events.k8s.io" {
            old = super::events::conversion::core_to_events(old);
        }
        let mut object = old.clone();
        if str_at(step, "/method") == "PUT" {
            object = body.clone();
        } else if str_at(step, "/content_type") == "application/merge-patch+json" {
            merge(&mut object, body);
        } else {
            return;
        }
        let Ok(object) = decoded(target.resource, object) else { return };
        let (stored, mut object) = convert(target.resource, object, true);
        let old = convert(target.resource, old, true).1;
        let rules = stored.kind_rules;
        for field in
            ["/metadata/uid", "/metadata/creationTimestamp", "/metadata/generation", "/metadata/namespace"]
        {
            super::access::restore(&mut object, &old, field);
        }
        let errors = match target.subresource.as_str() {
            "status" => {
                let new_status = at(&object, "/status").clone();
                let metadata = at(&object, "/metadata").clone();
                object = old.clone();
                set(&mut object, "/metadata", metadata);
                set(&mut object, "/status", new_status);
                rules.prepare_status_write(&mut object, &old, &writer());
                rules.validate_status_update(&object, &old)
            }
            "" => {
                if target.resource.subresource("status").is_some() {
                    super::access::restore(&mut object, &old, "/status");
                }
                rules.prepare_update(&mut object, &old, &writer());
                if rules.generation_fields().iter().any(|field| object.get(*field) != old.get(*field)) {
                    set(&mut object, "/metadata/generation", int_at(&old, "/metadata/generation") + 1);
                }
                rules.validate_update(&object, &old)
            }
            "scale" => return,
            part => {
                crate::handlers::parts::keep_rest(&mut object, &old, part);
                rules.prepare_part_update(&mut object, &old, part, &writer());
                rules.validate_part_update(&object, &old, part)
            }
        };
        if matches!(status, 0 | 200) && target.subresource.is_empty() {
            self.compare_warnings(label, target, &object, Some(&old), step);
        }
        let object = convert(target.resource, object, false).1;
        if status == 422 {
            self.compare_causes(label, &errors, step);
        } else if matches!(status, 0 | 200) {
            if status == 200 {
                self.compare_written(label, target, &object, &errors, step);
            }
            self.store(key, target, object);
        }
    }

    /// What the real server has written must be without fault here, and the same.
    fn compare_written(
        &mut self,
        label: &str,
        target: &Target,
        object: &Value,
        errors: &crate::field::Errors,
        step: &Value,
    ) {
        let found: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        self.compare(label, "errors", &json!([]), &json!(found));
        self.compare_object(label, target, object.clone(), step);
    }

    fn compare_warnings(
        &mut self,
        label: &str,
        target: &Target,
        object: &Value,
        old: Option<&Value>,
        step: &Value,
    ) {
        if !has(step, "/expect/headers") {
            return;
        }
        let of_kind = |warning: &&str| !WARNINGS_OF_THE_ENGINE.iter().any(|part| warning.contains(part));
        let expected: Vec<String> = list_at(step, "/expect/headers/Warning")
            .iter()
            .filter_map(Value::as_str)
            .filter(of_kind)
            .map(|text| text["299 - \"".len()..text.len() - 1].replace("\\\"", "\""))
            .collect();
        let actual = target.resource.kind_rules.warnings(object, old);
        self.compare(label, "warnings", &json!(expected), &json!(actual));
    }

    /// Some answers are recorded with their message alone.
    fn compare_message(&mut self, label: &str, errors: &crate::field::Errors, step: &Value) {
        let Some(message) = list_at(step, "/expect/body/message").first().and_then(Value::as_str) else {
            return;
        };
        let mut parts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        parts.dedup();
        let actual = match parts.as_slice() {
            [only] => only.clone(),
            parts => format!("[{}]", parts.join(", ")),
        };
        let expected = message.split_once(" is invalid: ").map_or(message, |(_, causes)| causes);
        self.compare(label, "causes", &json!(expected), &json!(actual));
    }

    fn compare_causes(&mut self, label: &str, errors: &crate::field::Errors, step: &Value) {
        if !has(step, "/expect/body/details/causes") {
            return self.compare_message(label, errors, step);
        }
        let of_kind = |field: &str| !field.starts_with("metadata.");
        let expected: Vec<String> = list_at(step, "/expect/body/details/causes")
            .iter()
            .filter(|cause| of_kind(str_at(cause, "/field")))
            .map(|cause| {
                format!(
                    "{} {}: {}",
                    str_at(cause, "/reason"),
                    str_at(cause, "/field"),
                    str_at(cause, "/message")
                )
            })
            .collect();
        let actual: Vec<String> = errors
            .0
            .iter()
            .filter(|error| of_kind(&error.field))
            .map(|error| format!("{} {error}", error.reason.as_str()))
            .collect();
        self.compare(label, "causes", &json!(expected), &json!(actual));
    }

    fn compare_object(&mut self, label: &str, target: &Target, object: Value, step: &Value) {
        let Some(mut expected) = get(step, "/expect/body").cloned() else { return };
        let mut object = object;
        if has(step, "/select") {
            let what = format!("selected fields of {object}");
            return self.compare(label, &what, &json!(true), &json!(includes(&expected, &object)));
        }
        if str_at(&expected, "/kind") != target.resource.kind {
            return;
        }
        for ignored in list_at(step, "/ignore").iter().filter_map(Value::as_str) {
            remove(&mut object, &format!("/{}", ignored.replace('.', "/")));
        }
        forget_the_engine(&mut expected);
        forget_the_engine(&mut object);
        self.compare(label, "object", &expected, &object);
    }

    fn list(&mut self, label: &str, target: &Target, step: &Value) {
        let body = at(step, "/expect/body");
        if str_at(body, "/kind") != "Table" || step.get("select").is_some() {
            return;
        }
        let rules = target.resource.kind_rules;
        let columns: Vec<Value> = rules
            .columns()
            .iter()
            .map(|c| json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority}))
            .collect();
        if get(body, "/columnDefinitions").is_some() {
            self.compare(label, "columns", at(body, "/columnDefinitions"), &columns.into());
        }
        for row in list_at(body, "/rows") {
            let name = list_at(row, "/cells").iter().chain(list_at(row, "/cells").last());
            let found = name.filter_map(Value::as_str).find_map(|name| self.objects.get(&key(target, name)));
            let Some(mut object) = found.cloned() else { continue };
            if target.resource.group == "events.k8s.io" {
                object = super::events::conversion::core_to_events(object);
            }
            let cells = rules.cells(&object, Timestamp::now());
            self.compare(label, "cells", at(row, "/cells"), &cells.into());
        }
    }
}

fn key(target: &Target, name: &str) -> String {
    format!("{}/{}/{name}", target.resource.plural, target.namespace.as_deref().unwrap_or_default())
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let map = make_map(target, "");
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// What the allocator would give.
fn allocate(service: &mut Value) {
    if str_at(service, "/spec/type") != "ExternalName" && str_at(service, "/spec/clusterIP").is_empty() {
        set(service, "/spec/clusterIP", "10.96.99.99");
        set(service, "/spec/clusterIPs", json!(["10.96.99.99"]));
        set(service, "/spec/ipFamilies", json!(["IPv4"]));
        set(service, "/spec/ipFamilyPolicy", "SingleStack");
    }
}

/// Plays an area. `open` is how many of its comparisons are known to differ: it may only fall.
fn play(area: &str, open: usize) {
    let (mut mismatches, mut compared) = (Vec::new(), 0);
    for (path, scenario) in scenarios(area) {
        let mut world = World::default();
        for step in list_at(&scenario, "/steps") {
            world.play(&path, step);
        }
        compared += world.compared;
        mismatches.append(&mut world.mismatches);
    }
    println!("{area}: {} of {compared} comparisons match", compared - mismatches.len().min(compared));
    assert!(
        mismatches.len() <= open,
        "{} mismatches, at most {open} are known\n{}",
        mismatches.len(),
        mismatches.join("\n")
    );
}

#[test]
fn tables_are_those_of_a_real_server() {
    play("table", 0);
}

#[test]
fn new_objects_are_those_of_a_real_server() {
    play("create", 0);
}

#[test]
fn defaults_are_those_of_a_real_server() {
    play("defaulting", 0);
}

#[test]
fn errors_are_those_of_a_real_server() {
    play("validation", 5);
}

#[test]
fn pods_services_and_nodes_are_those_of_a_real_server() {
    for (area, open) in [("core", 1), ("pods", 1), ("services", 5)] {
        play(area, open);
    }
}

#[test]
fn changes_are_those_of_a_real_server() {
    play("update", 0);
}
