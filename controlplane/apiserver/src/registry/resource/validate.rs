//! Checks that the kinds of dynamic resource allocation share: names, selectors, configurations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cel::Program;
use crate::field::{Errors, Path};
use crate::registry::access::{at, has, list_at, opt_str, str_at};
use crate::validation::fields::dns_label;
use crate::validation::names;

/// How many requests, constraints, configurations or selectors there can be.
pub const MOST: usize = 32;
const DRIVER_MAX: usize = 63;
const POOL_MAX: usize = 253;
const IDENTIFIER_MAX: usize = 32;
const EXPRESSION_MAX: usize = 10 * 1024;
const PARAMETERS_MAX: usize = 10 * 1024;
const IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
const NO_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// The name of a driver.
pub fn driver_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > DRIVER_MAX {
        errors.too_long(path, DRIVER_MAX);
    }
    for why in names::dns1123_subdomain(&name.to_lowercase()) {
        errors.invalid_str(path, name, &why);
    }
}

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
    if name.is_empty() {
        return errors.required(path, "name required");
    }
    match name.split('/').collect::<Vec<_>>().as_slice() {
        [id] => identifier(errors, path, id),
        [domain, id] => {
            if domain.is_empty() {
                errors.required(path, "the domain must not be empty");
            } else {
                driver_name(errors, path, domain);
            }
            if id.is_empty() {
                errors.required(path, "the name must not be empty");
            } else {
                identifier(errors, path, id);
            }
        }
        _ => errors.invalid_str(
            path,
            name,
            "a name with a domain must have exactly one slash between the domain and the name",
        ),
    }
}

/// A qualified name that must have its domain.
pub fn full_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    qualified_name(errors, path, name);
    if !name.is_empty() && !name.contains('/') {
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
pub fn each_once<K>(
    errors: &mut Errors,
    path: &Path<'_>,
    items: &[Value],
    most: usize,
    key: impl Fn(&Value) -> K,
    check: impl Fn(&mut Errors, &Path<'_>, &Value),
) where
    K: Ord + Clone + Into<Value>,
{
    each(errors, path, items, most, check);
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let key = key(item);
        if !seen.insert(key.clone()) {
            errors.duplicate(&path.index(at), &key.into());
        }
    }
}

/// Checks the items of a list, which may have so many.
pub fn each(
    errors: &mut Errors,
    path: &Path<'_>,
    items: &[Value],
    most: usize,
    check: impl Fn(&mut Errors, &Path<'_>, &Value),
) {
    if items.len() > most {
        errors.too_many(path, items.len(), most);
    }
    for (at, item) in items.iter().enumerate() {
        check(errors, &path.index(at), item);
    }
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
    const TYPES: &[(&str, &str)] = &[
        ("device.driver", "string"),
        ("device.attributes", "map(string, map(string, any))"),
        ("device.capacity", "map(string, map(string, kubernetes.Quantity))"),
        ("device.allowMultipleAllocations", "bool"),
    ];
    if text.len() > EXPRESSION_MAX {
        return errors.too_long(path, EXPRESSION_MAX);
    }
    let parsed =
        Program::parse(text).and_then(|program| program.unknown(text, &["device"]).map(|()| program));
    match parsed {
        Err(why) => errors.invalid_str(path, text, &format!("compilation failed: {why}")),
        Ok(program) => {
            if let Some(kind) = program.outcome(TYPES).filter(|kind| !matches!(*kind, "bool" | "dyn")) {
                let why = format!("must evaluate to bool or the unknown type, not {kind}");
                errors.invalid_str(path, text, &why);
            }
        }
    }
}

/// The configuration of a driver.
pub fn configuration(errors: &mut Errors, path: &Path<'_>, configuration: &Value) {
    let path = path.child("opaque");
    let Some(opaque) = configuration.get("opaque").filter(|opaque| opaque.is_object()) else {
        return errors.required(&path, "");
    };
    driver_name(errors, &path.child("driver"), str_at(opaque, "/driver"));
    let path = path.child("parameters");
    match at(opaque, "/parameters") {
        Value::Null => errors.required(&path, ""),
        Value::Object(map) => {
            if Value::Object(map.clone()).to_string().len() > PARAMETERS_MAX {
                errors.too_long(&path, PARAMETERS_MAX);
            }
        }
        _ => errors.invalid_str(&path, "<value omitted>", "must be a valid JSON object"),
    }
}

/// What a client tolerates of devices.
pub fn tolerations(errors: &mut Errors, path: &Path<'_>, tolerations: &[Value]) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let (key, operator) = (str_at(toleration, "/key"), str_at(toleration, "/operator"));
        if !key.is_empty() {
            crate::validation::fields::qualified_name(errors, &path.child("key"), key);
        } else if operator != "Exists" {
            errors.invalid_str(&path.child("operator"), operator, "must be Exists when `key` is empty");
        }
        let value = str_at(toleration, "/value");
        match operator {
            "Exists" if !value.is_empty() => {
                errors.invalid_str(&path.child("value"), value, "must be empty for operator `Exists`");
            }
            "Exists" => {}
            "Equal" => {
                for why in names::label_value(value) {
                    errors.invalid_str(&path.child("value"), value, &why);
                }
            }
            other => errors.not_supported(&path.child("operator"), &other.into(), &["Equal", "Exists"]),
        }
        if let Some(effect) = opt_str(toleration, "/effect").filter(|e| !e.is_empty())
            && !["NoExecute", "NoSchedule"].contains(&effect)
        {
            errors.not_supported(&path.child("effect"), &effect.into(), &["NoExecute", "NoSchedule"]);
        }
    }
}
