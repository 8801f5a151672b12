//! What a pod can ask about itself: `fieldRef` and `resourceFieldRef`.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt;

use vkube_scheduler::quantity;

/// What the node adds to what the pod's object says.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The pod's address.
    pub pod_ip: IpAddr,
    /// The node's address.
    pub host_ip: IpAddr,
    /// What a container without a limit may use.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// The value of a field path; `None` if pods have no such field.
pub(crate) fn field(path: &str, pod: &Pod, facts: &Facts) -> Option<String> {
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => pod.labels(),
            "metadata.annotations" => pod.annotations(),
            _ => return None,
        };
        return Some(map.get(key).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    Some(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_string(),
        "status.podIP" | "status.podIPs" => facts.pod_ip.to_string(),
        _ => return None,
    })
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    Some((map, rest.strip_suffix(']')?.trim_matches(['\'', '"'])))
}

/// A map as the downward API writes it into a file: one `key="value"` a line, sorted.
fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<_> = map.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The value of a resource field of a container, divided by the divisor and rounded up.
pub(crate) fn resource(
    selector: &ResourceFieldSelector,
    own: &Container,
    pod: &Pod,
    facts: &Facts,
) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        None => own,
        Some(name) => {
            let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            all.find(|container| container.name == name)?
        }
    };
    let (list, name) = selector.resource.split_once('.')?;
    let resources = container.resources.as_ref();
    let own = match list {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return None,
    };
    let fallback = if list == "limits" { facts.allocatable.get(name) } else { None };
    let amount = own.and_then(|list| list.get(name)).or(fallback);
    let amount = amount.and_then(|quantity| quantity::milli(&quantity.0)).unwrap_or(0);

    let divisor = selector.divisor.as_ref().and_then(|divisor| quantity::milli(&divisor.0));
    let divisor = divisor.filter(|divisor| *divisor > 0).unwrap_or(1000);
    Some(((amount + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mk_pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"b": "2", "a": "say \"x\""}},
            "spec": {"nodeName": "n", "serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "1Mi"}}},
            ]},
        }))
        .unwrap()
    }

    fn mk_facts() -> Facts {
        Facts {
            pod_ip: "127.64.0.1".parse().unwrap(),
            host_ip: "127.0.0.1".parse().unwrap(),
            allocatable: BTreeMap::from([("memory".into(), Quantity("1Gi".into()))]),
        }
    }

    #[test]
    fn answers_fields() {
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.labels['b']", "2"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "a=\"say \\\"x\\\"\"\nb=\"2\""),
            ("spec.nodeName", "n"),
            ("status.podIP", "127.64.0.1"),
        ] {
            assert_eq!(field(path, &mk_pod(), &mk_facts()).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(field("spec.nope", &mk_pod(), &mk_facts()), None);
    }

    #[test]
    fn rounds_resources_up_to_their_divisor() {
        let pod = mk_pod();
        let own = &pod.spec.as_ref().unwrap().containers[0];
        for (name, divisor, expected) in [
            ("limits.cpu", None, "2"),
            ("limits.cpu", Some("1m"), "1500"),
            ("requests.memory", Some("1Ki"), "1024"),
            ("limits.memory", Some("1Mi"), "1024"),
            ("requests.cpu", None, "0"),
        ] {
            let selector = ResourceFieldSelector {
                resource: name.into(),
                divisor: divisor.map(|divisor| Quantity(divisor.into())),
                container_name: None,
            };
            assert_eq!(resource(&selector, own, &pod, &mk_facts()).as_deref(), Some(expected), "{name}");
        }
    }
}
