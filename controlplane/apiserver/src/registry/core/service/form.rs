//! Which fields a service of a certain type has, and what becomes of them when the type changes.

use serde_json::{Value, json};

use crate::registry::access::{
    at, get, has, int_at, list_at, list_mut, named, opt_str, remove, restore, set, str_at,
};

/// The type of a service.
pub fn kind(service: &Value) -> &str {
    str_at(service, "/spec/type")
}

/// Whether a service has no address of its own.
pub fn is_headless(spec: &Value) -> bool {
    matches!(list_at(spec, "/clusterIPs"), [only] if only == "None")
}

/// Whether a service can be reached from outside of the cluster.
pub fn is_external(spec: &Value) -> bool {
    match str_at(spec, "/type") {
        "NodePort" | "LoadBalancer" => true,
        kind => kind == "ClusterIP" && !list_at(spec, "/externalIPs").is_empty(),
    }
}

/// Whether load balancers ask the nodes of a service's spec for their health.
pub fn checks_health(spec: &Value) -> bool {
    str_at(spec, "/type") == "LoadBalancer" && str_at(spec, "/externalTrafficPolicy") == "Local"
}

/// Whether load balancers ask the nodes of a service for their health.
pub fn needs_health_check(service: &Value) -> bool {
    checks_health(at(service, "/spec"))
}

/// Whether services of this type have an address in the cluster.
pub fn needs_address(service: &Value) -> bool {
    matches!(kind(service), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_ports(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

fn is_balanced(service: &Value) -> bool {
    kind(service) == "LoadBalancer"
}

/// Fills in what the cluster gave to the service before and the update leaves out.
pub fn keep_allocated(service: &mut Value, old: &Value) {
    if needs_address(old) && needs_address(service) {
        if str_at(service, "/spec/clusterIP").is_empty() {
            restore(service, old, "/spec/clusterIP");
        }
        if list_at(service, "/spec/clusterIPs").is_empty()
            && at(service, "/spec/clusterIP") == at(old, "/spec/clusterIP")
        {
            restore(service, old, "/spec/clusterIPs");
        }
    }
    if needs_node_ports(old) && needs_node_ports(service) {
        keep_node_ports(service, old);
    }
    if needs_health_check(old)
        && needs_health_check(service)
        && int_at(service, "/spec/healthCheckNodePort") == 0
    {
        restore(service, old, "/spec/healthCheckNodePort");
    }
}

fn node_ports(service: &Value) -> Vec<i64> {
    list_at(service, "/spec/ports")
        .iter()
        .map(|port| int_at(port, "/nodePort"))
        .filter(|number| *number != 0)
        .collect()
}

/// Ports are known by their names.
fn keep_node_ports(service: &mut Value, old: &Value) {
    let mut used = node_ports(service);
    for port in list_mut(service, "/spec/ports").filter(|port| int_at(port, "/nodePort") == 0) {
        let number = named(list_at(old, "/spec/ports"), str_at(port, "/name"))
            .map_or(0, |before| int_at(before, "/nodePort"));
        if number != 0 && !used.contains(&number) {
            set(port, "/nodePort", number);
            used.push(number);
        }
    }
}

/// Makes the list of addresses follow the single address, for clients that know only that.
pub fn normalize_addresses(service: &mut Value, old: Option<&Value>) {
    let list = list_at(service, "/spec/clusterIPs");
    let follows = list.is_empty() || old.is_some_and(|old| list == list_at(old, "/spec/clusterIPs"));
    let before = old.and_then(|old| opt_str(old, "/spec/clusterIP")).unwrap_or_default();
    let address = str_at(service, "/spec/clusterIP").to_owned();
    if !follows || address == before {
        return;
    }
    if address.is_empty() {
        remove(service, "/spec/clusterIPs");
    } else {
        set(service, "/spec/clusterIPs", vec![address]);
    }
}

/// Removes what the new type has no use for, unless the update changes it too: then it is a mistake that
/// validation reports.
pub fn drop_unused(service: &mut Value, old: &Value) {
    if needs_address(old) && !needs_address(service) {
        if at(service, "/spec/clusterIPs") == at(old, "/spec/clusterIPs") {
            remove(service, "/spec/clusterIP");
            remove(service, "/spec/clusterIPs");
        }
        remove_unchanged(service, old, "/spec/ipFamilies");
        remove_unchanged(service, old, "/spec/ipFamilyPolicy");
    }
    if needs_node_ports(old) && !needs_node_ports(service) && same_ports(service, old) {
        for port in list_mut(service, "/spec/ports") {
            remove(port, "/nodePort");
        }
    }
    if needs_health_check(old) && !needs_health_check(service) {
        remove_unchanged(service, old, "/spec/healthCheckNodePort");
    }
    if is_balanced(old) && !is_balanced(service) {
        remove_unchanged(service, old, "/spec/allocateLoadBalancerNodePorts");
        remove_unchanged(service, old, "/spec/loadBalancerClass");
    }
    if kind(old) != "ExternalName" && kind(service) == "ExternalName" {
        remove_unchanged(service, old, "/spec/internalTrafficPolicy");
    }
    if is_balanced(old) && !is_balanced(service) {
        set(service, "/status/loadBalancer", json!({}));
    }
    if is_external(at(old, "/spec")) && !is_external(at(service, "/spec")) {
        remove_unchanged(service, old, "/spec/externalTrafficPolicy");
    }
}

fn remove_unchanged(service: &mut Value, old: &Value, path: &str) {
    if has(service, path) && get(service, path) == get(old, path) {
        remove(service, path);
    }
}

/// Whether an update names no node ports that were not there before.
fn same_ports(service: &Value, old: &Value) -> bool {
    let before = node_ports(old);
    node_ports(service).iter().all(|port| before.contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced(ports: &Value) -> Value {
        json!({"spec": {"type": "LoadBalancer", "ports": ports}})
    }

    #[test]
    fn node_ports_stay_with_a_balancer_that_needs_none_any_more() {
        let old = balanced(&json!([{"port": 80, "nodePort": 30080}]));
        let mut new = balanced(&json!([{"port": 80, "nodePort": 30080}]));
        new["spec"]["allocateLoadBalancerNodePorts"] = false.into();
        drop_unused(&mut new, &old);
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080);
    }

    #[test]
    fn node_ports_go_with_the_type_if_no_others_are_wanted() {
        let old = balanced(&json!([{"port": 80, "nodePort": 30080}, {"port": 81, "nodePort": 30081}]));
        let mut new = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30080}]}});
        drop_unused(&mut new, &old);
        assert_eq!(new["spec"]["ports"], json!([{"port": 80}]));
    }
}
