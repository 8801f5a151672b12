//! Looking at things.

use crate::{World, manifests::COLOURS};

pub fn explain_describe_and_api_resources_work(world: &World) {
    let tenant = &world.tenant;
    let explained = tenant.ok("kubectl explain deployment.spec.replicas");
    assert!(explained.contains("Number of desired pods"), "{explained}");
    let explained = tenant.ok("kubectl explain pod --recursive");
    assert!(explained.contains("initContainers"), "{explained}");

    let described = tenant.ok("kubectl -n shop describe deployment web");
    assert!(described.contains("Replicas:") && described.contains("ScalingReplicaSet"), "{described}");
    let described = tenant.ok("kubectl -n shop describe pods -l app=web");
    assert!(described.contains("Successfully assigned shop/web-"), "{described}");
    let described = tenant.ok("kubectl -n shop describe service web");
    assert!(described.contains("Endpoints:") && described.contains(":8080"), "{described}");
    assert!(tenant.ok("kubectl describe nodes").contains("sandbox-node"));

    let resources = tenant.ok("kubectl api-resources");
    for resource in
        ["configmaps", "deployments", "ingresses", "cronjobs", "customresourcedefinitions", "leases"]
    {
        assert!(
            resources.lines().any(|line| line.starts_with(&format!("{resource} "))),
            "{resource}\n{resources}"
        );
    }
    assert!(tenant.ok("kubectl api-versions").contains("apps/v1"));
    assert!(tenant.ok("kubectl cluster-info").contains("is running at"));
    assert_eq!(tenant.ok("kubectl get --raw /readyz"), "ok");
}

pub fn a_watch_sees_changes_in_order(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("watched"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), COLOURS);
    let columns = "-o custom-columns=NAME:.metadata.name,SKY:.data.sky --no-headers";
    let watch = tenant.start(&format!("kubectl -n {namespace} get configmaps -w -l kind=palette {columns}"));
    watch.line(|line| line.starts_with("colours") && line.ends_with("blue"));
    for sky in ["grey", "red", "black"] {
        tenant.ok(&format!(
            "kubectl -n {namespace} patch configmap colours -p '{{\"data\":{{\"sky\":\"{sky}\"}}}}'"
        ));
    }
    let seen: Vec<_> = (0..3).map(|_| watch.line(|line| line.starts_with("colours"))).collect();
    for (line, sky) in seen.iter().zip(["grey", "red", "black"]) {
        assert!(line.ends_with(sky), "{seen:?}");
    }
}

pub fn selectors_sorting_and_output_forms_work(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("sorted"));
    for (name, tier) in [("b", "front"), ("c", "back"), ("a", "front")] {
        tenant.ok(&format!("kubectl -n {namespace} create configmap {name} --from-literal=tier={tier}"));
        tenant.ok(&format!("kubectl -n {namespace} label configmap {name} tier={tier}"));
    }
    let get = |rest: &str| tenant.ok(&format!("kubectl -n {namespace} get configmaps {rest}"));
    assert_eq!(get("-l tier=front -o name"), "configmap/a\nconfigmap/b\n");
    assert_eq!(get("-l 'tier notin (front),tier' -o name"), "configmap/c\n");
    assert_eq!(get("--field-selector metadata.name=b -o name"), "configmap/b\n");
    assert_eq!(get("-l tier --sort-by=.data.tier -o jsonpath='{.items[0].metadata.name}'"), "c");
    assert_eq!(get("-l tier --chunk-size=1 -o name").lines().count(), 3);
    assert!(get("a -o yaml").contains("tier: front"));
    let wide = tenant.ok("kubectl -n shop get pods -o wide");
    assert!(wide.lines().next().unwrap().contains("NOMINATED NODE"), "{wide}");
    let missing = tenant.fails(&format!("kubectl -n {namespace} get configmap nothing"));
    assert_eq!(missing.trim(), "Error from server (NotFound): configmaps \"nothing\" not found");
}
