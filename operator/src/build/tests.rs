//! What a user sees on the host, as YAML.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vkube_crds::VirtualCluster;

use super::*;
use crate::pki::{Authority, Pair};
use crate::settings;

fn mk(spec: Value) -> (Identity, Settings) {
    let mut cluster = VirtualCluster::new("demo", serde_json::from_value(spec).unwrap());
    cluster.metadata.namespace = Some("tenants".into());
    cluster.metadata.uid = Some("0b8e".into());
    let settings = settings::validate(&cluster, &Options::new("vkube:test"), &BTreeMap::new()).unwrap();
    (Identity::of(&cluster), settings)
}

fn hashes() -> Hashes {
    Hashes { pki: "hash".into(), files: None }
}

fn yaml(objects: &[Object]) -> String {
    let texts: Vec<_> = objects.iter().map(|object| serde_saphyr::to_string(&object.body).unwrap()).collect();
    texts.join("---\n")
}

#[test]
fn a_minimal_cluster() {
    let (identity, settings) = mk(json!({}));
    let mut objects = vec![Object::of(namespace(&identity, &settings, None))];
    objects.extend(grants(&identity, &Options::new("vkube:test")));
    objects.extend(guards(&identity, &settings));
    objects.push(Object::of(volume_claim(&identity, &"5Gi".into(), None)));
    objects.push(Object::of(stateful_set(&identity, &settings, &Data::Volume, &hashes())));
    insta::assert_snapshot!(yaml(&objects));
}

