//! Ingresses.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use crate::field::Errors;
use crate::registry::access::{list_at, make_map, map_at, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, load_balancer, name, shown_or};

/// The rules of ingresses.
pub struct Ingress;

impl Kind for Ingress {
    fn default(&self, ingress: &mut Value) {
        make_map(ingress, "/status/loadBalancer");
    }

    fn prepare_create(&self, ingress: &mut Value, _writer: &Writer<'_>) {
        make_map(ingress, "/status/loadBalancer");
    }

    fn validate(&self, ingress: &Value) -> Errors {
        validate::validate_create(ingress)
    }

    fn validate_update(&self, ingress: &Value, old: &Value) -> Errors {
        validate::validate_update(ingress, old)
    }

    fn validate_status_update(&self, ingress: &Value, old: &Value) -> Errors {
        validate::validate_status(ingress, old)
    }

    fn warnings(&self, ingress: &Value, old: Option<&Value>) -> Vec<String> {
        let annotations = map_at(ingress, "/metadata/annotations");
        if old.is_none() && annotations.is_some_and(|all| all.contains_key(validate::CLASS)) {
            let class = validate::CLASS;
            vec![format!("annotation {class:?} is deprecated, please use 'spec.ingressClassName' instead")]
        } else {
            Vec::new()
        }
    }

    fn prepare_status_update(&self, ingress: &mut Value, _old: &Value) {
        make_map(ingress, "/status/loadBalancer");
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, ingress: &Value, now: Timestamp) -> Vec<Value> {
        let ports = if list_at(ingress, "/spec/tls").is_empty() { "80" } else { "80, 443" };
        vec![
            name(ingress),
            shown_or(ingress, "/spec/ingressClassName", "<none>"),
            hosts(ingress).into(),
            load_balancer(ingress, "/status/loadBalancer/ingress").into(),
            ports.into(),
            age(ingress, now),
        ]
    }
}

fn hosts(ingress: &Value) -> String {
    const SHOWN: usize = 3;
    let rules = list_at(ingress, "/spec/rules");
    let mut hosts = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= hosts.len() == SHOWN;
        let host = str_at(rule, "/host");
        if !more && !host.is_empty() {
            hosts.push(host);
        }
    }
    match hosts.join(",") {
        text if text.is_empty() => "*".into(),
        text if more => format!("{text} + {} more...", rules.len() - SHOWN),
        text => text,
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Class",
        "string",
        "The name of the IngressClass resource that should be used for additional configuration",
    ),
    column("Hosts", "string", "Hosts that incoming requests are matched against before the ingress rule"),
    column("Address", "string", "Address is a list containing ingress points for the load-balancer"),
    column("Ports", "string", "Ports of TLS configurations that open"),
    AGE,
];
