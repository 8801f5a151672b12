//! Services of the host in the virtual cluster.
//!
//! The virtual Service is headless, so its name leads straight to where the host's Service is reached: its cluster IP,
//! or for a headless one its endpoints, which are followed.

use std::sync::Arc;

use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::labels::ObjectKey;
use crate::rules::SERVICES;

/// The Service of the host by this key, if a rule shows it.
pub(super) fn source(cx: &Context, key: &ObjectKey) -> Option<Arc<DynamicObject>> {
    cx.rules.iter().find(|general| general.rule.limits(SERVICES))?.host(key)
}

/// Turns a Service of the host into the one that shows it.
pub(super) fn show_service(service: &mut Value) {
    let spec = service.get("spec").cloned().unwrap_or_default();
    let shown = if spec["type"] == "ExternalName" {
        json!({ "type": "ExternalName", "externalName": spec["externalName"] })
    } else {
        json!({ "type": "ClusterIP", "clusterIP": "None", "ports": ports(&spec) })
    };
    if let Value::Object(fields) = service {
        fields.insert("spec".into(), shown);
    }
}

/// Turns the endpoints of a Service of the host into those that show it.
pub(super) fn show_endpoints(service: &DynamicObject, endpoints: &mut Value) {
    let spec = service.data.get("spec").cloned().unwrap_or_default();
    let address = spec["clusterIP"].as_str().filter(|ip| !ip.is_empty() && *ip != "None");
    let Value::Object(fields) = endpoints else { return };
    if let Some(address) = address {
        fields.insert("subsets".into(), json!([{ "addresses": [{ "ip": address }], "ports": ports(&spec) }]));
        return;
    }
    let lists = fields.get_mut("subsets").and_then(Value::as_array_mut).into_iter().flatten();
    for list in lists.flat_map(|subset| {
        let subset = subset.as_object_mut().into_iter().flat_map(Map::iter_mut);
        subset.filter(|(field, _)| field.ends_with("ddresses")).map(|(_, list)| list)
    }) {
        // Pods and nodes of the host are nobody's business here.
        for address in list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            address.remove("targetRef");
            address.remove("nodeName");
        }
    }
}

/// The ports of a Service as those of what it leads to.
fn ports(spec: &Value) -> Vec<Value> {
    let ports = spec["ports"].as_array().into_iter().flatten().filter_map(Value::as_object);
    let kept = |port: &Map<String, Value>| {
        let fields = ["name", "port", "protocol", "appProtocol"].into_iter();
        let fields = fields.filter_map(|field| Some((field.to_owned(), port.get(field)?.clone())));
        Value::Object(fields.collect())
    };
    ports.map(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> DynamicObject {
        serde_json::from_value(json!({ "metadata": { "name": "db" }, "spec": spec })).unwrap()
    }

    #[test]
    fn a_service_is_shown_by_its_cluster_ip() {
        let host = service(json!({
            "clusterIP": "10.0.0.9", "selector": { "app": "db" },
            "ports": [{ "name": "sql", "port": 5432, "targetPort": 1, "nodePort": 30000, "protocol": "TCP" }],
        }));
        let mut shown = host.data.clone();
        show_service(&mut shown);
        let port = json!({ "name": "sql", "port": 5432, "protocol": "TCP" });
        assert_eq!(shown["spec"], json!({ "type": "ClusterIP", "clusterIP": "None", "ports": [port] }));
        let mut endpoints = json!({ "subsets": [{ "addresses": [{ "ip": "10.1.1.1" }] }] });
        show_endpoints(&host, &mut endpoints);
        assert_eq!(
            endpoints,
            json!({ "subsets": [{ "addresses": [{ "ip": "10.0.0.9" }], "ports": [port] }] })
        );
    }

    #[test]
    fn a_headless_service_is_shown_by_its_endpoints_without_their_pods() {
        let host = service(json!({ "clusterIP": "None", "ports": [{ "port": 80 }] }));
        let mut endpoints = json!({ "subsets": [{
            "addresses": [{ "ip": "10.1.1.1", "nodeName": "n", "targetRef": { "kind": "Pod" } }],
            "ports": [{ "port": 80 }],
        }]});
        show_endpoints(&host, &mut endpoints);
        let expected =
            json!({ "subsets": [{ "addresses": [{ "ip": "10.1.1.1" }], "ports": [{ "port": 80 }] }] });
        assert_eq!(endpoints, expected);
    }
}
