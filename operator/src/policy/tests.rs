use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use vkube_crds::{EnforcedField, VirtualCluster, VirtualClusterPolicy};

use super::*;
use crate::Options;
use crate::settings;

fn mk_policy(name: &str, spec: Value) -> Arc<VirtualClusterPolicy> {
    let mut policy = VirtualClusterPolicy::new(name, serde_json::from_value(spec).unwrap());
    policy.metadata.uid = Some(format!("uid-of-{name}"));
    Arc::new(policy)
}

fn mk_cluster(spec: Value) -> VirtualCluster {
    let mut cluster = VirtualCluster::new("demo", serde_json::from_value(spec).unwrap());
    cluster.metadata.namespace = Some("tenants".into());
    cluster.metadata.labels = Some(BTreeMap::from([("team".into(), "a".into())]));
    cluster
}

fn bound_to(spec: Value, namespace: &[(&str, &str)], policies: &[Arc<VirtualClusterPolicy>]) -> String {
    let labels = namespace.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    match bind(&mk_cluster(spec), &labels, policies) {
        Binding::Unbound => "nothing".into(),
        Binding::Bound(policy, rivals) => {
            let names: Vec<_> = policy.metadata.name.iter().cloned().chain(rivals).collect();
            names.join(" before ")
        }
        Binding::Missing(name) => format!("missing {name}"),
        Binding::NotAllowed(name) => format!("not allowed {name}"),
    }
}

fn by_namespace(tier: &str) -> Value {
    json!({"selector": {"namespaceSelector": {"matchLabels": {"tier": tier}}}})
}

#[test]
fn a_named_policy_beats_a_matching_one() {
    let policies = [mk_policy("named", json!({})), mk_policy("matching", by_namespace("dev"))];
    let named = json!({"policyRef": {"name": "named"}});
    assert_eq!(bound_to(named, &[("tier", "dev")], &policies), "named");
    assert_eq!(bound_to(json!({}), &[("tier", "dev")], &policies), "matching");
}

#[test]
fn a_policy_for_others_cannot_be_named() {
    let policies = [mk_policy("prod", by_namespace("prod"))];
    let named = json!({"policyRef": {"name": "prod"}});
    assert_eq!(bound_to(named, &[("tier", "dev")], &policies), "not allowed prod");
}

#[test]
fn a_policy_that_does_not_exist_is_missing() {
    assert_eq!(bound_to(json!({"policyRef": {"name": "x"}}), &[], &[]), "missing x");
}

#[test]
fn the_higher_priority_wins_and_ties_go_to_the_first_name() {
    let with = |name: &str, priority: i32| {
        let mut spec = by_namespace("dev");
        spec["priority"] = json!(priority);
        mk_policy(name, spec)
    };
    let dev = [("tier", "dev")];
    assert_eq!(bound_to(json!({}), &dev, &[with("a", 1), with("b", 2)]), "b");
    assert_eq!(bound_to(json!({}), &dev, &[with("b", 2), with("a", 2), with("c", 1)]), "a before b");
}

#[test]
fn the_default_binds_what_nothing_matches() {
    let default = mk_policy("fallback", json!({"default": true, "priority": 1000}));
    let policies = [default, mk_policy("dev", by_namespace("dev"))];
    assert_eq!(bound_to(json!({}), &[("tier", "dev")], &policies), "dev");
    assert_eq!(bound_to(json!({}), &[("tier", "prod")], &policies), "fallback");
}

#[test]
fn a_policy_without_selector_binds_only_by_name() {
    assert_eq!(bound_to(json!({}), &[], &[mk_policy("plain", json!({}))]), "nothing");
}

#[test]
fn both_selectors_must_match() {
    let policy = mk_policy(
        "both",
        json!({"selector": {"namespaceSelector": {"matchLabels": {"tier": "dev"}},
            "clusterSelector": {"matchLabels": {"team": "b"}}}}),
    );
    assert_eq!(bound_to(json!({}), &[("tier", "dev")], &[policy]), "nothing");
}

#[test]
fn a_policy_being_deleted_keeps_its_clusters_and_takes_no_new_ones() {
    let mut leaving = (*mk_policy("leaving", json!({"default": true}))).clone();
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let policies = [Arc::new(leaving)];
    assert_eq!(bound_to(json!({}), &[], &policies), "nothing");
    let mut cluster = mk_cluster(json!({}));
    cluster.status = Some(
        serde_json::from_value(json!({"policy": {"name": "leaving", "uid": "uid-of-leaving",
            "observedGeneration": 1}}))
        .unwrap(),
    );
    assert!(matches!(bind(&cluster, &BTreeMap::new(), &policies), Binding::Bound(..)));
}

