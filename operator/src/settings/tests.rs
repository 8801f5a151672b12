use serde_json::{Value, json};

use super::*;

fn mk(spec: Value) -> VirtualCluster {
    let mut cluster = VirtualCluster::new("demo", serde_json::from_value(spec).unwrap());
    cluster.metadata.namespace = Some("tenants".into());
    cluster
}

fn mk_settings(spec: Value) -> Settings {
    validate(&mk(spec), &Options::new("image"), &BTreeMap::new()).unwrap()
}

fn wrong(spec: Value) -> Vec<String> {
    validate(&mk(spec), &Options::new("image"), &BTreeMap::new()).err().unwrap_or_default()
}

fn amounts(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs.iter().map(|(name, amount)| ((*name).to_owned(), (*amount).into())).collect()
}

#[test]
fn an_empty_spec_is_a_complete_request() {
    let settings = mk_settings(json!({}));
    assert_eq!((settings.replicas, settings.image.as_str()), (1, "image"));
    assert_eq!(settings.kubeconfig_secret, "demo-kubeconfig");
    assert_eq!(settings.cluster_domain, "cluster.local");
    assert!(settings.isolation.quota.is_some() && settings.isolation.limits.is_some());
    assert!(settings.isolation.network.is_some());
    assert_eq!(settings.volume, Some(Volume { size: "5Gi".into(), storage_class: None }));
}

#[test]
fn what_the_operator_was_told_is_below_the_spec_and_above_what_is_built_in() {
    let options = Options {
        image: "flag".into(),
        image_pull_policy: Some(ImagePullPolicy::Never),
        persistence: false,
        ..Options::new("image")
    };
    let settings = |spec| validate(&mk(spec), &options, &BTreeMap::new()).unwrap();
    let open = settings(json!({}));
    assert_eq!((open.image.as_str(), open.image_pull_policy), ("flag", Some(ImagePullPolicy::Never)));
    assert_eq!(open.volume, None);
    let own = settings(json!({"controlPlane": {"image": "own", "imagePullPolicy": "Always"},
        "backingStore": {"volume": {"enabled": true}}}));
    assert_eq!((own.image.as_str(), own.image_pull_policy), ("own", Some(ImagePullPolicy::Always)));
    assert!(own.volume.is_some());
}

