//! What a control plane is told besides, and who measures it.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Container, Secret, Service};
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::json;
use x509_parser::pem::Pem;

use crate::crd;
use crate::world::{TENANTS, World, host_namespace, text};

fn monitors(world: &World, namespace: &str) -> Api<DynamicObject> {
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor"));
    Api::namespaced_with(world.admin.clone(), namespace, &resource)
}

async fn container(world: &World, namespace: &str) -> Container {
    let set = world.within::<StatefulSet>(namespace).get("demo").await.unwrap();
    set.spec.unwrap().template.spec.unwrap().containers.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_is_led_to_the_control_plane_with_a_certificate_for_metrics() {
    let world = World::start().await;
    crd::install(&world, "monitoring.coreos.com", "ServiceMonitor").await;
    let asked = json!({"labels": {"release": "prometheus"}, "interval": "30s"});
    world
        .create("demo", json!({"controlPlane": {"serviceMonitor": asked}, "expose": {"type": "NodePort"}}))
        .await;
    let cluster = world.ready("demo").await;
    world.condition("demo", "Monitored", "True", "Applied").await;
    let namespace = host_namespace(&cluster);
    let monitor = monitors(&world, &namespace).get("vc-demo-metrics").await.unwrap();
    assert_eq!(monitor.labels()["release"], "prometheus");
    assert_eq!(monitor.data["spec"]["endpoints"][0]["interval"], "30s");
    assert_eq!(
        monitor.data["spec"]["endpoints"][0]["tlsConfig"]["serverName"],
        format!("demo.{namespace}.svc")
    );

    // A Service of its own is selected: whoever measures would knock at the door of a sleeping cluster otherwise.
    let selector = monitor.data["spec"]["selector"]["matchLabels"].as_object().unwrap();
    let services = world.within::<Service>(&namespace).list(&Default::default()).await.unwrap();
    let is_selected = |service: &&Service| {
        selector.iter().all(|(key, value)| service.labels().get(key).map(String::as_str) == value.as_str())
    };
    let selected: Vec<_> = services.iter().filter(is_selected).map(ResourceExt::name_any).collect();
    assert_eq!((selected, services.items.len()), (vec!["vc-demo-metrics".to_owned()], 3));

    let pem = text(&world.secret(&namespace, "vc-demo-metrics").await, "tls.crt");
    let pem = Pem::iter_from_buffer(pem.as_bytes()).next().unwrap().unwrap();
    let subject = pem.parse_x509().unwrap().subject().to_string();
    assert!(subject.contains("vkube:metrics") && subject.contains("system:monitoring"), "{subject}");
    let ends = cluster.status.unwrap().certificates;
    assert!(ends.iter().any(|certificate| certificate.name == "metrics"), "{ends:?}");
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());

    let off = json!({"spec": {"controlPlane": {"serviceMonitor": {"enabled": "Disabled"}}}});
    world.merge(&world.clusters(), "demo", off).await;
    world.gone(world.within::<Secret>(&namespace), "vc-demo-metrics").await;
    assert!(monitors(&world, &namespace).get_opt("vc-demo-metrics").await.unwrap().is_none());
    let cluster = world.ready("demo").await;
    let conditions = cluster.status.unwrap().conditions;
    assert!(conditions.iter().all(|condition| condition.type_ != "Monitored"), "{conditions:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_the_prometheus_operator_has_no_monitors_and_says_so_if_they_are_insisted_on() {
    let world = World::start().await;
    world.create("demo", json!({"controlPlane": {"serviceMonitor": {}}})).await;
    let cluster = world.ready("demo").await;
    let namespace = host_namespace(&cluster);
    let conditions = cluster.status.unwrap().conditions;
    assert!(conditions.iter().all(|condition| condition.type_ != "Monitored"), "{conditions:?}");

    let insisted = json!({"spec": {"controlPlane": {"serviceMonitor": {"enabled": "Enabled"}}}});
    world.merge(&world.clusters(), "demo", insisted).await;
    world.condition("demo", "Monitored", "False", "MonitoringApiMissing").await;
    world.ready("demo").await;
    assert!(world.within::<Secret>(&namespace).get_opt("vc-demo-metrics").await.unwrap().is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_gets_its_files_and_flags_and_starts_anew_when_a_file_changes() {
    let world = World::start().await;
    let file = |name: &str| json!({"name": name, "key": "policy"});
    let spec = json!({
        "probes": {"liveness": {"periodSeconds": 60}, "startup": {"failureThreshold": 600}},
        "admissionPlugins": {"enable": ["NodeRestriction"], "disable": ["PodSecurity"]},
        "auditPolicyRef": file("audit"),
        "extraArgs": ["--max-requests-inflight=50"],
    });
    world.create("demo", json!({"controlPlane": spec})).await;
    let cluster = world.condition("demo", "Ready", "False", "FileMissing").await;
    let namespace = host_namespace(&cluster);

    let secrets = world.within::<Secret>(TENANTS);
    let audit = |rules: &str| json!({"metadata": {"name": "audit"}, "stringData": {"policy": rules}});
    secrets.create(&PostParams::default(), &serde_json::from_value(audit("one")).unwrap()).await.unwrap();
    world.ready("demo").await;
    assert_eq!(text(&world.secret(&namespace, "vc-demo-files").await, "audit-policy.yaml"), "one");
    let own = container(&world, &namespace).await;
    let arguments = own.args.unwrap();
    for argument in [
        "--enable-admission-plugins=NodeRestriction",
        "--disable-admission-plugins=PodSecurity",
        "--audit-policy-file=/var/run/vkube/files/audit-policy.yaml",
        "--audit-log-path=-",
        "--max-requests-inflight=50",
    ] {
        assert!(arguments.iter().any(|given| given == argument), "{argument}: {arguments:?}");
    }
    let (liveness, startup) = (own.liveness_probe.unwrap(), own.startup_probe.unwrap());
    assert_eq!((liveness.period_seconds, liveness.failure_threshold), (Some(60), Some(3)));
    assert_eq!((startup.period_seconds, startup.failure_threshold), (Some(1), Some(600)));
    assert_eq!(world.reconciled("demo").await, Vec::<String>::new());

    let sets = world.within::<StatefulSet>(&namespace);
    let hash = |set: &StatefulSet| {
        let metadata = set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
        let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
        annotations.and_then(|all| all.get("vkube.dev/files-hash").cloned())
    };
    let before = hash(&sets.get("demo").await.unwrap());
    assert!(before.is_some());
    world.merge(&secrets, "audit", audit("another")).await;
    let other = |set: Option<&StatefulSet>| set.is_some_and(|set| hash(set) != before);
    world.until(sets.clone(), "demo", "started anew", other).await;

    world.merge(&world.clusters(), "demo", json!({"spec": {"controlPlane": null}})).await;
    world.gone(world.within::<Secret>(&namespace), "vc-demo-files").await;
    world.ready("demo").await;
    assert_eq!(hash(&sets.get("demo").await.unwrap()), None);
    world.stop().await;
}