#[test]
fn enforced_beats_own_beats_defaults() {
    let policy = mk_policy(
        "standard",
        json!({
            "defaults": {"controlPlane": {"image": "default", "nodeSelector": {"a": "default", "b": "default"}},
                "isolation": {"podSecurity": "restricted"}},
            "enforced": {"isolation": {"podSecurity": "baseline"}, "controlPlane": {"nodeSelector": {"c": "enforced"}}},
        }),
    );
    let cluster = mk_cluster(json!({
        "controlPlane": {"nodeSelector": {"b": "own", "c": "own"}},
        "isolation": {"podSecurity": "privileged"},
    }));
    let effective = merge(&cluster.spec, Map::new(), Some(&policy)).unwrap();
    let spec = serde_json::to_value(&effective.spec).unwrap();
    assert_eq!(spec["controlPlane"]["image"], "default");
    assert_eq!(spec["controlPlane"]["nodeSelector"], json!({"a": "default", "b": "own", "c": "enforced"}));
    assert_eq!(spec["isolation"]["podSecurity"], "baseline");
    let field = |path: &str, requested: &str, effective: &str| EnforcedField {
        path: path.into(),
        requested: requested.into(),
        effective: effective.into(),
    };
    assert_eq!(
        effective.enforced,
        [
            field("controlPlane.nodeSelector.c", "own", "enforced"),
            field("isolation.podSecurity", "privileged", "baseline"),
        ]
    );
}

#[test]
fn lists_replace() {
    let policy = mk_policy(
        "standard",
        json!({"enforced": {"isolation": {"networkPolicy": {"ingressCIDRs": ["10.0.0.0/8"]}}}}),
    );
    let cluster =
        mk_cluster(json!({"isolation": {"networkPolicy": {"ingressCIDRs": ["0.0.0.0/0", "::/0"]}}}));
    let effective = merge(&cluster.spec, Map::new(), Some(&policy)).unwrap();
    let network = effective.spec.isolation.unwrap().network_policy.unwrap();
    assert_eq!(network.ingress_cidrs, ["10.0.0.0/8"]);
}

#[test]
fn what_the_cluster_asks_for_anyway_is_not_overruled() {
    let policy = mk_policy("standard", json!({"enforced": {"isolation": {"podSecurity": "baseline"}}}));
    for spec in [json!({}), json!({"isolation": {"podSecurity": "baseline"}})] {
        assert!(merge(&mk_cluster(spec).spec, Map::new(), Some(&policy)).unwrap().enforced.is_empty());
    }
}

#[test]
fn bounds_of_the_quota_are_reported_where_they_bite() {
    let policy = mk_policy(
        "standard",
        json!({"constraints": {"maxResourceQuota": {"pods": "10", "requests.cpu": 4}}}),
    );
    let asked = |hard: Value| {
        let cluster = mk_cluster(json!({"isolation": {"resourceQuota": {"hard": hard}}}));
        merge(&cluster.spec, Map::new(), Some(&policy)).unwrap().enforced
    };
    assert!(asked(json!({"pods": 10, "requests.cpu": "4000m"})).is_empty());
    let paths: Vec<_> =
        asked(json!({"pods": 11, "requests.cpu": "5"})).into_iter().map(|field| field.path).collect();
    assert_eq!(paths, ["isolation.resourceQuota.hard.pods", "isolation.resourceQuota.hard.requests.cpu"]);
}

#[test]
fn the_shorter_of_two_lifetimes_is_in_force() {
    let policy = mk_policy("standard", json!({"constraints": {"maxLifetime": "24h"}}));
    for (asked, effective, overruled) in
        [(None, "24h", false), (Some("1h30m"), "1h30m", false), (Some("48h"), "24h", true)]
    {
        let spec = json!({"lifecycle": {"deleteAfter": {"sinceCreation": asked}}});
        let merged = merge(&mk_cluster(spec).spec, Map::new(), Some(&policy)).unwrap();
        let after = merged.spec.lifecycle.unwrap().delete_after.unwrap().since_creation;
        assert_eq!(after.as_deref(), Some(effective));
        assert_eq!(!merged.enforced.is_empty(), overruled, "{asked:?}");
    }
}

