mod cases;

use serde_json::{Value, json};
use vkube_apiserver::custom::{compile::compile, validation};
use vkube_crds::{VirtualCluster, VirtualClusterSpec, virtual_cluster_crd};

use self::cases::{at, cases};
use super::*;
use crate::options::{Options, Refusal};
use crate::settings;

fn asked(config: Value, spec: Value) -> Asked {
    let mut spec: VirtualClusterSpec = serde_json::from_value(spec).unwrap();
    spec.config = Some(config);
    judged(&[], spec)
}

fn judged(documents: &[Document], spec: VirtualClusterSpec) -> Asked {
    let mut asked = read(documents, &spec);
    asked.judge(&VirtualCluster::new("demo", spec), refusals);
    asked
}

/// What the CRD has against a cluster.
fn refusals(cluster: &Value) -> Vec<Refusal> {
    let crd = serde_json::to_value(virtual_cluster_crd()).unwrap();
    let compiled = compile(&crd, &crd["spec"]["names"], 0).remove(0);
    let errors = validation::create(&compiled, cluster).0;
    errors.into_iter().map(|error| Refusal { field: error.field, why: error.detail }).collect()
}

#[test]
fn every_key_that_means_a_field_is_translated() {
    let cases = cases();
    for row in TABLE {
        let has_field = matches!(row.means, Means::Field(_) | Means::Into(..) | Means::Rule(..));
        assert_eq!(has_field, cases.iter().any(|(path, ..)| *path == row.path), "{}", row.path);
    }
    for (path, value, spec) in cases {
        let found = asked(at(path, value), json!({}));
        assert_eq!((found.wrong, found.unknown, found.idle), (vec![], vec![], vec![]), "{path}");
        assert_eq!(Value::Object(found.spec), spec, "{path}");
    }
}

#[test]
fn what_means_nothing_and_what_nobody_knows_is_told_by_its_path() {
    let found = asked(
        json!({
            "privateNodes": {"enabled": true},
            "controlPlane": {"coredns": {"enabled": false, "deployment": {"replicas": 2}}, "distro": {"k8s": {"env": [1]}},
                "statefulSet": {"highAvailability": {"replicas": 3}}},
            "sync": {"toHost": {"pods": {"enabled": false}, "podz": {"enabled": true},
                "secrets": {"patches": [{"path": "a", "expression": "value"}]}}},
            "networking": {"advanced": {"clusterDomain": "other.local"}},
            "frobnicate": 1,
        }),
        json!({}),
    );
    let paths: Vec<_> = found.idle.iter().map(|told| told.split_once(' ').unwrap().0).collect();
    assert_eq!(
        paths,
        [
            "controlPlane.coredns.deployment",
            "controlPlane.coredns.enabled",
            "controlPlane.distro.k8s.env",
            "controlPlane.statefulSet.highAvailability.replicas",
            "networking.advanced.clusterDomain",
            "privateNodes",
            "sync.toHost.pods.enabled",
            "sync.toHost.secrets.patches[0]",
        ]
    );
    assert_eq!(found.unknown, ["frobnicate", "sync.toHost.podz"]);
    assert_eq!((Value::Object(found.spec), found.wrong), (json!({}), vec![]));
}

#[test]
fn what_is_off_or_left_open_asks_for_nothing() {
    let found = asked(
        json!({
            "privateNodes": {"enabled": false, "vpn": {"enabled": false}}, "plugins": {}, "telemetry": {"enabled": false},
            "policies": {"resourceQuota": {"enabled": "auto"}, "centralAdmission": {"mutatingWebhooks": []}},
            "controlPlane": {"ingress": {"enabled": false, "host": "my-host.com"}, "backingStore": {"etcd": {
                "deploy": {"enabled": false, "statefulSet": {"image": {"tag": "3"}}}}}},
            "exportKubeConfig": {"context": "", "server": "", "insecure": false},
        }),
        json!({}),
    );
    assert_eq!(found.without_effect(), None);
    assert_eq!(Value::Object(found.spec), json!({}));
}

