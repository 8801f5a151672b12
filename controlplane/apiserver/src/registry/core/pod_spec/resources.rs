//! Resources that are given for whole pods.

use serde_json::Value;

use crate::registry::access::{make_map, map_at};

pub use vkube_usage::pod::{effective, is_huge_page, is_sidecar, qos_class};

/// Whether a resource can be given for a whole pod.
pub fn is_pod_level(resource: &str) -> bool {
    resource == "cpu" || resource == "memory" || is_huge_page(resource)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