#[test]
fn a_cluster_with_everything_chosen() {
    let (identity, settings) = mk(json!({
        "replicas": 0,
        "hostNamespace": {"name": "vc-chosen", "labels": {"team": "a"}, "annotations": {"note": "b"}},
        "controlPlane": {
            "image": "vkube:other",
            "imagePullPolicy": "Never",
            "resources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "priorityClassName": "important",
        },
        "backingStore": {"volume": {"enabled": false}},
        "networking": {
            "clusterDomain": "demo.internal",
            "resolveDNS": {"*.corp.example.com": "192.0.2.1"},
            "forwardDNS": {"example.org": ["192.0.2.53", "192.0.2.54"]},
        },
        "expose": {"type": "LoadBalancer", "externalAddress": "demo.example.com", "service": {
            "annotations": {"lb": "internal"}, "labels": {"l": "v"}, "nodePort": 30443,
            "loadBalancerClass": "example.com/lb", "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "externalTrafficPolicy": "Local"}},
        "workloads": {
            "nodeSelector": {"pool": "tenants"},
            "tolerations": [{"key": "tenants", "operator": "Exists", "effect": "NoSchedule"}],
            "priorityClassName": "tenants",
            "runtimeClassName": "sandboxed",
            "images": {"docker.io": "mirror.example.com"},
        },
        "sync": {
            "toHost": {"certificates.cert-manager.io": {
                "patches": [{"path": "spec.secretName", "reference": "Secret"}],
            }},
            "nodes": {"mode": "Virtual"},
        },
        "lifecycle": {"writePermissions": {"blockCreate": true, "blockDelete": true}},
        "access": [{"clusterRole": "cluster-admin", "subjects": [{"kind": "User", "name": "jane"}]}],
        "isolation": {
            "podSecurity": "restricted",
            "resourceQuota": {"hard": {"pods": 5, "count/jobs.batch": 2}},
            "limitRange": {"max": {"cpu": 2}},
            "networkPolicy": {"egressCIDRs": ["10.0.0.0/8"], "egressExceptCIDRs": ["10.1.0.0/16"],
                "ingressCIDRs": ["192.0.2.0/24"], "ingressNamespaces": ["ingress"]},
        },
    }));
    let mut objects = vec![Object::of(namespace(&identity, &settings, Some("standard")))];
    objects.extend(guards(&identity, &settings));
    objects.push(Object::of(stateful_set(&identity, &settings, &Data::Pod, &hashes())));
    insta::assert_snapshot!(yaml(&objects));
}

#[test]
fn secrets() {
    let (identity, _) = mk(json!({}));
    let pair = |text: &str| Pair { certificate: format!("{text} certificate"), key: format!("{text} key") };
    let authority = Authority { pair: pair("ca"), not_after: jiff::Timestamp::UNIX_EPOCH };
    let rotations = BTreeMap::from([("vkube.dev/rotate".to_owned(), "1".to_owned())]);
    let objects = [
        Object::of(pki_secret(&identity, &authority, &pair("serving"), rotations)),
        Object::of(kubeconfig_secret(
            &identity,
            &Kubeconfig {
                name: "demo-kubeconfig",
                server: "https://demo.example.com:443",
                user: ADMIN,
                rotation: None,
                cluster_api: false,
            },
            &authority,
            &pair("admin"),
        )),
    ];
    insta::assert_snapshot!(yaml(&objects));
}

#[test]
fn what_leads_a_prometheus_to_a_cluster() {
    let (identity, settings) = mk(json!({"controlPlane": {"serviceMonitor": {
        "enabled": "Enabled", "labels": {"release": "prometheus"}, "interval": "30s"}}}));
    let pair = |text: &str| Pair { certificate: format!("{text} certificate"), key: format!("{text} key") };
    let authority = Authority { pair: pair("ca"), not_after: jiff::Timestamp::UNIX_EPOCH };
    let objects = [
        Object::of(metrics_secret(&identity, &authority, &pair("metrics"), None)),
        Object::of(metrics_service(&identity)),
        service_monitor(&identity, settings.tuning.monitor.as_ref().unwrap(), "v1"),
    ];
    insta::assert_snapshot!(yaml(&objects));
    // Whoever scrapes comes from elsewhere; the API server authenticates.
    let all = guards(&identity, &settings);
    let policy = all.iter().find(|object| {
        (object.key.resource.kind.as_str(), object.key.name.as_str()) == ("NetworkPolicy", "vc-control-plane")
    });
    let ingress = &policy.unwrap().body["spec"]["ingress"][0];
    assert_eq!((&ingress["from"], &ingress["ports"][0]["port"]), (&Value::Null, &json!(API_PORT)));
}

#[test]
fn what_is_switched_off_is_not_built_but_known_to_be_removed() {
    let off = json!({"enabled": false});
    let (identity, settings) =
        mk(json!({"isolation": {"resourceQuota": off, "limitRange": off, "networkPolicy": off}}));
    let built = guards(&identity, &settings);
    let optional = optional(&identity);
    assert_eq!(optional.len(), 13);
    assert!(built.iter().all(|object| !optional.contains(&object.key)));
    let (_, everything) = mk(json!({
        "replicas": 2,
        "backingStore": {"type": "ExternalDatabase", "external": {"secretRef": {"name": "db"}}},
        "expose": {"type": "NodePort"},
        "sync": {"toHost": {"ingresses.networking.k8s.io": {}}},
    }));
    let (_, by_name) = mk(json!({"expose": {"type": "Ingress", "externalAddress": "a.example.com"}}));
    let (_, replicated) = mk(json!({
        "replicas": 2,
        "backingStore": {"type": "ExternalDatabase", "external": {"secretRef": {"name": "database"}}},
    }));
    let built = [everything, by_name, replicated].map(|settings| guards(&identity, &settings)).concat();
    assert!(optional.iter().all(|key| built.iter().any(|object| object.key == *key)));
}

#[test]
fn only_objects_beside_the_cluster_have_it_as_owner() {
    let (identity, settings) = mk(json!({}));
    let options = Options::new("vkube:test");
    for object in grants(&identity, &options).into_iter().chain(guards(&identity, &settings)) {
        let owned = object.body["metadata"].get("ownerReferences").is_some();
        assert_eq!(owned, object.key.namespace.as_deref() == Some("tenants"), "{:?}", object.key);
    }
}

#[test]
fn every_object_says_whose_it_is() {
    let (identity, settings) = mk(json!({"expose": {"type": "NodePort"}}));
    for object in guards(&identity, &settings) {
        let labels = &object.body["metadata"]["labels"];
        assert_eq!(labels["vkube.dev/cluster-uid"], "0b8e", "{:?}", object.key);
        assert_eq!(labels["vkube.dev/managed"], "true", "{:?}", object.key);
    }
}

#[test]
fn a_cluster_behind_a_gateway() {
    let (identity, settings) =
        mk(json!({"expose": {"type": "Gateway", "externalAddress": "demo.example.com",
        "gateway": {"parentRefs": [{"name": "edge", "namespace": "gateways"}], "annotations": {"a": "b"}}}}));
    insta::assert_snapshot!(yaml(&[tls_route(&identity, &settings, "v1").unwrap()]));
}

#[test]
fn a_cluster_behind_an_ingress() {
    let (identity, settings) =
        mk(json!({"expose": {"type": "Ingress", "externalAddress": "demo.example.com",
        "ingress": {"className": "edge"}}}));
    let key = routes::ingress_key(&identity);
    let ingress = guards(&identity, &settings).into_iter().find(|object| object.key == key);
    insta::assert_snapshot!(yaml(&[ingress.unwrap()]));
}

#[test]
fn a_pod_template_is_laid_over_the_control_planes_pod() {
    let (identity, settings) = mk(json!({"controlPlane": {"podTemplate": {
        "metadata": {"labels": {"team": "a"}},
        "spec": {
            "runtimeClassName": "gvisor",
            "containers": [
                {"name": "control-plane", "env": [{"name": "RUST_LOG", "value": "info"}]},
                {"name": "shipper", "image": "example.com/shipper:1"},
            ],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    }}}));
    let template = stateful_set(&identity, &settings, &Data::Volume, &hashes()).spec.unwrap().template;
    let labels = template.metadata.unwrap().labels.unwrap();
    assert_eq!((labels["team"].as_str(), labels["vkube.dev/component"].as_str()), ("a", "control-plane"));
    let pod = template.spec.unwrap();
    assert_eq!(pod.runtime_class_name.as_deref(), Some("gvisor"));
    let names: Vec<_> = pod.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["control-plane", "shipper"]);
    let own = &pod.containers[0];
    let variables: Vec<_> = own.env.iter().flatten().map(|variable| variable.name.as_str()).collect();
    assert_eq!(variables, ["POD_IP", "GLIBC_TUNABLES", "RUST_LOG"]);
    assert_eq!(own.image.as_deref(), Some(settings.image.as_str()));
    let volumes: Vec<_> = pod.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
    assert_eq!(volumes, ["data", "pki", "scratch"]);
}
