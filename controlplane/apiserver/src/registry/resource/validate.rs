//! Checks that the kinds of dynamic resource allocation share: names, selectors, configurations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cel::{Issues, Program, Scope, Type};
use crate::field::{Errors, Path};
use crate::registry::access::{at, has, list_at, str_at};
pub use crate::registry::core::pod_spec::validate_csi_driver_name as driver_name;
use crate::validation::fields::{dns_label, one_of};
use crate::validation::labels::label_name;
use crate::validation::names;

/// How many requests, constraints, configurations or selectors there can be.
pub const MOST: usize = 32;
const POOL_MAX: usize = 253;
const IDENTIFIER_MAX: usize = 32;
const EXPRESSION_MAX: usize = 10 * 1024;
const RAW_MAX: usize = 10 * 1024;
const IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
const NO_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// The name of a pool: subdomains separated by slashes.
pub fn pool_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > POOL_MAX {
        errors.too_long(path, POOL_MAX);
    }
    for part in name.split('/') {
        for why in names::dns1123_subdomain(part) {
            errors.invalid_str(path, part, &why);
        }
    }
}

/// The name of an attribute or a capacity: an identifier, with a domain or not.
pub fn qualified_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        [id] => identifier(errors, path, id),
        [domain, id] => {
            if domain.is_empty() {
                errors.invalid_str(path, "", "the domain must not be empty");
            } else {
                driver_name(errors, path, domain);
            }
            if id.is_empty() {
                errors.invalid_str(path, "", "the name must not be empty");
            } else {
                identifier(errors, path, id);
            }
        }
        // The real server does not look at names with more slashes.
        _ => {}
    }
}

/// A qualified name that must have its domain.
pub fn full_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    qualified_name(errors, path, name);
    if !name.contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        errors.invalid_str(path, name, why);
    }
}

fn identifier(errors: &mut Errors, path: &Path<'_>, id: &str) {
    if id.len() > IDENTIFIER_MAX {
        errors.too_long(path, IDENTIFIER_MAX);
    }
    let valid = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    if !valid {
        errors.invalid_str(path, id, IDENTIFIER);
    }
}

/// The requests of a claim, and the subrequests of each.
#[derive(Debug)]
pub struct Requests<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Requests<'a> {
    /// Those of the devices of a claim.
    pub fn of(devices: &'a Value) -> Self {
        let names = |list: &'a [Value]| list.iter().map(|item| str_at(item, "/name"));
        let requests = list_at(devices, "/requests");
        Self(
            requests
                .iter()
                .map(|request| {
                    (str_at(request, "/name"), names(list_at(request, "/firstAvailable")).collect())
                })
                .collect(),
        )
    }

    fn has(&self, name: &str) -> bool {
        match name.split_once('/') {
            None => self.0.contains_key(name),
            Some((request, part)) => self.0.get(request).is_some_and(|parts| parts.contains(part)),
        }
    }

    /// Demands that a reference names one of them.
    pub fn validate_reference(&self, errors: &mut Errors, path: &Path<'_>, name: &str) {
        if name.matches('/').count() > 1 {
            return errors.invalid_str(path, name, NO_REQUEST);
        }
        for segment in name.split('/') {
            dns_label(errors, path, segment);
        }
        if !self.has(name) {
            errors.invalid_str(path, name, NO_REQUEST);
        }
    }

    /// Demands that all references of a list name one of them, each once.
    pub fn validate_references(&self, errors: &mut Errors, path: &Path<'_>, references: &[Value]) {
        each_once(
            errors,
            path,
            references,
            MOST,
            |name| name.as_str().unwrap_or_default().to_owned(),
            |e, p, name| {
                self.validate_reference(e, p, name.as_str().unwrap_or_default());
            },
        );
    }
}

/// Checks the items of a list, which may have so many and of which each key may occur once.
pub fn each_once<K: Ord + Into<Value> + Clone>(
    errors: &mut Errors,
    path: &Path<'_>,
    items: &[Value],
    most: usize,
    key: impl Fn(&Value) -> K,
    check: impl Fn(&mut Errors, &Path<'_>, &Value),
) {
    if !each(errors, path, items, most, check) {
        return;
    }
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let key = key(item);
        if !seen.insert(key.clone()) {
            errors.duplicate(&path.index(at), &key.into());
        }
    }
}

