//! Resources of whole pods: sums over containers, pod-level defaults, the quality of service.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::registry::access::{entries, has, list_at, make_map, map_at, str_at};
use crate::schema::quantity::Quantity;

/// Amounts by resource.
pub type Amounts = BTreeMap<String, Quantity>;

fn amounts(owner: &Value, path: &str) -> Amounts {
    entries(owner, path)
        .filter_map(|(resource, amount)| Some((resource.clone(), Quantity::from_value(amount).ok()?)))
        .collect()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (resource, amount) in more {
        sum.entry(resource.clone()).or_insert(Quantity::ZERO).add(amount);
    }
}

fn raise(sum: &mut Amounts, other: &Amounts) {
    for (resource, amount) in other {
        let known = sum.entry(resource.clone()).or_insert(Quantity::ZERO);
        if amount > known {
            *known = amount.clone();
        }
    }
}

/// Whether an init container keeps running beside the others.
pub fn is_sidecar(container: &Value) -> bool {
    str_at(container, "/restartPolicy") == "Always"
}

/// What the containers of a pod need at the same time at most: `path` is `/resources/requests` or
/// `/resources/limits`. Init containers run one after the other, beside the sidecars started before them.
pub fn effective(spec: &Value, path: &str) -> Amounts {
    let mut total = Amounts::new();
    for container in list_at(spec, "/containers") {
        add(&mut total, &amounts(container, path));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in list_at(spec, "/initContainers") {
        let mut own = amounts(container, path);
        if is_sidecar(container) {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            add(&mut own, &sidecars);
            raise(&mut peak, &own);
        }
    }
    raise(&mut total, &peak);
    total
}

/// Whether a resource can be given for a whole pod.
pub fn is_pod_level(resource: &str) -> bool {
    resource == "cpu" || resource == "memory" || is_huge_page(resource)
}

/// Whether it is an amount of huge pages.
pub fn is_huge_page(resource: &str) -> bool {
    resource.starts_with("hugepages-")
}

/// Completes resources that are given for the whole pod from those of its containers.
pub fn default_pod_level(spec: &mut Value) {
    let given = |spec: &Value, path| map_at(spec, path).is_some_and(|map| !map.is_empty());
    if !given(spec, "/resources/limits") && !given(spec, "/resources/requests") {
        return;
    }
    for (resource, limit) in effective(spec, "/resources/limits") {
        let asked = map_at(spec, "/resources/requests").is_some_and(|r| r.contains_key(&resource));
        if is_huge_page(&resource) && !asked {
            make_map(spec, "/resources/limits").entry(resource).or_insert(limit.to_string().into());
        }
    }
    let Some(limits) = map_at(spec, "/resources/limits").filter(|limits| !limits.is_empty()).cloned() else {
        return;
    };
    let from_containers = effective(spec, "/resources/requests")
        .into_iter()
        .filter(|(resource, _)| is_pod_level(resource) && !is_huge_page(resource))
        .map(|(resource, amount)| (resource, amount.to_string().into()));
    let from_limits = limits.into_iter().filter(|(resource, _)| is_pod_level(resource));
    let defaults: Vec<_> = from_containers.chain(from_limits).collect();
    let requests = make_map(spec, "/resources/requests");
    for (resource, amount) in defaults {
        requests.entry(resource).or_insert(amount);
    }
}

/// The quality of service that follows from requests and limits of CPU and memory.
pub fn qos_class(spec: &Value) -> &'static str {
    let pod_level = ["/resources/requests", "/resources/limits"].iter().any(|path| has(spec, path));
    let owners: Vec<&Value> = if pod_level {
        vec![spec]
    } else {
        list_at(spec, "/containers").iter().chain(list_at(spec, "/initContainers")).collect()
    };
    let positive = |owner: &Value, path: &str| -> Amounts {
        amounts(owner, path)
            .into_iter()
            .filter(|(resource, amount)| amount.signum() > 0 && matches!(resource.as_str(), "cpu" | "memory"))
            .collect()
    };
    let (mut requests, mut limits, mut guaranteed) = (Amounts::new(), Amounts::new(), true);
    for owner in owners {
        add(&mut requests, &positive(owner, "/resources/requests"));
        let own = positive(owner, "/resources/limits");
        guaranteed &= own.len() == 2;
        add(&mut limits, &own);
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if guaranteed && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mk_spec(requests: &Value, limits: &Value) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]})
    }

    #[test]
    fn quality_of_service_follows_from_resources() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(qos_class(&mk_spec(&json!({}), &json!({}))), "BestEffort");
        assert_eq!(qos_class(&mk_spec(&full, &full)), "Guaranteed");
        assert_eq!(qos_class(&mk_spec(&json!({"cpu": "1"}), &json!({}))), "Burstable");
        assert_eq!(qos_class(&mk_spec(&json!({"cpu": "1"}), &full)), "Burstable");
    }

    #[test]
    fn pod_level_requests_follow_from_containers_and_limits() {
        let mut spec = json!({
            "resources": {"limits": {"cpu": "4", "memory": "2Gi"}},
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "3"}}}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}],
        });
        default_pod_level(&mut spec);
        assert_eq!(spec["resources"]["requests"], json!({"cpu": "3", "memory": "2Gi"}));
    }
}