#[test]
fn an_export_needs_the_policys_consent_unless_it_stays_at_home() {
    let asked = json!({"export": {"argocd": {"enabled": true, "namespace": "argocd"}}});
    let settings = settings::validate(&mk_cluster(asked), &Options::new("i"), &BTreeMap::new()).unwrap();
    assert!(constrain_export(&settings, "tenants", &[]).is_some());
    assert_eq!(constrain_export(&settings, "tenants", &["argocd".to_owned()]), None);
    assert_eq!(constrain_export(&settings, "argocd", &[]), None);
}

#[test]
fn constraints_reject() {
    let constraints = json!({
        "allowedExposeTypes": ["ClusterIP"],
        "allowedHostNames": ["*.example.com"],
        "allowedHostNamespaces": ["acme-*", "shared"],
        "allowedStorageClasses": ["fast"],
        "allowedImages": ["registry.example.com/vkube"],
        "maxVolumeSize": "10Gi",
    });
    let violations = |spec: Value| {
        let mut options = Options::new("own-image");
        options.persistence = false;
        let settings = settings::validate(&mk_cluster(spec), &options, &BTreeMap::new()).unwrap();
        constrain(&settings, &serde_json::from_value(constraints.clone()).unwrap(), "own-image")
    };
    let volume = |size: &str, class: Option<&str>| json!({"backingStore": {"volume": {"enabled": true, "size": size, "storageClassName": class}}});
    let image = |image: &str| json!({"controlPlane": {"image": image}});
    let beside = |image: &str| json!({"controlPlane": {"podTemplate": {"spec": {"initContainers": [{"name": "a", "image": image}]}}}});
    let mapped = |from: &str, to: &str| json!({"sync": {"toHost": {"namespaces": {"mappings": {from: to}}}}});
    for allowed in [
        json!({}),
        mapped("team-*", "acme-team-*"),
        mapped("a", "shared"),
        volume("10Gi", Some("fast")),
        json!({"expose": {"externalAddress": "a.example.com", "extraSANs": ["b.A.example.com"]}}),
        image("registry.example.com/vkube:1"),
        image("registry.example.com/vkube@sha256:00"),
        image("registry.example.com/vkube/debug"),
        beside("registry.example.com/vkube/shipper"),
    ] {
        assert!(violations(allowed.clone()).is_empty(), "{allowed}");
    }
    for rejected in [
        json!({"expose": {"type": "LoadBalancer"}}),
        json!({"expose": {"externalAddress": "example.com"}}),
        json!({"expose": {"extraSANs": ["evilexample.com"]}}),
        mapped("team-*", "*-acme"),
        mapped("a", "shared-too"),
        volume("11Gi", Some("fast")),
        volume("1Gi", Some("slow")),
        volume("1Gi", None),
        image("registry.example.com/vkube-evil:1"),
        image("elsewhere/vkube"),
        beside("elsewhere/shipper"),
    ] {
        assert_eq!(violations(rejected.clone()).len(), 1, "{rejected}");
    }
}

#[test]
fn a_policy_may_refuse_pod_templates() {
    let asked = json!({"controlPlane": {"podTemplate": {"spec": {"runtimeClassName": "x"}}}});
    let settings = settings::validate(&mk_cluster(asked), &Options::new("i"), &BTreeMap::new()).unwrap();
    let denied = serde_json::from_value(json!({"denyPodTemplate": true})).unwrap();
    assert_eq!(constrain(&settings, &denied, "i"), ["controlPlane.podTemplate is not allowed"]);
    assert!(constrain(&settings, &vkube_crds::Constraints::default(), "i").is_empty());
}

#[test]
fn flags_that_a_policy_denies_are_named() {
    let asked = json!({"controlPlane": {"extraArgs": ["--audit-log-path=/data/audit", "--controllers=*"]}});
    let settings =
        settings::validate(&mk_cluster(asked), &Options::new("vkube:test"), &BTreeMap::new()).unwrap();
    let denied = |names: Value| {
        let constraints = serde_json::from_value(json!({"deniedExtraArgs": names})).unwrap();
        constrain(&settings, &constraints, "vkube:test").join("; ")
    };
    assert_eq!(denied(json!(["--audit-log", "--controller"])), "");
    assert_eq!(denied(json!(["--audit-*"])), "controlPlane.extraArgs: --audit-log-path is denied");
    assert_eq!(denied(json!(["controllers"])), "controlPlane.extraArgs: --controllers is denied");
}
