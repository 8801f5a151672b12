//! Changing and deleting things.

use crate::{World, manifests::COLOURS};

pub fn labels_and_annotations_come_and_go(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("labelled"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), COLOURS);
    tenant.ok(&format!("kubectl -n {namespace} label configmap colours tier=front"));
    tenant.ok(&format!("kubectl -n {namespace} annotate configmap colours note='two words'"));
    let object = tenant.json(&format!("kubectl -n {namespace} get configmap colours -o json"));
    assert_eq!(object["metadata"]["labels"]["tier"], "front");
    assert_eq!(object["metadata"]["annotations"]["note"], "two words");
    tenant.fails(&format!("kubectl -n {namespace} label configmap colours tier=back"));
    tenant.ok(&format!("kubectl -n {namespace} label --overwrite configmap colours tier=back"));
    tenant.ok(&format!("kubectl -n {namespace} label configmap colours tier-"));
    let object = tenant.json(&format!("kubectl -n {namespace} get configmap colours -o json"));
    assert!(object["metadata"]["labels"].get("tier").is_none());
}

pub fn edit_writes_what_the_editor_made(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("edited"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), COLOURS);
    tenant.ok(&format!("KUBE_EDITOR='sed -i s/blue/violet/' kubectl -n {namespace} edit configmap colours"));
    let sky = format!("kubectl -n {namespace} get configmap colours -o jsonpath={{.data.sky}}");
    assert_eq!(tenant.ok(&sky), "violet");
}

pub fn a_stale_replace_conflicts(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("replaced"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), COLOURS);
    let old = tenant.ok(&format!("kubectl -n {namespace} get configmap colours -o yaml"));
    tenant.ok(&format!("kubectl -n {namespace} annotate configmap colours changed=since"));
    let output = tenant.run_with(&format!("kubectl -n {namespace} replace -f -"), &old);
    assert!(!output.status.success() && output.stderr.contains("Conflict"), "{output:?}");
    let new = tenant.ok(&format!("kubectl -n {namespace} get configmap colours -o yaml"));
    tenant.ok_with(&format!("kubectl -n {namespace} replace -f -"), &new.replace("blue", "pink"));
}

pub fn server_side_apply_names_whom_it_conflicts_with(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("owned"));
    let apply = |manager: &str, flags: &str, manifest: &str| {
        let line =
            format!("kubectl -n {namespace} apply --server-side --field-manager={manager} {flags} -f -");
        tenant.run_with(&line, manifest)
    };
    assert!(apply("painter", "", COLOURS).status.success());
    let other = COLOURS.replace("sky: blue, grass: green, sun: yellow", "sky: grey");
    let refused = apply("weather", "", &other);
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("conflict with \"painter\""), "{}", refused.stderr);
    assert!(refused.stderr.contains(".data.sky"), "{}", refused.stderr);
    let forced = apply("weather", "--force-conflicts", &other);
    assert!(forced.status.success(), "{}", forced.stderr);
    let data = tenant.json(&format!("kubectl -n {namespace} get configmap colours -o json"));
    assert_eq!(data["data"], serde_json::json!({"sky": "grey", "grass": "green", "sun": "yellow"}));

    // What its manager applies no more is gone, unless it is another's too.
    assert!(apply("painter", "", &COLOURS.replace("sky: blue, grass: green, ", "")).status.success());
    let data = tenant.json(&format!("kubectl -n {namespace} get configmap colours -o json"));
    assert_eq!(data["data"], serde_json::json!({"sky": "grey", "sun": "yellow"}));
}

pub fn diff_tells_by_its_exit_code(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("differing"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), COLOURS);
    let diff = |manifest: &str| tenant.run_with(&format!("kubectl -n {namespace} diff -f -"), manifest);
    assert_eq!(diff(COLOURS).status.code(), Some(0));
    let different = diff(&COLOURS.replace("blue", "grey"));
    assert_eq!(different.status.code(), Some(1), "{}", different.stderr);
    assert!(
        different.stdout.contains("-  sky: blue") && different.stdout.contains("+  sky: grey"),
        "{different:?}"
    );
}

