//! Services.

mod form;
mod validate;
mod warnings;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use validate::validate_host;

use crate::field::Errors;
use crate::registry::access::{
    at, get_mut, has, int_at, list_at, list_mut, make_map, remove, set, set_default, str_at,
};
use crate::registry::kind::{Column, Kind, NameRule, Writer};
use crate::table::{AGE, NAME, age, column, joined, labels, load_balancer, name, text_or, wide};

/// The rules of services.
pub struct Service;

impl Kind for Service {
    fn default(&self, service: &mut Value) {
        default_affinity(service);
        set_default(service, "/spec/type", "ClusterIP");
        for port in list_mut(service, "/spec/ports") {
            set_default(port, "/protocol", "TCP");
            let target = at(port, "/targetPort");
            if target.is_null() || target == 0 || target == "" {
                set(port, "/targetPort", int_at(port, "/port"));
            }
        }
        let kind = str_at(service, "/spec/type").to_owned();
        let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
            || kind == "ClusterIP" && !list_at(service, "/spec/externalIPs").is_empty();
        if external {
            set_default(service, "/spec/externalTrafficPolicy", "Cluster");
        }
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
            set_default(service, "/spec/internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            set_default(service, "/spec/allocateLoadBalancerNodePorts", true);
        }
        default_status(service);
    }

    fn prepare_create(&self, service: &mut Value, _writer: &Writer<'_>) {
        set(service, "/status", json!({"loadBalancer": {}}));
        form::normalize_addresses(service, None);
    }

    fn validate(&self, service: &Value) -> Errors {
        validate::validate_create(service)
    }

    fn prepare_update(&self, service: &mut Value, old: &Value, _writer: &Writer<'_>) {
        default_status(service);
        form::keep_allocated(service, old);
        form::normalize_addresses(service, Some(old));
        form::drop_unused(service, old);
    }

    fn validate_update(&self, service: &Value, old: &Value) -> Errors {
        validate::validate_update(service, old)
    }

    fn validate_status_update(&self, service: &Value, old: &Value) -> Errors {
        validate::validate_status(service, old)
    }

    fn warnings(&self, service: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings::warnings(service)
    }

    fn status_warnings(&self, service: &Value) -> Vec<String> {
        warnings::of_status(service)
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn prepare_status_update(&self, service: &mut Value, _old: &Value) {
        default_status(service);
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, service: &Value, now: Timestamp) -> Vec<Value> {
        let address =
            list_at(service, "/spec/clusterIPs").first().and_then(Value::as_str).unwrap_or("<none>");
        vec![
            name(service),
            str_at(service, "/spec/type").into(),
            address.into(),
            external_addresses(service),
            ports(service).into(),
            age(service, now),
            labels(service, "/spec/selector"),
        ]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn field_values(&self, service: &Value) -> Vec<String> {
        vec![str_at(service, "/spec/clusterIP").to_owned(), str_at(service, "/spec/type").to_owned()]
    }
}

fn default_affinity(service: &mut Value) {
    const TIMEOUT: &str = "/spec/sessionAffinityConfig/clientIP/timeoutSeconds";
    set_default(service, "/spec/sessionAffinity", "None");
    match str_at(service, "/spec/sessionAffinity") {
        "None" => drop(remove(service, "/spec/sessionAffinityConfig")),
        "ClientIP" => set_default(service, TIMEOUT, 10_800),
        _ => {}
    }
}

fn default_status(service: &mut Value) {
    make_map(service, "/status/loadBalancer");
    if str_at(service, "/spec/type") == "LoadBalancer"
        && let Some(status) = get_mut(service, "/status/loadBalancer")
    {
        for ingress in list_mut(status, "/ingress").filter(|i| has(i, "/ip")) {
            set_default(ingress, "/ipMode", "VIP");
        }
    }
}

fn external_addresses(service: &Value) -> Value {
    let external = joined(service, "/spec/externalIPs");
    match str_at(service, "/spec/type") {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".into(),
        "ClusterIP" | "NodePort" => external.into(),
        "LoadBalancer" => match (load_balancer(service, "/status/loadBalancer/ingress"), external) {
            (balancer, external) if balancer.is_empty() && external.is_empty() => "<pending>".into(),
            (balancer, external) if external.is_empty() => balancer.into(),
            (balancer, external) if balancer.is_empty() => external.into(),
            (balancer, external) => format!("{balancer},{external}").into(),
        },
        "ExternalName" => text_or(service, "/spec/externalName", ""),
        _ => "<unknown>".into(),
    }
}

fn ports(service: &Value) -> String {
    let ports: Vec<String> = list_at(service, "/spec/ports")
        .iter()
        .map(|port| {
            let (number, protocol) = (int_at(port, "/port"), str_at(port, "/protocol"));
            match int_at(port, "/nodePort") {
                0 => format!("{number}/{protocol}"),
                node_port => format!("{number}:{node_port}/{protocol}"),
            }
        })
        .collect();
    if ports.is_empty() { "<none>".into() } else { ports.join(",") }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Type",
        "string",
        "type determines how the Service is exposed. Defaults to ClusterIP. Valid options are ExternalName, ClusterIP, NodePort, and LoadBalancer. \"ClusterIP\" allocates a cluster-internal IP address for load-balancing to endpoints. Endpoints are determined by the selector or if that is not specified, by manual construction of an Endpoints object or EndpointSlice objects. If clusterIP is \"None\", no virtual IP is allocated and the endpoints are published as a set of endpoints rather than a virtual IP. \"NodePort\" builds on ClusterIP and allocates a port on every node which routes to the same endpoints as the clusterIP. \"LoadBalancer\" builds on NodePort and creates an external load-balancer (if supported in the current cloud) which routes to the same endpoints as the clusterIP. \"ExternalName\" aliases this service to the specified externalName. Several other fields do not apply to ExternalName services. More info: https://kubernetes.io/docs/concepts/services-networking/service/#publishing-services-service-types",
    ),
    column(
        "Cluster-IP",
        "string",
        "clusterIP is the IP address of the service and is usually assigned randomly. If an address is specified manually, is in-range (as per system configuration), and is not in use, it will be allocated to the service; otherwise creation of the service will fail. This field may not be changed through updates unless the type field is also being changed to ExternalName (which requires this field to be blank) or the type field is being changed from ExternalName (in which case this field may optionally be specified, as describe above).  Valid values are \"None\", empty string (\"\"), or a valid IP address. Setting this to \"None\" makes a \"headless service\" (no virtual IP), which is useful when direct endpoint connections are preferred and proxying is not required.  Only applies to types ClusterIP, NodePort, and LoadBalancer. If this field is specified when creating a Service of type ExternalName, creation will fail. This field will be wiped when updating a Service to type ExternalName. More info: https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies",
    ),
    column(
        "External-IP",
        "string",
        "externalIPs is a list of IP addresses for which nodes in the cluster will also accept traffic for this service.  These IPs are not managed by Kubernetes.  The user is responsible for ensuring that traffic arrives at a node with this IP.  A common example is external load-balancers that are not part of the Kubernetes system.",
    ),
    column(
        "Port(s)",
        "string",
        "The list of ports that are exposed by this service. More info: https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies",
    ),
    AGE,
    wide(
        "Selector",
        "string",
        "Route service traffic to pods with label keys and values matching this selector. If empty or not present, the service is assumed to have an external process managing its endpoints, which Kubernetes will not modify. Only applies to types ClusterIP, NodePort, and LoadBalancer. Ignored if type is ExternalName. More info: https://kubernetes.io/docs/concepts/services-networking/service/",
    ),
];