#[test]
fn a_value_of_the_wrong_type_is_told_by_its_path() {
    for (path, value) in [
        ("controlPlane.service.spec.type", json!("Magic")),
        ("policies.limitRange.default", json!(5)),
        ("policies.podSecurityStandard", json!("none")),
        ("sync.toHost.ingresses.enabled", json!("maybe")),
        ("sync.toHost", json!([])),
        ("sync.toHost.pods.enforceTolerations", json!(["a:Sometimes"])),
        ("networking.replicateServices.toHost", json!([{"from": "a"}])),
        ("controlPlane.distro.k8s.apiServer.extraArgs", json!(["-v"])),
        ("controlPlane.statefulSet.probes.livenessProbe.periodSeconds", json!("often")),
        ("sync.toHost.secrets.patches", json!({"path": "a"})),
        ("sync.toHost.pods.enforceTolerations", json!("a:NoSchedule")),
        ("controlPlane.statefulSet.sidecarContainers", json!("one")),
        ("networking.resolveDNS", json!({"hostname": "a"})),
        ("networking.replicateServices.fromHost", json!("a")),
    ] {
        let found = asked(at(path, value), json!({}));
        assert_eq!(found.wrong.len(), 1, "{path}: {found:?}");
        assert!(found.wrong[0].starts_with(path), "{found:?}");
    }
}

#[test]
fn later_documents_go_over_earlier_ones_and_the_specs_own_over_all() {
    let text = |place: &str, text: &str| Document::own(place, text.into());
    let spec = json!({"config": {"sleep": {"auto": {"timezone": "UTC"}}}});
    let spec = serde_json::from_value(spec).unwrap();
    let found = read(
        &[
            text(
                "a",
                "sleep: {auto: {afterInactivity: 1h, timezone: Europe/Rome}}\ncontrolPlane: {proxy: {extraSANs: [a, b]}}",
            ),
            text("b", "sleep: {auto: {afterInactivity: 2h}}\ncontrolPlane: {proxy: {extraSANs: [c]}}"),
            text("c", ""),
        ],
        &spec,
    );
    assert_eq!(
        Value::Object(found.spec),
        json!({"lifecycle": {"sleep": {"after": "2h", "timezone": "UTC"}}, "expose": {"extraSANs": ["c"]}})
    );
    let broken = read(&[text("Secret a, key b", "a: [")], &VirtualClusterSpec::default());
    assert!(broken.wrong[0].starts_with("Secret a, key b: "), "{broken:?}");
}

