//! Requests and limits.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::resources::{is_huge_page, is_pod_level};
use crate::field::{Errors, Path, Reason};
use crate::registry::access::{entries, list_at, map_at, str_at};
use crate::schema::quantity::Quantity;
use crate::validation::fields::{self, dns_label};
use crate::validation::names;

/// Whose resources they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A container's.
    Container,
    /// A whole pod's.
    Pod,
}

const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// Whether a name needs no domain.
pub fn is_standard(resource: &str) -> bool {
    STANDARD.contains(&resource) || is_huge_page(resource) || is_huge_page_request(resource)
}

/// Whether it is an amount of huge pages in a quota.
pub fn is_huge_page_request(resource: &str) -> bool {
    resource.strip_prefix("requests.").is_some_and(is_huge_page)
}

/// Whether a resource is of Kubernetes itself.
pub fn is_native(resource: &str) -> bool {
    !resource.contains('/') || resource.contains("kubernetes.io/")
}

/// Whether a resource is one that device plugins offer.
pub fn is_extended(resource: &str) -> bool {
    !is_native(resource)
        && !resource.starts_with("requests.")
        && names::qualified_name(&format!("requests.{resource}")).is_empty()
}

/// Whether containers may ask for less of it than their limit.
fn is_overcommittable(resource: &str) -> bool {
    is_native(resource) && !is_huge_page(resource)
}

/// Whether only whole numbers of it make sense.
fn is_whole(resource: &str) -> bool {
    const COUNTED: &[&str] = &[
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    COUNTED.contains(&resource) || is_extended(resource)
}

/// A resource's name.
pub fn validate_name(errors: &mut Errors, path: &Path<'_>, resource: &str) -> bool {
    let before = errors.0.len();
    fields::qualified_name(errors, path, resource);
    if errors.0.len() == before && !resource.contains('/') && !is_standard(resource) {
        errors.invalid_str(path, resource, "must be a standard resource type or fully qualified");
    }
    errors.0.len() == before
}

/// A name of a resource that containers use.
pub fn validate_container_name(errors: &mut Errors, path: &Path<'_>, resource: &str) {
    validate_name(errors, path, resource);
    if !resource.contains('/') {
        if !matches!(resource, "cpu" | "memory" | "ephemeral-storage") && !is_huge_page(resource) {
            errors.invalid_str(path, resource, "must be a standard resource for containers");
        }
    } else if !is_native(resource) && !is_extended(resource) {
        errors.invalid_str(path, resource, "doesn't follow extended resource name standard");
    }
}

fn validate_scoped_name(errors: &mut Errors, path: &Path<'_>, resource: &str, scope: Scope) {
    match scope {
        Scope::Container => validate_container_name(errors, path, resource),
        Scope::Pod => {
            if validate_name(errors, path, resource) && !is_pod_level(resource) {
                errors.not_supported(path, &resource.into(), &["cpu", "hugepages-", "memory"]);
            }
        }
    }
}

/// An amount of a resource.
pub fn validate_amount(errors: &mut Errors, path: &Path<'_>, resource: &str, amount: &Value) {
    fields::non_negative_quantity(errors, path, amount);
    if is_whole(resource) && Quantity::from_value(amount).is_ok_and(|quantity| !quantity.is_multiple_of(1)) {
        errors.invalid(path, amount, fields::NOT_INTEGER);
    }
}

fn validate_huge_pages(errors: &mut Errors, path: &Path<'_>, resource: &str, amount: &Value) {
    let Some(size) = resource.strip_prefix("hugepages-") else { return };
    let divisible = match (Quantity::parse(size), Quantity::from_value(amount)) {
        (Ok(size), Ok(amount)) => size.signum() > 0 && amount.nanos() % size.nanos() == 0,
        _ => false,
    };
    if !divisible {
        let text = amount.as_str().unwrap_or_default();
        errors.invalid_str(path, text, &format!("{text} is not positive integer multiple of {resource}"));
    }
}

/// Requests and limits of a container or pod.
pub fn validate(
    errors: &mut Errors,
    path: &Path<'_>,
    resources: &Value,
    scope: Scope,
    claims: &BTreeSet<&str>,
) {
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let limits = map_at(resources, "/limits");
    let (mut basic, mut huge) = (false, false);
    for (resource, amount) in entries(resources, "/limits") {
        let path = limits_path.key(resource);
        validate_scoped_name(errors, &path, resource, scope);
        validate_amount(errors, &path, resource, amount);
        validate_huge_pages(errors, &path, resource, amount);
        huge |= is_huge_page(resource);
        basic |= matches!(resource.as_str(), "cpu" | "memory");
    }
    for (resource, amount) in entries(resources, "/requests") {
        let path = requests_path.key(resource);
        validate_scoped_name(errors, &path, resource, scope);
        validate_amount(errors, &path, resource, amount);
        match limits.and_then(|limits| limits.get(resource)) {
            Some(limit) => compare(errors, &requests_path, resource, amount, limit),
            None if !is_overcommittable(resource) => {
                errors.required(&limits_path, "Limit must be set for non overcommitable resources");
            }
            None => {}
        }
        validate_huge_pages(errors, &path, resource, amount);
        huge |= is_huge_page(resource);
        basic |= matches!(resource.as_str(), "cpu" | "memory");
    }
    if huge && !basic {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    validate_claims(errors, &path.child("claims"), list_at(resources, "/claims"), claims);
}

/// What a runtime needs besides the containers, reported as their limits.
pub fn validate_overhead(errors: &mut Errors, path: &Path<'_>, amounts: &Map<String, Value>) {
    let resources = json!({"limits": amounts});
    validate(errors, path, &resources, Scope::Container, &BTreeSet::new());
}

fn compare(errors: &mut Errors, path: &Path<'_>, resource: &str, request: &Value, limit: &Value) {
    let (Ok(asked), Ok(allowed)) = (Quantity::from_value(request), Quantity::from_value(limit)) else {
        return;
    };
    let limit = limit.as_str().unwrap_or_default();
    if asked != allowed && !is_overcommittable(resource) {
        errors.invalid(path, request, &format!("must be equal to {resource} limit of {limit}"));
    } else if asked > allowed {
        errors.invalid(path, request, &format!("must be less than or equal to {resource} limit of {limit}"));
    }
}

fn validate_claims(errors: &mut Errors, path: &Path<'_>, claims: &[Value], known: &BTreeSet<&str>) {
    let mut seen = BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        let (name, request) = (str_at(claim, "/name"), str_at(claim, "/request"));
        if name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let mut key = name.to_owned();
        if !request.is_empty() {
            dns_label(errors, &path.child("request"), request);
            key = format!("{name}/{request}");
        }
        let whole_too = request.is_empty()
            && seen
                .iter()
                .any(|other: &String| other.split_once('/').is_some_and(|(claim, _)| claim == name));
        if seen.contains(name) || seen.contains(&key) || whole_too {
            errors.duplicate(&path, &key.clone().into());
        }
        seen.insert(key);
        if !known.contains(name) {
            let listed: Vec<&str> = known.iter().copied().collect();
            let among =
                if listed.is_empty() { " which is empty".into() } else { format!(": {}", listed.join(", ")) };
            let detail =
                format!("Not found: \"{name}\": must be one of the names in pod.spec.resourceClaims{among}");
            errors.push(&path, Reason::NotFound, detail);
        }
    }
}
