//! A value for each key that means a field, and the spec that it means.

use serde_json::{Value, json};

/// A document with this value at a path.
pub fn at(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, part| json!({part: inner}))
}

/// Each path that means a field: what is there, and the spec that it makes.
pub fn cases() -> Vec<(&'static str, Value, Value)> {
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