#[test]
fn nothing_of_a_secret_is_repeated() {
    let at = vkube_crds::KeyRef { name: "s".into(), key: "k".into() };
    for text in [
        "hunter2",
        "a: [hunter2",
        "policies: {podSecurityStandard: hunter2}",
        "policies: {limitRange: {default: {cpu: hunter2}}}",
        "sleep: {auto: {afterInactivity: hunter2}}",
    ] {
        let secret = Document::of(vkube_crds::SourceKind::Secret, &at, text.into());
        let found = judged(&[secret], VirtualClusterSpec::default());
        assert_eq!(found.wrong.len(), 1, "{text}");
        assert!(!found.wrong[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn a_cluster_that_says_it_has_a_database_gets_no_volume() {
    let spec =
        json!({"backingStore": {"type": "ExternalDatabase", "external": {"secretRef": {"name": "db"}}}});
    let found = asked(at("controlPlane.statefulSet.persistence.volumeClaim.size", json!("5Gi")), spec);
    assert_eq!(Value::Object(found.spec), json!({}));
}

#[test]
fn what_is_asked_this_way_can_be_built() {
    let config = json!({
        "sync": {"toHost": {"ingresses": {"enabled": true}, "pods": {"enforceTolerations": ["a=b:NoSchedule"]}}},
        "controlPlane": {"statefulSet": {
            "env": [{"name": "A", "value": "b"}], "sidecarContainers": [{"name": "s", "image": "i"}],
            "persistence": {"addVolumes": [{"name": "a", "emptyDir": {}}], "addVolumeMounts": [{"name": "a", "mountPath": "/a"}]},
        }},
        "policies": {"resourceQuota": {"enabled": true, "quota": {"count/pods": 20}}},
    });
    let merged =
        crate::policy::merge(&VirtualClusterSpec::default(), asked(config, json!({})).spec, None).unwrap();
    let cluster = VirtualCluster::new("demo", merged.spec);
    let settings =
        settings::validate(&cluster, &Options::new("i"), &std::collections::BTreeMap::new()).unwrap();
    let own = settings.pod_template.unwrap().spec.unwrap().containers;
    let names: Vec<_> = own.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["control-plane", "s"]);
    assert!(own[0].env.is_some() && own[0].volume_mounts.is_some());
}

#[test]
fn what_the_crd_refuses_is_told_in_the_words_of_an_api_server_by_the_key_that_asks_for_it() {
    let loud = "controlPlane.statefulSet.scheduling.tolerations";
    for (path, value, told) in [
        (
            "controlPlane.service.spec.type",
            json!("Magic"),
            "spec.expose.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"NodePort\", \
             \"LoadBalancer\", \"Ingress\", \"Gateway\"",
        ),
        (
            "sleep.auto.afterInactivity",
            json!("soon"),
            "spec.lifecycle.sleep.after: Invalid value: \"soon\": spec.lifecycle.sleep.after in body should match \
             '^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$'",
        ),
        (
            "controlPlane.statefulSet.probes.livenessProbe.periodSeconds",
            json!(0),
            "spec.controlPlane.probes.liveness.periodSeconds: Invalid value: 0: \
             spec.controlPlane.probes.liveness.periodSeconds in body should be greater than or equal to 1",
        ),
        (
            "policies.limitRange.default",
            json!(5),
            "spec.isolation.limitRange.default: Invalid value: \"integer\": spec.isolation.limitRange.default in \
             body must be of type object: \"integer\"",
        ),
        (
            loud,
            json!([{"effect": "Sometimes"}]),
            "spec.controlPlane.tolerations[0].effect: Unsupported value: \"Sometimes\": supported values: \
             \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ),
    ] {
        let found = asked(at(path, value), json!({}));
        assert_eq!(found.wrong, [format!("{path}: {told}")]);
    }
}

#[test]
fn a_rule_that_a_configuration_breaks_is_told_by_the_keys_that_break_it() {
    let config = json!({
        "controlPlane": {"service": {"spec": {"type": "ClusterIP"}, "httpsNodePort": 30443, "labels": {"a": "b"}}},
        "policies": {"podSecurityStandard": "restricted"},
    });
    let rule = "spec: Invalid value: expose.service: nodePort and externalTrafficPolicy need type NodePort or \
                LoadBalancer; loadBalancerClass and loadBalancerSourceRanges need type LoadBalancer";
    let keys = "controlPlane.service.httpsNodePort, controlPlane.service.spec.type";
    assert_eq!(asked(config, json!({})).wrong, [format!("{keys}: {rule}")]);

    // The other half may be in the spec.
    let port = json!({"controlPlane": {"service": {"httpsNodePort": 30443}}});
    let found = asked(port.clone(), json!({"expose": {"type": "ClusterIP"}}));
    assert_eq!(found.wrong, [format!("controlPlane.service.httpsNodePort: {rule}")]);
    assert_eq!(asked(port, json!({"expose": {"type": "NodePort"}})).wrong, Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_the_spec_alone_is_not_held_against_the_configuration() {
    let spec = json!({"expose": {"type": "ClusterIP", "service": {"nodePort": 30443}}});
    let fine = json!({"policies": {"podSecurityStandard": "restricted"}});
    assert_eq!(asked(fine, spec).wrong, Vec::<String>::new());
}

#[test]
fn what_no_field_takes_is_told_too() {
    let found = asked(
        json!({"controlPlane": {"statefulSet": {"scheduling": {
            "tolerations": [{"key": "a", "opperator": "Exists"}], "nodeSelector": {"any": "thing"}}}}}),
        json!({}),
    );
    assert_eq!(found.unknown, ["controlPlane.statefulSet.scheduling.tolerations[0].opperator"]);
    assert_eq!(found.wrong, Vec::<String>::new());
}

#[test]
fn what_cannot_be_built_is_blamed_on_the_keys_that_ask_for_it() {
    let found = asked(json!({"sleep": {"auto": {"timezone": "Nowhere"}}}), json!({}));
    let wrong = "lifecycle.sleep.timezone: no such zone";
    assert_eq!(
        found.blame(wrong).as_deref(),
        Some("sleep.auto.timezone: spec.lifecycle.sleep.timezone: no such zone")
    );
    assert_eq!(found.blame("lifecycle.deleteAfter: too late"), None);
    assert_eq!(found.value("lifecycle.sleep.timezone"), Some(&json!("Nowhere")));
}
