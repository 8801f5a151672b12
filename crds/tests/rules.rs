//! The CEL rules of the CRD, evaluated as an API server does.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "tests")]

use kube::core::cel::Validator;
use serde_json::{Value, json};
use vkube_crds::virtual_cluster_crd;

fn mk(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "vkube.dev/v1alpha1",
        "kind": "VirtualCluster",
        "metadata": {"name": name, "namespace": "tenants"},
        "spec": spec,
    })
}

/// What the rules have against the object, as an update of `old` if there is one.
fn refusals(object: &Value, old: Option<&Value>) -> Vec<String> {
    let crd = virtual_cluster_crd();
    let schema = serde_json::to_value(crd.spec.versions[0].schema.as_ref().unwrap()).unwrap();
    match Validator::new().validate(&schema["openAPIV3Schema"], object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => vec![format!("{errors:?}")],
    }
}

fn update(old: Value, new: Value) -> Vec<String> {
    refusals(&mk("demo", new), Some(&mk("demo", old)))
}

#[test]
fn immutable_fields_cannot_be_set_changed_or_unset() {
    let host = |name: &str| json!({"hostNamespace": {"name": name}});
    let domain = |name: &str| json!({"networking": {"clusterDomain": name}});
    let volume = |volume: Value| json!({"backingStore": {"volume": volume}});
    let namespaces = |namespaces: Value| json!({"sync": {"toHost": {"namespaces": namespaces}}});
    let mapped = |to: &str| namespaces(json!({"mappings": {"a": to}}));
    for (old, new) in [
        (json!({}), host("vc-a")),
        (host("vc-a"), host("vc-b")),
        (host("vc-a"), json!({"hostNamespace": {}})),
        (host("vc-a"), json!({})),
        (json!({}), domain("a.local")),
        (domain("a.local"), domain("b.local")),
        (domain("a.local"), json!({})),
        (json!({}), volume(json!({"enabled": false}))),
        (volume(json!({"enabled": true})), volume(json!({"enabled": false}))),
        (volume(json!({"enabled": false})), json!({})),
        (json!({}), volume(json!({"storageClassName": "a"}))),
        (volume(json!({"storageClassName": "a"})), volume(json!({"storageClassName": "b"}))),
        (volume(json!({"storageClassName": "a"})), volume(json!({"size": "1Gi"}))),
        (json!({}), mapped("x")),
        (mapped("x"), mapped("y")),
        (mapped("x"), json!({"sync": {"toHost": {}}})),
        (mapped("x"), json!({})),
        (mapped("x"), namespaces(json!({"mappings": {"a": "x"}, "mappingsOnly": true}))),
        (mapped("x"), namespaces(json!({"mappings": {"a": "x"}, "extraLabels": {"team": "a"}}))),
    ] {
        assert!(!update(old.clone(), new.clone()).is_empty(), "{old} -> {new}");
        assert_eq!(update(old.clone(), old.clone()), Vec::<String>::new(), "{old}");
    }
}

#[test]
fn a_store_is_of_one_type_for_ever_and_has_what_the_type_needs() {
    let database = |more: Value| {
        let mut external = json!({"secretRef": {"name": "db"}});
        external.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"replicas": 3, "backingStore": {"type": "ExternalDatabase", "external": external}})
    };
    assert_eq!(refusals(&mk("demo", database(json!({}))), None), Vec::<String>::new());
    for wrong in [
        json!({"replicas": 2}),
        json!({"replicas": 2, "backingStore": {"type": "Embedded"}}),
        json!({"backingStore": {"type": "ExternalDatabase"}}),
        json!({"backingStore": {"external": {"secretRef": {"name": "db"}}}}),
        json!({"backingStore": {
            "type": "ExternalDatabase", "external": {"secretRef": {"name": "db"}}, "volume": {"size": "1Gi"},
        }}),
    ] {
        assert!(!refusals(&mk("demo", wrong.clone()), None).is_empty(), "{wrong}");
    }
    let named = |schema: &str| database(json!({"schema": schema}));
    for (old, new) in [
        (json!({}), database(json!({}))),
        (database(json!({})), json!({})),
        (named("a"), named("b")),
        (named("a"), database(json!({}))),
        (database(json!({})), named("a")),
    ] {
        assert!(!update(old.clone(), new.clone()).is_empty(), "{old} -> {new}");
    }
    let moved = database(json!({"endpoint": "postgres://u@elsewhere/d"}));
    assert_eq!(update(database(json!({})), moved), Vec::<String>::new());
    assert_eq!(update(json!({}), json!({"backingStore": {"type": "Embedded"}})), Vec::<String>::new());
}

