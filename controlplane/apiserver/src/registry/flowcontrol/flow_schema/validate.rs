//! Everything wrong with flow schemas.

use serde_json::{Value, json};

use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, bool_at, get, has, int_at, list_at, str_at, strs_at};
use crate::registry::flowcontrol::validate_conditions;
use crate::registry::internal::{self, Internal};
use crate::validation::fields::{dns_subdomain, required};
use crate::validation::names;

const SPEC: Path<'static> = Path::new("spec");
const MAX_PRECEDENCE: i64 = 10_000;
const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// A schema, new or changed.
pub fn validate(schema: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, name) = (at(schema, "/spec"), str_at(schema, "/metadata/name"));
    let (precedence, path) = (int_at(spec, "/matchingPrecedence"), SPEC.child("matchingPrecedence"));
    let shown = precedence.into();
    if precedence <= 0 {
        errors.invalid(&path, &shown, "must be a positive value");
    }
    if precedence > MAX_PRECEDENCE {
        errors.invalid(&path, &shown, &format!("must not be greater than {MAX_PRECEDENCE}"));
    }
    if precedence == 1 && name != "exempt" {
        errors.invalid(&path, &shown, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    if let Some(method) = get(spec, "/distinguisherMethod") {
        let kind = at(method, "/type");
        if kind != "ByUser" && kind != "ByNamespace" {
            let path = SPEC.child("distinguisherMethod");
            // The real server shows the method, not its type.
            let shown = Internal::new("FlowDistinguisherMethod", method).compact();
            let detail = format!("Unsupported value: {shown}: supported values: \"ByNamespace\", \"ByUser\"");
            errors.push(&path.child("type"), Reason::NotSupported, detail);
        }
    }
    let level = SPEC.child("priorityLevelConfiguration");
    match str_at(spec, "/priorityLevelConfiguration/name") {
        "" => errors.required(&level.child("name"), "must reference a priority level"),
        name => dns_subdomain(&mut errors, &level.child("name"), name),
    }
    let rules = SPEC.child("rules");
    for (index, rule) in list_at(spec, "/rules").iter().enumerate() {
        validate_rule(&mut errors, &rules.index(index), rule);
    }
    if mandatory(name).is_some_and(|fixed| fixed != *spec) {
        let why = format!("spec of '{name}' must equal the fixed value");
        internal::invalid(&mut errors, &SPEC, "FlowSchemaSpec", spec, &why);
    }
    validate_conditions(&mut errors, schema);
    errors
}

/// The specs that are as they are in every cluster.
fn mandatory(name: &str) -> Option<Value> {
    let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
    let everything = |subjects: Vec<Value>| {
        json!([{
            "subjects": subjects,
            "resourceRules": [{
                "verbs": ["*"],
                "apiGroups": ["*"],
                "resources": ["*"],
                "clusterScope": true,
                "namespaces": ["*"],
            }],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }])
    };
    match name {
        "exempt" => Some(json!({
            "priorityLevelConfiguration": {"name": "exempt"},
            "matchingPrecedence": 1,
            "rules": everything(vec![group("system:masters")]),
        })),
        "catch-all" => Some(json!({
            "priorityLevelConfiguration": {"name": "catch-all"},
            "matchingPrecedence": MAX_PRECEDENCE,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": everything(vec![group("system:unauthenticated"), group("system:authenticated")]),
        })),
        _ => None,
    }
}

fn validate_rule(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    let subjects = list_at(rule, "/subjects");
    if subjects.is_empty() {
        errors.required(&path.child("subjects"), "subjects must contain at least one value");
    }
    for (index, subject) in subjects.iter().enumerate() {
        validate_subject(errors, &path.child("subjects").index(index), subject);
    }
    let (resources, others) = (list_at(rule, "/resourceRules"), list_at(rule, "/nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        errors.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for (index, rule) in resources.iter().enumerate() {
        validate_resources(errors, &path.child("resourceRules").index(index), rule);
    }
    for (index, rule) in others.iter().enumerate() {
        let list = path.child("nonResourceRules");
        let path = list.index(index);
        validate_verbs(errors, &path, rule);
        let urls = path.child("nonResourceURLs");
        let why = "nonResourceURLs must contain at least one value";
        if wildcard(errors, &path, rule, "nonResourceURLs", why, "non-resource URLs") {
            continue;
        }
        for (index, url) in strs_at(rule, "/nonResourceURLs").enumerate() {
            if let Some(why) = url_error(url) {
                errors.invalid_str(&urls.index(index), url, why);
            }
        }
    }
}

fn validate_subject(errors: &mut Errors, path: &Path<'_>, subject: &Value) {
    const KINDS: [(&str, &str); 3] =
        [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = str_at(subject, "/kind");
    let Some((_, field)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        return errors.not_supported(&path.child("kind"), &kind.into(), &["Group", "ServiceAccount", "User"]);
    };
    let (owner, owner_path) = (at(subject, &format!("/{field}")), path.child(field));
    if owner.is_null() {
        errors.required(&owner_path, &format!("{field} is required when subject kind is '{kind}'"));
    } else {
        let named = required(errors, &owner_path, owner, "name");
        if kind == "ServiceAccount" {
            let name = str_at(owner, "/name");
            if named && name != "*" {
                dns_subdomain(errors, &owner_path.child("name"), name);
            }
            match str_at(owner, "/namespace") {
                "" => errors
                    .required(&owner_path.child("namespace"), "must specify namespace for service account"),
                namespace => {
                    for why in names::dns1123_label(namespace) {
                        errors.invalid_str(&owner_path.child("namespace"), namespace, &why);
                    }
                }
            }
        }
    }
    for (other, field) in KINDS.iter().filter(|(other, _)| *other != kind) {
        if has(subject, &format!("/{field}")) {
            let why = format!("{field} is forbidden when subject kind is not '{other}'");
            errors.forbidden(&path.child(field), &why);
        }
    }
}

/// Demands a list; returns whether nothing more is to be said of its items.
fn wildcard(errors: &mut Errors, path: &Path<'_>, rule: &Value, field: &str, why: &str, what: &str) -> bool {
    let pointer = format!("/{field}");
    let list = list_at(rule, &pointer);
    let all = list.iter().any(|item| item == "*");
    if list.is_empty() {
        errors.required(&path.child(field), why);
    } else if all && list.len() > 1 {
        let why = format!("if '*' is present, must not specify other {what}");
        errors.invalid(&path.child(field), at(rule, &pointer), &why);
    }
    all || list.is_empty()
}

fn validate_verbs(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    let done = wildcard(errors, path, rule, "verbs", "verbs must contain at least one value", "verbs");
    if !done && strs_at(rule, "/verbs").any(|verb| !VERBS.contains(&verb)) {
        errors.not_supported(&path.child("verbs"), at(rule, "/verbs"), VERBS);
    }
}

fn validate_resources(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    validate_verbs(errors, path, rule);
    let why = "resource rules must supply at least one api group";
    wildcard(errors, path, rule, "apiGroups", why, "api groups");
    let why = "resource rules must supply at least one resource";
    wildcard(errors, path, rule, "resources", why, "resources");
    let none = list_at(rule, "/namespaces").is_empty();
    if none && bool_at(rule, "/clusterScope") {
        return;
    }
    let why = "resource rules that are not cluster scoped must supply at least one namespace";
    if wildcard(errors, path, rule, "namespaces", why, "namespaces") {
        return;
    }
    for (index, namespace) in strs_at(rule, "/namespaces").enumerate() {
        for why in names::dns1123_label(namespace) {
            let why = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            errors.invalid_str(&path.child("namespaces").index(index), namespace, &why);
        }
    }
}

fn url_error(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || stars == 1 && !url.ends_with("/*") => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}