#[test]
fn what_cannot_be_built_is_refused_with_its_path() {
    for (spec, path) in [
        (json!({"version": "1.35"}), "version"),
        (json!({"lifecycle": {"deleteAfter": {"sinceCreation": "-1h"}}}), "lifecycle.deleteAfter"),
        (
            json!({"export": {"clusterAPI": {"enabled": true}}, "kubeconfig": {"secretName": "other"}}),
            "kubeconfig.secretName",
        ),
        (json!({"controlPlane": {"podTemplate": {"spec": {"nonsense": 1}}}}), "controlPlane.podTemplate"),
        (json!({"export": {"argocd": {"labels": {"argocd.argoproj.io/secret-type": "x"}}}}), "export.argocd"),
        (json!({"expose": {"type": "Ingress"}}), "expose.externalAddress"),
        (json!({"expose": {"type": "Ingress", "externalAddress": "192.0.2.1"}}), "expose.externalAddress"),
        (json!({"expose": {"type": "Gateway", "externalAddress": "a.example.com"}}), "expose.gateway"),
        (
            json!({"hostNamespace": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
            "hostNamespace",
        ),
        (json!({"hostNamespace": {"labels": {"vkube.dev/cluster-uid": "x"}}}), "hostNamespace"),
        (
            json!({"hostNamespace": {"annotations": {"scheduler.alpha.kubernetes.io/node-selector": "x"}}}),
            "hostNamespace",
        ),
        (json!({"expose": {"type": "ClusterIP", "service": {"nodePort": 30000}}}), "expose.service.nodePort"),
        (json!({"expose": {"service": {"loadBalancerClass": "x"}}}), "expose.service.loadBalancerClass"),
        (json!({"expose": {"extraSANs": ["not a name"]}}), "expose"),
        (json!({"expose": {"externalAddress": "-x.example.com"}}), "expose"),
        (json!({"backingStore": {"volume": {"size": "0"}}}), "backingStore.volume.size"),
        (json!({"backingStore": {"volume": {"size": "large"}}}), "backingStore.volume.size"),
        (json!({"replicas": 2}), "replicas"),
        (json!({"backingStore": {"type": "ExternalDatabase"}}), "backingStore.external"),
        (json!({"backingStore": {"external": {"secretRef": {"name": "db"}}}}), "backingStore.external"),
        (
            json!({"backingStore": {
                "type": "ExternalDatabase", "external": {"secretRef": {"name": "db"}}, "volume": {},
            }}),
            "backingStore.volume",
        ),
        (json!({"certificates": {"validity": "1y"}}), "certificates.validity"),
        (json!({"certificates": {"validity": "10m"}}), "certificates.validity"),
        (json!({"certificates": {"validity": "24h", "renewBefore": "24h"}}), "certificates.renewBefore"),
        (
            json!({"controlPlane": {"resources": {"limits": {"cpu": "fast"}}}}),
            "controlPlane.resources.limits.cpu",
        ),
        (
            json!({"isolation": {"limitRange": {"min": {"cpu": 2}, "max": {"cpu": 1}}}}),
            "isolation.limitRange",
        ),
        (
            json!({"isolation": {"networkPolicy": {"egressCIDRs": ["10.0.0.0/33"]}}}),
            "isolation.networkPolicy.egressCIDRs",
        ),
        (json!({"workloads": {"priorityClassName": "vkube-control-plane"}}), "workloads.priorityClassName"),
        (
            json!({"kubeconfig": {"additional": [{"name": "demo-kubeconfig", "user": "u"}]}}),
            "kubeconfig.additional",
        ),
        (
            json!({"kubeconfig": {"additional": [{"name": "x", "user": "u", "group": "system:masters"}]}}),
            "kubeconfig.additional",
        ),
    ] {
        let errors = wrong(spec.clone());
        assert!(errors.len() == 1 && errors[0].starts_with(path), "{spec}: {errors:?}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    assert_eq!(wrong(json!({"version": "1.1", "certificates": {"validity": "x"}})).len(), 2);
}

#[test]
fn labels_of_others_may_be_set() {
    assert!(
        wrong(json!({"hostNamespace": {"labels": {"istio-injection": "enabled", "example.com/team": "a"}}}))
            .is_empty()
    );
}

#[test]
fn a_short_validity_alone_is_renewed_in_time() {
    let settings = mk_settings(json!({"certificates": {"validity": "24h"}}));
    assert_eq!(settings.renew_before, Duration::from_secs(8 * HOUR));
}

#[test]
fn quotas_count_pods_apart_from_everything_else() {
    let hard = json!({"requests.cpu": 4, "count/deployments.apps": 7});
    let quota = mk_settings(json!({"isolation": {"resourceQuota": {"hard": hard}}})).isolation.quota.unwrap();
    assert_eq!(quota.compute["requests.cpu"], "4".into());
    assert_eq!(quota.objects["count/deployments.apps"], "7".into());
    assert!(quota.compute.contains_key("pods") && !quota.objects.contains_key("pods"));
    assert!(
        quota.objects.contains_key("requests.storage") && !quota.compute.contains_key("requests.storage")
    );
}

#[test]
fn bounds_of_a_policy_cut_totals_and_defaults() {
    let bounds = amounts(&[
        ("requests.cpu", "2"),
        ("pods", "5"),
        ("count/secrets", "9000"),
        ("count/jobs.batch", "3"),
    ]);
    let total = |spec: Value, name: &str| {
        let quota = validate(&mk(spec), &Options::new("image"), &bounds).unwrap().isolation.quota.unwrap();
        quota.compute.get(name).or_else(|| quota.objects.get(name)).map(|amount| amount.0.clone())
    };
    let asks = json!({"isolation": {"resourceQuota": {"hard": {"requests.cpu": "8", "pods": 3}}}});
    assert_eq!(total(asks.clone(), "requests.cpu").as_deref(), Some("2"), "above the bound");
    assert_eq!(total(asks.clone(), "pods").as_deref(), Some("3"), "below the bound");
    assert_eq!(total(asks.clone(), "count/secrets").as_deref(), Some("500"), "a default below the bound");
    assert_eq!(total(asks, "count/jobs.batch").as_deref(), Some("3"), "only the bound");
    let disabled = json!({"isolation": {"resourceQuota": {"enabled": false}}});
    assert_eq!(
        total(disabled.clone(), "requests.cpu").as_deref(),
        Some("2"),
        "disabling does not lift the bound"
    );
    assert_eq!(total(disabled, "limits.cpu"), None, "only bounds remain");
}

#[test]
fn a_disabled_quota_without_bounds_is_none() {
    let settings = mk_settings(json!({"isolation": {"resourceQuota": {"enabled": false}}}));
    assert!(settings.isolation.quota.is_none());
}

#[test]
fn default_limits_stay_within_the_bounds_of_a_container() {
    let limits =
        |range: Value| mk_settings(json!({"isolation": {"limitRange": range}})).isolation.limits.unwrap();
    let small = limits(json!({"max": {"cpu": "10m", "memory": "16Mi"}}));
    assert_eq!(small.default, amounts(&[("cpu", "10m"), ("memory", "16Mi")]));
    assert_eq!(small.default_request, amounts(&[("cpu", "10m"), ("memory", "16Mi")]));
    let large = limits(json!({"min": {"cpu": 2}}));
    assert_eq!(large.default["cpu"], "2".into());
    assert_eq!(large.default_request["cpu"], "2".into());
}

#[test]
fn metadata_addresses_are_never_reachable() {
    let egress = |policy: Value| {
        mk_settings(json!({"isolation": {"networkPolicy": policy}})).isolation.network.unwrap().egress
    };
    let all = egress(json!({"egressCIDRs": ["0.0.0.0/0", "::/0"], "egressExceptCIDRs": []}));
    assert_eq!(all[0].except, ["169.254.0.0/16"]);
    assert_eq!(all[1].except, ["fd00:ec2::254/128", "fe80::/10"]);
    for inside in ["169.254.169.254/32", "169.254.0.0/16", "fe80::1/128"] {
        assert!(egress(json!({"egressCIDRs": [inside]})).is_empty(), "{inside}");
    }
    assert!(egress(json!({"egressCIDRs": []})).is_empty());
}

#[test]
fn exceptions_lie_within_their_block() {
    let network = mk_settings(json!({"isolation": {"networkPolicy": {
        "egressCIDRs": ["10.0.0.0/8"], "egressExceptCIDRs": ["10.1.0.0/16", "192.168.0.0/16"]}}}));
    let egress = network.isolation.network.unwrap().egress;
    assert_eq!(egress.len(), 1);
    assert_eq!(egress[0].except, ["10.1.0.0/16"]);
}
