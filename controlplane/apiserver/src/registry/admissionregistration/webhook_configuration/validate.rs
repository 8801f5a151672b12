//! Everything wrong with webhook configurations.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, list_at, opt_int, opt_str, str_at, strs_at};
use crate::registry::admissionregistration::expression::validate_conditions;
use crate::registry::admissionregistration::matching::{FAILURE_POLICIES, MATCH_POLICIES, validate_rule};
use crate::validation::{labels, names, webhook};

const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];
const VERSIONS: &[&str] = &["v1", "v1beta1"];
const REINVOCATION: &[&str] = &["IfNeeded", "Never"];

/// What an update demands only if it was so before.
struct Demands {
    no_side_effects: bool,
    known_version: bool,
    unique_names: bool,
}

/// A configuration, new or changed.
pub fn validate(configuration: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let hooks = list_at(configuration, "/webhooks");
    let before: Option<&[Value]> = old.map(|old| list_at(old, "/webhooks"));
    let demands = Demands {
        no_side_effects: before.is_none_or(|hooks| {
            hooks.iter().all(|hook| NO_SIDE_EFFECTS.contains(&str_at(hook, "/sideEffects")))
        }),
        known_version: before.is_none_or(|hooks| {
            hooks.iter().all(|hook| {
                let mut versions = strs_at(hook, "/admissionReviewVersions").peekable();
                versions.peek().is_none() || versions.any(|version| VERSIONS.contains(&version))
            })
        }),
        unique_names: before.is_none_or(|hooks| !(0..hooks.len()).any(|index| repeats(hooks, index))),
    };
    let same_conditions = before.is_some_and(|before| {
        before.len() == hooks.len()
            && before.iter().zip(hooks).all(|(a, b)| at(a, "/matchConditions") == at(b, "/matchConditions"))
    });
    let list = Path::new("webhooks");
    for (index, hook) in hooks.iter().enumerate() {
        let path = list.index(index);
        validate_hook(&mut errors, &path, hook, &demands);
        if !same_conditions {
            validate_conditions(&mut errors, &path.child("matchConditions"), hook, false);
        }
        let versions = path.child("admissionReviewVersions");
        validate_versions(&mut errors, &versions, hook, demands.known_version);
        if demands.unique_names && repeats(hooks, index) {
            errors.duplicate(&path.child("name"), at(hook, "/name"));
        }
    }
    errors
}

fn repeats(hooks: &[Value], index: usize) -> bool {
    let name = str_at(&hooks[index], "/name");
    !name.is_empty() && hooks[..index].iter().any(|hook| str_at(hook, "/name") == name)
}

fn validate_hook(errors: &mut Errors, path: &Path<'_>, hook: &Value, demands: &Demands) {
    validate_name(errors, &path.child("name"), str_at(hook, "/name"));
    let rules = path.child("rules");
    for (index, rule) in list_at(hook, "/rules").iter().enumerate() {
        validate_rule(errors, &rules.index(index), rule);
    }
    for (field, known) in [("failurePolicy", FAILURE_POLICIES), ("matchPolicy", MATCH_POLICIES)] {
        choice(errors, path, hook, field, known);
    }
    let side_effects = if demands.no_side_effects { NO_SIDE_EFFECTS } else { SIDE_EFFECTS };
    if opt_str(hook, "/sideEffects").is_none() {
        let why = format!("must specify one of {}", side_effects.join(", "));
        errors.required(&path.child("sideEffects"), &why);
    }
    choice(errors, path, hook, "sideEffects", side_effects);
    if let Some(seconds) = opt_int(hook, "/timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&path.child("timeoutSeconds"), &seconds.into(), why);
    }
    for field in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = get(hook, &format!("/{field}")) {
            labels::selector(errors, &path.child(field), selector);
        }
    }
    choice(errors, path, hook, "reinvocationPolicy", REINVOCATION);
    validate_client(errors, &path.child("clientConfig"), at(hook, "/clientConfig"));
}

fn choice(errors: &mut Errors, path: &Path<'_>, hook: &Value, field: &str, known: &[&str]) {
    if let Some(chosen) = opt_str(hook, &format!("/{field}")).filter(|chosen| !known.contains(chosen)) {
        errors.not_supported(&path.child(field), &chosen.into(), known);
    }
}

fn validate_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let wrong = names::dns1123_subdomain(name);
    if !wrong.is_empty() {
        errors.invalid_str(path, name, &wrong.join(","));
    } else if name.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.invalid_str(path, name, why);
    }
}

fn validate_client(errors: &mut Errors, path: &Path<'_>, client: &Value) {
    match (opt_str(client, "/url"), get(client, "/service")) {
        (Some(url), None) => webhook::url(errors, &path.child("url"), url),
        (None, Some(service)) => webhook::service(errors, &path.child("service"), service),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

fn validate_versions(errors: &mut Errors, path: &Path<'_>, hook: &Value, known: bool) {
    let versions: Vec<&str> = strs_at(hook, "/admissionReviewVersions").collect();
    if versions.is_empty() {
        return errors.required(path, &format!("must specify one of {}", VERSIONS.join(", ")));
    }
    for (index, version) in versions.iter().enumerate() {
        if versions[..index].contains(version) {
            errors.invalid_str(&path.index(index), version, "duplicate version");
            continue;
        }
        for why in names::dns1035_label(version) {
            errors.invalid_str(&path.index(index), version, &why);
        }
    }
    if known && !versions.iter().any(|version| VERSIONS.contains(version)) {
        let why = format!("must include at least one of {}", VERSIONS.join(", "));
        errors.invalid(path, at(hook, "/admissionReviewVersions"), &why);
    }
}
