//! What is questionable about services.

use serde_json::Value;

use super::validate::TOPOLOGY_HINTS;
use crate::field::Path;
use crate::registry::access::{list_at, map_at, str_at, strs_at};
use crate::validation::ip;

/// What is questionable about a service.
pub fn warnings(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let (spec, path) = (&service["spec"], Path::new("spec"));
    if map_at(service, "/metadata/annotations").is_some_and(|all| all.contains_key(TOPOLOGY_HINTS)) {
        warnings.push(format!(
            "annotation {TOPOLOGY_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    let headless = str_at(spec, "/type") == "ClusterIP" && str_at(spec, "/clusterIP") == "None";
    if headless {
        headless_warnings(&mut warnings, spec);
    } else {
        for (index, address) in strs_at(spec, "/clusterIPs").enumerate() {
            warnings.extend(ip::address_warnings(&path.child("clusterIPs").index(index), address));
        }
    }
    for (index, address) in strs_at(spec, "/externalIPs").enumerate() {
        warnings.extend(ip::address_warnings(&path.child("externalIPs").index(index), address));
    }
    let (external, outside) =
        (str_at(spec, "/type") == "ExternalName", !list_at(spec, "/externalIPs").is_empty());
    if outside && !headless && !external {
        warnings
            .push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    let balancer = str_at(spec, "/loadBalancerIP");
    if !balancer.is_empty() {
        warnings.extend(ip::address_warnings(&path.child("loadBalancerIP"), balancer));
    }
    for (index, range) in strs_at(spec, "/loadBalancerSourceRanges").enumerate() {
        warnings.extend(ip::cidr_warnings(&path.child("loadBalancerSourceRanges").index(index), range));
    }
    if external && outside {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !external && !str_at(spec, "/externalName").is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if str_at(spec, "/trafficDistribution") == "PreferClose" {
        warnings
            .push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    warnings
}

/// What is questionable about the addresses of a load balancer.
pub fn of_status(service: &Value) -> Vec<String> {
    let status = Path::new("status");
    let balancer = status.child("loadBalancer");
    let list = balancer.child("ingress");
    let points = list_at(service, "/status/loadBalancer/ingress").iter().enumerate();
    points
        .filter_map(|(index, point)| ip::address_warnings(&list.index(index), str_at(point, "/ip")))
        .collect()
}

fn headless_warnings(warnings: &mut Vec<String>, spec: &Value) {
    if !str_at(spec, "/loadBalancerIP").is_empty() {
        warnings.push("spec.loadBalancerIP is ignored for headless services".into());
    }
    if !list_at(spec, "/externalIPs").is_empty() {
        warnings.push("spec.externalIPs is ignored for headless services".into());
    }
    if str_at(spec, "/sessionAffinity") != "None" {
        warnings.push("spec.SessionAffinity is ignored for headless services".into());
    }
}
