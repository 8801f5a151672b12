//! What the containers of a pod need together, and the quality of service that follows.

use serde_json::Value;

use crate::Amounts;
use crate::document::{entries, has, list_at, str_at};
use crate::quantity::Quantity;

/// The amounts of the map at `path`; what is no quantity is left out.
pub fn amounts(owner: &Value, path: &str) -> Amounts {
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

/// Whether it is an amount of huge pages.
pub fn is_huge_page(resource: &str) -> bool {
    resource.starts_with("hugepages-")
}

/// Whether a (valid) resource is of Kubernetes itself.
fn is_native(resource: &str) -> bool {
    !resource.contains('/') || resource.contains("kubernetes.io/")
}

/// Whether a (valid) resource is one that device plugins offer.
pub fn is_extended(resource: &str) -> bool {
    !is_native(resource) && !resource.starts_with("requests.")
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
    fn init_containers_need_their_share_one_after_the_other() {
        let container = |cpu: &str, policy: Option<&str>| json!({"name": "c", "restartPolicy": policy, "resources": {"requests": {"cpu": cpu}}});
        let spec = json!({
            "initContainers": [container("1", Some("Always")), container("3", None), container("2", None)],
            "containers": [container("1500m", None)],
        });
        assert_eq!(effective(&spec, "/resources/requests")["cpu"].to_string(), "4");
    }
}