#[test]
fn other_fields_change_freely() {
    for (old, new) in [
        (json!({}), json!({"replicas": 0})),
        (json!({}), json!({"hostNamespace": {"labels": {"a": "b"}}})),
        (json!({}), json!({"networking": {"clusterDomain": "cluster.local"}})),
        (
            json!({"backingStore": {"volume": {"size": "1Gi"}}}),
            json!({"backingStore": {"volume": {"size": "2Gi"}}}),
        ),
        (json!({"expose": {"type": "LoadBalancer"}}), json!({})),
    ] {
        assert_eq!(update(old.clone(), new.clone()), Vec::<String>::new(), "{old} -> {new}");
    }
}

#[test]
fn what_a_spec_refers_to_is_in_one_place_and_gates_are_of_others() {
    let at = json!({"name": "values", "key": "vcluster.yaml"});
    let manifests = json!({"manifestRefs": [{"kind": "Secret", "name": "agent", "key": "all.yaml"}]});
    for right in [
        json!({"configFrom": [{"secretKeyRef": at}, {"configMapKeyRef": at}], "config": {"any": {"thing": 1}}}),
        json!({"bootstrap": manifests}),
        json!({"bootstrap": {"manifests": "a"}}),
        json!({"readinessGates": [{"conditionType": "example.com/Seeded"}]}),
    ] {
        assert_eq!(refusals(&mk("demo", right.clone()), None), Vec::<String>::new(), "{right}");
    }
    for wrong in [
        json!({"configFrom": [{}]}),
        json!({"configFrom": [{"secretKeyRef": at, "configMapKeyRef": at}]}),
        json!({"bootstrap": {}}),
        json!({"readinessGates": [{"conditionType": "vkube.dev/Ready"}]}),
    ] {
        assert!(!refusals(&mk("demo", wrong.clone()), None).is_empty(), "{wrong}");
    }
}

#[test]
fn service_accounts_have_a_namespace_and_users_have_none() {
    let access = |subject: Value| {
        let access =
            json!([{"clusterRole": "view", "subjects": [{"kind": "User", "name": "jane"}, subject]}]);
        refusals(&mk("demo", json!({"access": access})), None)
    };
    assert!(access(json!({"kind": "Group", "name": "devs"})).is_empty());
    assert!(access(json!({"kind": "ServiceAccount", "name": "ci", "namespace": "default"})).is_empty());
    for wrong in [
        json!({"kind": "ServiceAccount", "name": "ci"}),
        json!({"kind": "User", "name": "joe", "namespace": "default"}),
    ] {
        assert!(!access(wrong.clone()).is_empty(), "{wrong}");
    }
}

#[test]
fn fields_of_a_service_need_a_type_that_has_them() {
    let expose = |type_: &str, service: Value| {
        refusals(&mk("demo", json!({"expose": {"type": type_, "service": service}})), None)
    };
    for (type_, service) in [
        ("ClusterIP", json!({"nodePort": 30000})),
        ("ClusterIP", json!({"externalTrafficPolicy": "Local"})),
        ("NodePort", json!({"loadBalancerClass": "a"})),
        ("NodePort", json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]})),
    ] {
        assert!(!expose(type_, service.clone()).is_empty(), "{type_} {service}");
    }
    for (type_, service) in [
        ("ClusterIP", json!({"annotations": {"a": "b"}})),
        ("NodePort", json!({"nodePort": 30000, "externalTrafficPolicy": "Local"})),
        (
            "LoadBalancer",
            json!({"nodePort": 30000, "loadBalancerClass": "a", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
        ),
    ] {
        assert_eq!(expose(type_, service.clone()), Vec::<String>::new(), "{type_} {service}");
    }
}

#[test]
fn details_of_an_exposure_need_its_type() {
    let expose = |expose: Value| refusals(&mk("demo", json!({"expose": expose})), None);
    for (type_, field) in [("ClusterIP", "ingress"), ("Gateway", "ingress"), ("Ingress", "gateway")] {
        assert!(!expose(json!({"type": type_, field: {}})).is_empty(), "{type_} {field}");
    }
    for (type_, field) in [("Ingress", "ingress"), ("Gateway", "gateway")] {
        assert_eq!(expose(json!({"type": type_, field: {}})), Vec::<String>::new(), "{type_} {field}");
        // The type may come from a policy.
        assert_eq!(expose(json!({field: {}})), Vec::<String>::new(), "{field}");
    }
}

#[test]
fn names_leave_room_for_what_is_derived_from_them() {
    for name in ["demo", "a", "team-a1", &"x".repeat(40)] {
        assert_eq!(refusals(&mk(name, json!({})), None), Vec::<String>::new(), "{name}");
    }
    for name in ["1st", "dotted.name", "trailing-", &"x".repeat(41)] {
        assert!(!refusals(&mk(name, json!({})), None).is_empty(), "{name}");
    }
}
