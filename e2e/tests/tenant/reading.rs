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

pub fn resources_are_listed_by_what_they_are(world: &World) {
    let tenant = &world.tenant;
    let list = |flags: &str| tenant.ok(&format!("kubectl api-resources --no-headers {flags}"));
    let apps = list("--api-group=apps -o name");
    for resource in ["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"] {
        assert!(apps.contains(&format!("{resource}.apps\n")), "{apps}");
    }
    let global = list("--namespaced=false --sort-by=name -o name");
    assert!(global.contains("namespaces\n") && !global.contains("configmaps\n"), "{global}");
    let in_all = list("--categories=all -o name");
    assert!(in_all.contains("deployments.apps\n") && !in_all.contains("secrets\n"), "{in_all}");
    let wide = list("--api-group=autoscaling -o wide");
    assert!(
        wide.contains("hpa") && wide.contains("create,delete,deletecollection,get,list,patch,update,watch")
    );
    let versions = tenant.ok("kubectl api-versions");
    let sorted: Vec<&str> = versions.lines().collect();
    assert!(sorted.is_sorted() && sorted.contains(&"v1") && sorted.contains(&"batch/v1"), "{versions}");
}

pub fn a_watch_prints_in_any_form(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("watched-forms"));
    let watch = |form: &str| {
        tenant.start(&format!("kubectl -n {namespace} get configmaps -l kind=palette --watch {form}"))
    };
    let names = watch("-o name");
    let fields = watch("-o jsonpath='{.metadata.name}={.data.sky}{\"\\n\"}'");
    let events = watch("--output-watch-events -o jsonpath='{.type} {.object.data.sky}{\"\\n\"}'");
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), COLOURS);
    names.line(|line| line == "configmap/colours");
    fields.line(|line| line == "colours=blue");
    events.line(|line| line == "ADDED blue");
    tenant
        .ok(&format!("kubectl -n {namespace} patch configmap colours -p '{{\"data\":{{\"sky\":\"red\"}}}}'"));
    fields.line(|line| line == "colours=red");
    events.line(|line| line == "MODIFIED red");
    tenant.ok(&format!("kubectl -n {namespace} delete configmap colours"));
    events.line(|line| line == "DELETED red");
}
