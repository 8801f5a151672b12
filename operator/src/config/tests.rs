use serde_json::{Value, json};
use vkube_crds::VirtualClusterSpec;

use super::*;
use crate::Options;
use crate::settings;

fn asked(config: Value, spec: Value) -> Asked {
    let mut spec: VirtualClusterSpec = serde_json::from_value(spec).unwrap();
    spec.config = Some(config);
    read(&[], &spec)
}

/// A document with this value at a path.
fn at(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, part| json!({part: inner}))
}

/// Each path that means a field: what is there, and the spec that it makes.
fn cases() -> Vec<(&'static str, Value, Value)> {
    let rule = |way: &str, resource: &str, of: Value| json!({"sync": {way: {resource: of}}});
    let to = |resource: &str| rule("toHost", resource, json!({"enabled": true}));
    let from = |resource: &str| rule("fromHost", resource, json!({"enabled": true}));
    let on = || json!({"enabled": true});
    let template = |of: Value| json!({"controlPlane": {"podTemplate": of}});
    let pod = |of: Value| template(json!({"spec": of}));
    let own = |field: &str, of: Value| pod(json!({"containers": [{"name": "control-plane", field: of}]}));
    let service = |of: Value| json!({"expose": {"service": of}});
    let scheduler = || json!({"sync": {"nodes": {"mode": "All", "scheduler": {}}}});
    let by_reference = json!([{"path": "spec.x", "reference": {"apiVersion": "v1", "kind": "Secret"}}]);
    let patched = |resource: &str| {
        rule("toHost", resource, json!({"patches": [{"path": "spec.x", "reference": "Secret"}]}))
    };
    vec![
        ("sync.toHost.services", json!({"enabled": true, "patches": by_reference}), patched("services")),
        ("sync.toHost.endpoints", json!({"patches": by_reference}), patched("endpoints")),
        (
            "sync.toHost.endpointSlices",
            json!({"patches": by_reference}),
            patched("endpointslices.discovery.k8s.io"),
        ),
        (
            "sync.toHost.persistentVolumeClaims",
            json!({"patches": by_reference}),
            patched("persistentvolumeclaims"),
        ),
        ("sync.toHost.configMaps", json!({"all": true}), rule("toHost", "configmaps", json!({"all": true}))),
        ("sync.toHost.secrets", json!({"all": true}), rule("toHost", "secrets", json!({"all": true}))),
        ("sync.toHost.pods.patches", by_reference.clone(), patched("pods")),
        ("sync.toHost.pods.translateImage", json!({"a": "b"}), json!({"workloads": {"images": {"a": "b"}}})),
        (
            "sync.toHost.pods.enforceTolerations",
            json!(["a=b:NoSchedule", "c:NoExecute", "*"]),
            json!({"workloads": {"tolerations": [
                {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"},
                {"key": "c", "operator": "Exists", "effect": "NoExecute"},
                {"operator": "Exists"},
            ]}}),
        ),
        (
            "sync.toHost.pods.runtimeClassName",
            json!("gvisor"),
            json!({"workloads": {"runtimeClassName": "gvisor"}}),
        ),
        (
            "sync.toHost.pods.priorityClassName",
            json!("low"),
            json!({"workloads": {"priorityClassName": "low"}}),
        ),
        ("sync.toHost.ingresses", on(), to("ingresses.networking.k8s.io")),
        ("sync.toHost.networkPolicies", on(), to("networkpolicies.networking.k8s.io")),
        ("sync.toHost.podDisruptionBudgets", on(), to("poddisruptionbudgets.policy")),
        ("sync.toHost.serviceAccounts", on(), to("serviceaccounts")),
        ("sync.toHost.priorityClasses", on(), to("priorityclasses.scheduling.k8s.io")),
        ("sync.toHost.storageClasses", on(), to("storageclasses.storage.k8s.io")),
        ("sync.toHost.persistentVolumes", on(), to("persistentvolumes")),
        ("sync.toHost.volumeSnapshots", on(), to("volumesnapshots.snapshot.storage.k8s.io")),
        ("sync.toHost.volumeSnapshotContents", on(), to("volumesnapshotcontents.snapshot.storage.k8s.io")),
        ("sync.toHost.resourceClaims", on(), to("resourceclaims.resource.k8s.io")),
        ("sync.toHost.resourceClaimTemplates", on(), to("resourceclaimtemplates.resource.k8s.io")),
        (
            "sync.toHost.gatewayApi",
            json!({"enabled": false, "httpRoutes": {"enabled": true}, "referenceGrants": {"enabled": "auto"}}),
            to("httproutes.gateway.networking.k8s.io"),
        ),
        (
            "sync.toHost.customResources",
            json!({"things.example.com/v1": {"enabled": true, "scope": "Namespaced"}}),
            rule("toHost", "things.example.com", json!({"enabled": true, "version": "v1"})),
        ),
        (
            "sync.fromHost.nodes",
            json!({"enabled": true, "selector": {"all": false, "labels": {"pool": "a"}}}),
            json!({"sync": {"nodes": {"mode": "Selected", "selector": {"matchLabels": {"pool": "a"}}}}}),
        ),
        (
            "sync.fromHost.configMaps",
            json!({"enabled": true, "mappings": {"byName": {"": "here/*", "a/b": "c/d"}}}),
            rule(
                "fromHost",
                "configmaps",
                json!({"enabled": true, "mappings": {"/*": "here/*", "a/b": "c/d"}}),
            ),
        ),
        ("sync.fromHost.secrets", on(), from("secrets")),
        (
            "sync.fromHost.storageClasses",
            json!({"enabled": "true", "selector": {"matchLabels": {"a": "b"}}}),
            rule(
                "fromHost",
                "storageclasses.storage.k8s.io",
                json!({"enabled": true, "selector": {"matchLabels": {"a": "b"}}}),
            ),
        ),
        ("sync.fromHost.csiDrivers", on(), from("csidrivers.storage.k8s.io")),
        ("sync.fromHost.csiNodes", on(), from("csinodes.storage.k8s.io")),
        ("sync.fromHost.csiStorageCapacities", on(), from("csistoragecapacities.storage.k8s.io")),
        ("sync.fromHost.ingressClasses", on(), from("ingressclasses.networking.k8s.io")),
        ("sync.fromHost.gatewayClasses", on(), from("gatewayclasses.gateway.networking.k8s.io")),
        ("sync.fromHost.gateways", on(), from("gateways.gateway.networking.k8s.io")),
        ("sync.fromHost.runtimeClasses", on(), from("runtimeclasses.node.k8s.io")),
        ("sync.fromHost.priorityClasses", on(), from("priorityclasses.scheduling.k8s.io")),
        ("sync.fromHost.deviceClasses", on(), from("deviceclasses.resource.k8s.io")),
        ("sync.fromHost.volumeSnapshotClasses", on(), from("volumesnapshotclasses.snapshot.storage.k8s.io")),
        ("sync.fromHost.customResources", json!({"things.example.com": on()}), from("things.example.com")),
        ("controlPlane.distro.k8s.version", json!("v1.36.2"), json!({"version": "1.36"})),
        ("controlPlane.distro.k8s.scheduler.enabled", json!(true), scheduler()),
        (
            "controlPlane.proxy.extraSANs",
            json!(["a.example.com"]),
            json!({"expose": {"extraSANs": ["a.example.com"]}}),
        ),
        ("controlPlane.service.labels", json!({"a": "b"}), service(json!({"labels": {"a": "b"}}))),
        ("controlPlane.service.annotations", json!({"a": "b"}), service(json!({"annotations": {"a": "b"}}))),
        ("controlPlane.service.httpsNodePort", json!(30443), service(json!({"nodePort": 30443}))),
        (
            "controlPlane.service.spec.type",
            json!("LoadBalancer"),
            json!({"expose": {"type": "LoadBalancer"}}),
        ),
        (
            "controlPlane.service.spec.loadBalancerClass",
            json!("a"),
            service(json!({"loadBalancerClass": "a"})),
        ),
        (
            "controlPlane.service.spec.loadBalancerSourceRanges",
            json!(["10.0.0.0/8"]),
            service(json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]})),
        ),
        (
            "controlPlane.service.spec.externalTrafficPolicy",
            json!("Local"),
            service(json!({"externalTrafficPolicy": "Local"})),
        ),
        (
            "controlPlane.ingress",
            json!({"enabled": true, "host": "a.example.com", "pathType": "x", "annotations": {"a": "b"},
                "spec": {"ingressClassName": "nginx", "tls": []}}),
            json!({"expose": {"type": "Ingress", "externalAddress": "a.example.com",
                "ingress": {"className": "nginx", "annotations": {"a": "b"}}}}),
        ),
        (
            "controlPlane.tlsRoute",
            json!({"enabled": true, "apiVersion": "gateway.networking.k8s.io/v1", "host": "a.example.com",
                "parentRefs": [{"kind": "Gateway", "name": "g", "namespace": "gateways"}]}),
            json!({"expose": {"type": "Gateway", "externalAddress": "a.example.com",
                "gateway": {"parentRefs": [{"name": "g", "namespace": "gateways"}]}}}),
        ),
        (
            "controlPlane.statefulSet.imagePullPolicy",
            json!("Always"),
            json!({"controlPlane": {"imagePullPolicy": "Always"}}),
        ),
        (
            "controlPlane.statefulSet.resources.requests",
            json!({"cpu": 1}),
            json!({"controlPlane": {"resources": {"requests": {"cpu": 1}}}}),
        ),
        (
            "controlPlane.statefulSet.resources.limits",
            json!({"memory": "1Gi"}),
            json!({"controlPlane": {"resources": {"limits": {"memory": "1Gi"}}}}),
        ),
        (
            "controlPlane.statefulSet.pods.labels",
            json!({"a": "b"}),
            template(json!({"metadata": {"labels": {"a": "b"}}})),
        ),
        (
            "controlPlane.statefulSet.pods.annotations",
            json!({"a": "b"}),
            template(json!({"metadata": {"annotations": {"a": "b"}}})),
        ),
        (
            "controlPlane.statefulSet.env",
            json!([{"name": "A", "value": "b"}]),
            own("env", json!([{"name": "A", "value": "b"}])),
        ),
        (
            "controlPlane.statefulSet.security.podSecurityContext",
            json!({"fsGroup": 7}),
            pod(json!({"securityContext": {"fsGroup": 7}})),
        ),
        (
            "controlPlane.statefulSet.persistence.volumeClaim.enabled",
            json!(false),
            json!({"backingStore": {"volume": {"enabled": false}}}),
        ),
        (
            "controlPlane.statefulSet.persistence.volumeClaim.size",
            json!("9Gi"),
            json!({"backingStore": {"volume": {"size": "9Gi"}}}),
        ),
        (
            "controlPlane.statefulSet.persistence.volumeClaim.storageClass",
            json!("fast"),
            json!({"backingStore": {"volume": {"storageClassName": "fast"}}}),
        ),
        (
            "controlPlane.statefulSet.persistence.addVolumes",
            json!([{"name": "a", "emptyDir": {}}]),
            pod(json!({"volumes": [{"name": "a", "emptyDir": {}}]})),
        ),
        (
            "controlPlane.statefulSet.persistence.addVolumeMounts",
            json!([{"name": "a", "mountPath": "/a"}]),
            own("volumeMounts", json!([{"name": "a", "mountPath": "/a"}])),
        ),
        (
            "controlPlane.statefulSet.scheduling.nodeSelector",
            json!({"a": "b"}),
            json!({"controlPlane": {"nodeSelector": {"a": "b"}}}),
        ),
        (
            "controlPlane.statefulSet.scheduling.tolerations",
            json!([{"key": "a", "operator": "Exists"}]),
            json!({"controlPlane": {"tolerations": [{"key": "a", "operator": "Exists"}]}}),
        ),
        (
            "controlPlane.statefulSet.scheduling.priorityClassName",
            json!("high"),
            json!({"controlPlane": {"priorityClassName": "high"}}),
        ),
        (
            "controlPlane.statefulSet.scheduling.affinity",
            json!({"podAntiAffinity": {"x": 1}}),
            pod(json!({"affinity": {"podAntiAffinity": {"x": 1}}})),
        ),
        (
            "controlPlane.statefulSet.scheduling.topologySpreadConstraints",
            json!([{"maxSkew": 1}]),
            pod(json!({"topologySpreadConstraints": [{"maxSkew": 1}]})),
        ),
        (
            "controlPlane.statefulSet.initContainers",
            json!([{"name": "a"}]),
            pod(json!({"initContainers": [{"name": "a"}]})),
        ),
        (
            "controlPlane.statefulSet.sidecarContainers",
            json!([{"name": "a"}]),
            pod(json!({"containers": [{"name": "a"}]})),
        ),
        (
            "controlPlane.statefulSet.hostAliases",
            json!([{"ip": "10.0.0.1", "hostnames": ["a"]}]),
            pod(json!({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]})),
        ),
        ("controlPlane.statefulSet.dnsPolicy", json!("Default"), pod(json!({"dnsPolicy": "Default"}))),
        (
            "controlPlane.statefulSet.dnsConfig",
            json!({"nameservers": ["10.0.0.1"]}),
            pod(json!({"dnsConfig": {"nameservers": ["10.0.0.1"]}})),
        ),
        (
            "controlPlane.serviceMonitor.enabled",
            json!(true),
            json!({"controlPlane": {"serviceMonitor": {"enabled": "Enabled"}}}),
        ),
        (
            "controlPlane.serviceMonitor.labels",
            json!({"a": "b"}),
            json!({"controlPlane": {"serviceMonitor": {"labels": {"a": "b"}}}}),
        ),
        (
            "controlPlane.distro.k8s.apiServer.extraArgs",
            json!(["--max-requests-inflight=50"]),
            json!({"controlPlane": {"extraArgs": ["--max-requests-inflight=50"]}}),
        ),
        (
            "controlPlane.statefulSet.probes",
            json!({"startupProbe": {"enabled": true, "failureThreshold": 300, "periodSeconds": 6, "timeoutSeconds": 3}}),
            json!({"controlPlane": {"probes": {"startup": {"failureThreshold": 300, "periodSeconds": 6, "timeoutSeconds": 3}}}}),
        ),
        ("controlPlane.statefulSet.highAvailability", json!({"replicas": 1, "leaseDuration": 60}), json!({})),
        ("controlPlane.advanced.virtualScheduler.enabled", json!(true), scheduler()),
        (
            "networking.replicateServices.toHost",
            json!([{"from": "shop/db", "to": "db"}, {"from": "shop/api", "to": "other/api"}]),
            rule("toHost", "services", json!({"mappings": {"shop/db": "/db", "shop/api": "other/api"}})),
        ),
        (
            "networking.replicateServices.fromHost",
            json!([{"from": "databases/pg", "to": "shop/pg"}]),
            rule("fromHost", "services", json!({"mappings": {"databases/pg": "shop/pg"}})),
        ),
        (
            "networking.resolveDNS",
            json!([{"hostname": "a.example.com", "target": {"ip": "10.0.0.1"}},
                {"hostname": "b.example.com", "target": {"hostService": "databases/pg"}}]),
            json!({"networking": {"resolveDNS": {"a.example.com": "10.0.0.1",
                "b.example.com": "pg.databases.svc.cluster.local"}}}),
        ),
        ("networking.advanced.clusterDomain", json!("cluster.local"), json!({})),
        (
            "policies.resourceQuota.enabled",
            json!(true),
            json!({"isolation": {"resourceQuota": {"enabled": true}}}),
        ),
        (
            "policies.resourceQuota.quota",
            json!({"requests.cpu": 10, "count/pods": "20"}),
            json!({"isolation": {"resourceQuota": {"hard": {"requests.cpu": 10, "count/pods": "20"}}}}),
        ),
        (
            "policies.limitRange.enabled",
            json!(false),
            json!({"isolation": {"limitRange": {"enabled": false}}}),
        ),
        (
            "policies.limitRange.default",
            json!({"cpu": "1"}),
            json!({"isolation": {"limitRange": {"default": {"cpu": "1"}}}}),
        ),
        (
            "policies.limitRange.defaultRequest",
            json!({"cpu": "1"}),
            json!({"isolation": {"limitRange": {"defaultRequest": {"cpu": "1"}}}}),
        ),
        (
            "policies.limitRange.min",
            json!({"cpu": "1"}),
            json!({"isolation": {"limitRange": {"min": {"cpu": "1"}}}}),
        ),
        (
            "policies.limitRange.max",
            json!({"cpu": "1"}),
            json!({"isolation": {"limitRange": {"max": {"cpu": "1"}}}}),
        ),
        (
            "policies.networkPolicy.enabled",
            json!(true),
            json!({"isolation": {"networkPolicy": {"enabled": true}}}),
        ),
        (
            "policies.networkPolicy.workload.publicEgress",
            json!({"enabled": true, "cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}),
            json!({"isolation": {"networkPolicy": {"egressCIDRs": ["0.0.0.0/0"], "egressExceptCIDRs": ["10.0.0.0/8"]}}}),
        ),
        (
            "policies.podSecurityStandard",
            json!("restricted"),
            json!({"isolation": {"podSecurity": "restricted"}}),
        ),
        (
            "exportKubeConfig.server",
            json!("https://a.example.com"),
            json!({"kubeconfig": {"server": "https://a.example.com"}}),
        ),
        ("exportKubeConfig.secret.name", json!("creds"), json!({"kubeconfig": {"secretName": "creds"}})),
        (
            "integrations.metricsServer",
            json!({"enabled": true, "nodes": true, "pods": true}),
            from("pods.metrics.k8s.io"),
        ),
        (
            "experimental.deploy.vcluster.manifests",
            json!("a: b"),
            json!({"bootstrap": {"manifests": "a: b"}}),
        ),
        ("sleep.auto.afterInactivity", json!("2h"), json!({"lifecycle": {"sleep": {"after": "2h"}}})),
        (
            "sleep.auto.schedule",
            json!("0 20 * * *"),
            json!({"lifecycle": {"sleep": {"schedule": "0 20 * * *"}}}),
        ),
        (
            "sleep.auto.wakeup.schedule",
            json!("0 7 * * *"),
            json!({"lifecycle": {"sleep": {"wakeSchedule": "0 7 * * *"}}}),
        ),
        (
            "sleep.auto.timezone",
            json!("Europe/Berlin"),
            json!({"lifecycle": {"sleep": {"timezone": "Europe/Berlin"}}}),
        ),
        (
            "snapshots.auto",
            json!({"schedule": "0 3 * * *", "timezone": "Europe/Berlin", "retention": {"maxSnapshots": 3}}),
            json!({"snapshots": {"schedule": "0 3 * * *", "timezone": "Europe/Berlin", "keep": 3}}),
        ),
        (
            "deletion.auto.afterInactivity",
            json!("168h"),
            json!({"lifecycle": {"deleteAfter": {"sinceLastActivity": "168h"}}}),
        ),
    ]
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
    ] {
        let found = asked(at(path, value), json!({}));
        assert_eq!(found.wrong.len(), 1, "{path}: {found:?}");
        assert!(found.wrong[0].starts_with(path), "{found:?}");
    }
}

#[test]
fn later_documents_go_over_earlier_ones_and_the_specs_own_over_all() {
    let text = |place: &str, text: &str| Document { place: place.into(), text: text.into() };
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
    let cluster = vkube_crds::VirtualCluster::new("demo", merged.spec);
    let settings =
        settings::validate(&cluster, &Options::new("i"), &std::collections::BTreeMap::new()).unwrap();
    let own = settings.pod_template.unwrap().spec.unwrap().containers;
    let names: Vec<_> = own.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["control-plane", "s"]);
    assert!(own[0].env.is_some() && own[0].volume_mounts.is_some());
}