pub fn patches_of_all_kinds_merge(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("patched"));
    tenant.ok(&format!("kubectl -n {namespace} create deployment app --image=example.com/app:1"));
    let patch = |kind: &str, patch: &str| {
        tenant.ok(&format!("kubectl -n {namespace} patch deployment app --type={kind} -p '{patch}'"));
    };
    // By the name of the container, which a merge would replace.
    patch(
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"A","value":"1"}]}]}}}}"#,
    );
    patch("json", r#"[{"op":"replace","path":"/spec/replicas","value":2}]"#);
    patch("merge", r#"{"metadata":{"annotations":{"note":"merged"}}}"#);
    let object = tenant.json(&format!("kubectl -n {namespace} get deployment app -o json"));
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    let found = (&container["image"], &container["env"][0]["name"]);
    assert_eq!(found, (&"example.com/app:1".into(), &"A".into()));
    assert_eq!(object["spec"]["replicas"], 2);
    assert_eq!(object["metadata"]["annotations"]["note"], "merged");
    tenant.ok(&format!("kubectl -n {namespace} rollout status deployment/app --timeout=60s"));
}

pub fn a_dry_run_changes_nothing(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("dry"));
    let line = format!("kubectl -n {namespace} apply --dry-run=server -o yaml -f -");
    assert!(tenant.ok_with(&line, COLOURS).contains("uid:"));
    tenant.fails(&format!("kubectl -n {namespace} get configmap colours"));
    let refused = tenant.run_with(&line, &COLOURS.replace("name: colours", "name: Not_A_Name"));
    assert!(refused.stderr.contains("is invalid"), "{refused:?}");
}

pub fn deleting_a_namespace_deletes_what_is_in_it(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("doomed"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), COLOURS);
    tenant
        .ok(&format!("kubectl -n {namespace} create deployment app --image=example.com/app:1 --replicas=2"));
    tenant.ok(&format!("kubectl -n {namespace} rollout status deployment/app --timeout=60s"));
    tenant.ok(&format!("kubectl delete namespace {namespace} --timeout=60s"));
    tenant.fails(&format!("kubectl get namespace {namespace}"));
    assert_eq!(tenant.ok(&format!("kubectl -n {namespace} get all,configmaps -o name")), "");
    let left = format!("kubectl -n {} get pods -o name", world.host_namespace);
    world.sandbox.host.until(&left, |pods| !pods.contains("-x-doomed-x-"));
}

pub fn deleting_a_deployment_deletes_its_pods_on_both_sides(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("emptied"));
    tenant
        .ok(&format!("kubectl -n {namespace} create deployment app --image=example.com/app:1 --replicas=2"));
    tenant.ok(&format!("kubectl -n {namespace} rollout status deployment/app --timeout=60s"));
    tenant.ok(&format!("kubectl -n {namespace} delete deployment app --timeout=60s"));
    tenant.until(&format!("kubectl -n {namespace} get pods,replicasets -o name"), str::is_empty);
    let left = format!("kubectl -n {} get pods -o name", world.host_namespace);
    world.sandbox.host.until(&left, |pods| !pods.contains("-x-emptied-x-"));
}

pub fn diff_knows_what_is_new_what_goes_and_whose_fields_are(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("compared"));
    let diff = |flags: &str, manifest: &str| {
        tenant.run_with(&format!("kubectl -n {namespace} diff {flags} -f -"), manifest)
    };
    let new = diff("", COLOURS);
    assert!(new.stdout.contains("+kind: ConfigMap") && !new.stdout.contains("-kind:"), "{new:?}");
    tenant.fails(&format!("kubectl -n {namespace} get configmap colours"));
    tenant.ok_with(
        &format!("kubectl -n {namespace} apply --server-side --field-manager=painter -f -"),
        COLOURS,
    );
    let other = COLOURS.replace("sky: blue", "sky: grey");
    let conflict = diff("--server-side --field-manager=weather", &other);
    assert!(conflict.stderr.contains("conflict with \"painter\""), "{conflict:?}");
    let forced = diff("--server-side --field-manager=weather --force-conflicts", &other);
    assert!(forced.stdout.contains("+  sky: grey"), "{forced:?}");
    tenant.ok_with(
        &format!("kubectl -n {namespace} apply -f -"),
        &COLOURS.replace("name: colours", "name: others"),
    );
    let pruned = diff("--prune -l kind=palette --prune-allowlist=core/v1/ConfigMap", COLOURS);
    assert!(pruned.stdout.contains("-  name: others"), "{pruned:?}");
}
