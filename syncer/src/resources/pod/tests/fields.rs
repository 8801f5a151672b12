//! What becomes of every field of a pod's spec. The fields are those of the API server's own table, so one that a new
//! version adds fails here until it has a rule.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::translate::to_host;
use super::{surroundings, translator};

const SCHEMA: &str = include_str!("../../../../../controlplane/apiserver/src/schema/table.txt");

/// What becomes of a field on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// It is the tenant's, as it is.
    Kept,
    /// It is the tenant's, with names of other objects translated.
    Renamed,
    /// It says the same in the host's terms.
    Rewritten,
    /// The host decides; what the tenant says is not passed on.
    Hosts,
    /// It reaches the host after creation, through a subresource.
    Later,
}

use Rule::{Hosts, Kept, Later, Renamed, Rewritten};

/// Each field, its rule, and a value to try it with.
fn table() -> Vec<(&'static str, Rule, Value)> {
    let container =
        |name: &str| json!([{ "name": name, "image": "i", "envFrom": [{ "secretRef": { "name": "s" } }] }]);
    let term = json!({ "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "web" } } });
    vec![
        ("volumes", Renamed, json!([{ "name": "v", "configMap": { "name": "c" } }])),
        ("initContainers", Renamed, container("init")),
        ("containers", Renamed, container("app")),
        ("ephemeralContainers", Later, container("debug")),
        ("restartPolicy", Kept, json!("Never")),
        ("terminationGracePeriodSeconds", Kept, json!(7)),
        ("activeDeadlineSeconds", Kept, json!(7)),
        // The virtual cluster's resolver and search path are given in full.
        ("dnsPolicy", Rewritten, json!("ClusterFirst")),
        ("nodeSelector", Kept, json!({ "disk": "fast" })),
        // Pods have no identity on the host; their tokens are the virtual cluster's.
        ("serviceAccountName", Hosts, json!("robot")),
        ("serviceAccount", Hosts, json!("robot")),
        ("automountServiceAccountToken", Hosts, json!(true)),
        // It becomes a required node affinity, so that the host's taints count.
        ("nodeName", Rewritten, json!("node-1")),
        ("hostNetwork", Kept, json!(true)),
        ("hostPID", Kept, json!(true)),
        ("hostIPC", Kept, json!(true)),
        ("shareProcessNamespace", Kept, json!(true)),
        ("securityContext", Kept, json!({ "runAsUser": 7 })),
        ("imagePullSecrets", Renamed, json!([{ "name": "pull" }])),
        ("hostname", Kept, json!("own")),
        // The kubelet would write a name of the host's namespace; our DNS answers for the virtual one.
        ("subdomain", Hosts, json!("web")),
        (
            "affinity",
            Rewritten,
            json!({ "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } }),
        ),
        ("schedulerName", Kept, json!("own")),
        ("tolerations", Kept, json!([{ "key": "a", "operator": "Exists" }])),
        ("hostAliases", Rewritten, json!([{ "ip": "192.0.2.1", "hostnames": ["a"] }])),
        ("priorityClassName", Hosts, json!("high")),
        ("priority", Hosts, json!(7)),
        ("dnsConfig", Rewritten, json!({ "nameservers": ["192.0.2.1"] })),
        ("readinessGates", Kept, json!([{ "conditionType": "a.b/c" }])),
        ("runtimeClassName", Kept, json!("sandboxed")),
        // The virtual cluster's services are given as variables.
        ("enableServiceLinks", Hosts, json!(true)),
        ("preemptionPolicy", Hosts, json!("Never")),
        ("overhead", Kept, json!({ "cpu": "1" })),
        (
            "topologySpreadConstraints",
            Rewritten,
            json!([{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                     "labelSelector": { "matchLabels": { "app": "web" } } }]),
        ),
        // The kubelet would take the name from the host's namespace; it becomes `hostnameOverride`.
        ("setHostnameAsFQDN", Rewritten, json!(true)),
        ("os", Kept, json!({ "name": "linux" })),
        ("hostUsers", Kept, json!(false)),
        ("schedulingGates", Kept, json!([{ "name": "a.b/c" }])),
        ("resourceClaims", Renamed, json!([{ "name": "gpu", "resourceClaimName": "claim" }])),
        ("resources", Kept, json!({ "limits": { "cpu": "1" } })),
        ("hostnameOverride", Kept, json!("own")),
        // Groups of pods are the virtual cluster's objects.
        ("schedulingGroup", Hosts, json!({ "podGroupName": "g" })),
    ]
}

/// The fields of a definition in the table.
fn fields(definition: &str) -> BTreeSet<&'static str> {
    let of = SCHEMA.lines().skip_while(|line| *line != definition).skip(1);
    of.take_while(|line| line.starts_with("  ")).filter_map(|line| line.split_whitespace().next()).collect()
}

/// The host's spec of a pod in `shop` with one more field.
fn on_host(field: &str, value: &Value) -> Value {
    let mut pod = json!({
        "metadata": { "name": "web-0", "namespace": "shop", "uid": "u", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "app", "image": "i" }] },
    });
    pod["spec"][field] = value.clone();
    let pod: Pod = serde_json::from_value(pod).unwrap();
    serde_json::to_value(to_host(&translator(), &surroundings(), &pod).spec).unwrap()
}

#[test]
fn every_field_of_a_pods_spec_has_a_rule() {
    let ruled: BTreeSet<&str> = table().iter().map(|(field, ..)| *field).collect();
    assert_eq!(ruled, fields("io.k8s.api.core.v1.PodSpec"));
    assert_eq!(ruled.len(), table().len(), "one rule each");
}

#[test]
fn every_field_of_a_pods_spec_follows_its_rule() {
    for (field, rule, value) in table() {
        let host = &on_host(field, &value)[field];
        let is_translated = host.to_string().contains("-x-shop-x-demo");
        match rule {
            Kept => assert_eq!(host, &value, "{field}"),
            Renamed => assert!(is_translated, "{field}: {host}"),
            Rewritten => assert!(host != &value && !is_translated, "{field}: {host}"),
            Hosts => assert_ne!(host, &value, "{field}"),
            Later => assert!(host.is_null(), "{field}: {host}"),
        }
    }
}

#[test]
fn what_is_rewritten_still_says_what_the_tenant_asked_for() {
    let node = on_host("nodeName", &json!("node-1"));
    assert!(node["affinity"]["nodeAffinity"].to_string().contains("node-1"));
    let aliases = on_host("hostAliases", &json!([{ "ip": "192.0.2.1", "hostnames": ["a"] }]));
    assert_eq!(aliases["hostAliases"][0]["ip"], "192.0.2.1");
    let resolver = on_host("dnsConfig", &json!({ "nameservers": ["192.0.2.1"] }));
    assert_eq!(resolver["dnsConfig"]["nameservers"][1], "192.0.2.1");
}