/// Checks the items of a list, which may have so many; the answer is whether it has no more.
pub fn each(
    errors: &mut Errors,
    path: &Path<'_>,
    items: &[Value],
    most: usize,
    check: impl Fn(&mut Errors, &Path<'_>, &Value),
) -> bool {
    if items.len() > most {
        errors.too_many(path, items.len(), most);
        return false;
    }
    for (at, item) in items.iter().enumerate() {
        check(errors, &path.index(at), item);
    }
    true
}

/// Which devices are wanted, in CEL.
pub fn selectors(errors: &mut Errors, path: &Path<'_>, selectors: &[Value]) {
    each(errors, path, selectors, MOST, |errors, path, selector| {
        let path = path.child("cel");
        if !has(selector, "/cel") {
            return errors.required(&path, "");
        }
        expression(errors, &path.child("expression"), str_at(selector, "/cel/expression"));
    });
}

fn expression(errors: &mut Errors, path: &Path<'_>, text: &str) {
    if text.len() > EXPRESSION_MAX {
        return errors.too_long(path, EXPRESSION_MAX);
    }
    match outcome(text) {
        Err(why) => errors.invalid_str(path, text, &format!("compilation failed: {why}")),
        Ok(Type::BOOL | Type::Dyn) => {}
        Ok(other) => {
            let why = format!("must evaluate to bool or the unknown type, not {}", other.shown());
            errors.invalid_str(path, text, &why);
        }
    }
}

/// What an expression about a device gives.
fn outcome(text: &str) -> Result<Type, Issues> {
    let device = [("device", Type::Named("kubernetes.DRADevice".to_owned()))];
    Program::parse_with_bindings(text)?.check(text, &Scope { variables: &device, ..Scope::default() })
}

/// The configuration of a driver.
pub fn configuration(errors: &mut Errors, path: &Path<'_>, configuration: &Value) {
    let path = path.child("opaque");
    let Some(opaque) = configuration.get("opaque").filter(|opaque| opaque.is_object()) else {
        return errors.required(&path, "");
    };
    driver_name(errors, &path.child("driver"), str_at(opaque, "/driver"));
    raw_object(errors, &path.child("parameters"), at(opaque, "/parameters"));
}

/// What only drivers understand.
pub fn raw_object(errors: &mut Errors, path: &Path<'_>, object: &Value) {
    match object {
        Value::Null => errors.required(path, ""),
        _ if object.to_string().len() > RAW_MAX => errors.too_long(path, RAW_MAX),
        Value::Object(_) => {}
        _ => errors.invalid_str(path, "<value omitted>", "must be a valid JSON object"),
    }
}

/// What a taint does to those who do not tolerate it.
pub const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

/// What a client tolerates of devices.
pub fn tolerations(errors: &mut Errors, path: &Path<'_>, tolerations: &[Value]) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let key = str_at(toleration, "/key");
        if !key.is_empty() {
            label_name(errors, &path.child("key"), key);
        }
        let value = str_at(toleration, "/value");
        match str_at(toleration, "/operator") {
            "Exists" if !value.is_empty() => {
                errors.invalid_str(&path.child("value"), value, "must be empty for operator `Exists`");
            }
            "Exists" => {}
            "Equal" => label_value(errors, &path.child("value"), value),
            "" => errors.required(&path.child("operator"), ""),
            other => errors.not_supported(&path.child("operator"), &other.into(), &["Equal", "Exists"]),
        }
        one_of(errors, &path, toleration, "effect", EFFECTS);
    }
}

/// The value of a label.
pub fn label_value(errors: &mut Errors, path: &Path<'_>, value: &str) {
    for why in names::label_value(value) {
        errors.invalid_str(path, value, &why);
    }
}

/// The conditions that a device waits for when it is bound, and those that end the wait.
pub fn binding_conditions(errors: &mut Errors, path: &Path<'_>, owner: &Value) {
    const MOST: usize = 4;
    let (wanted, failures) =
        (list_at(owner, "/bindingConditions"), list_at(owner, "/bindingFailureConditions"));
    let (wanted_path, failures_path) =
        (path.child("bindingConditions"), path.child("bindingFailureConditions"));
    for (path, list) in [(&wanted_path, wanted), (&failures_path, failures)] {
        each(errors, path, list, MOST, |errors, path, name| {
            label_name(errors, path, name.as_str().unwrap_or_default());
        });
    }
    for (at, name) in wanted.iter().enumerate().filter(|(at, name)| wanted[..*at].contains(name)) {
        errors.duplicate(&wanted_path.index(at), name);
    }
    for (at, name) in failures.iter().enumerate() {
        if failures[..at].contains(name) {
            errors.duplicate(&failures_path.index(at), name);
        }
        if wanted.contains(name) {
            let why = "bindingFailureConditions must not overlap with bindingConditions";
            errors.invalid(&failures_path.index(at), name, why);
        }
    }
    if wanted.is_empty() && !failures.is_empty() {
        let why = "bindingConditions are required to use bindingFailureConditions";
        errors.invalid(&wanted_path, &Value::Null, why);
    }
    if failures.is_empty() && !wanted.is_empty() {
        let why = "bindingFailureConditions are required to use bindingConditions";
        errors.invalid(&failures_path, &Value::Null, why);
    }
}
