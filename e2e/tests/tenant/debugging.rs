//! Finding out what happens in a pod.

use crate::{World, manifests::STORE};

/// The image that the sandbox really runs.
const IMAGE: &str = "vkube/vkube:0.1.0";

pub fn events_are_told_by_object_type_and_as_they_come(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("eventful"));
    let come = tenant.start(&format!("kubectl -n {namespace} events --watch --no-headers"));
    tenant.ok(&format!("kubectl -n {namespace} create deployment app --image=example.com/app:1"));
    come.line(|line| line.contains("ScalingReplicaSet") && line.contains("Deployment/app"));
    tenant.ok(&format!("kubectl -n {namespace} rollout status deployment/app --timeout=60s"));
    let of_it = tenant.until(&format!("kubectl -n {namespace} events --for deployment/app"), |events| {
        events.contains("ScalingReplicaSet")
    });
    let headings: Vec<&str> = of_it.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(headings, ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    assert!(!of_it.contains("Pod/"), "{of_it}");
    tenant.ok_with(
        &format!("kubectl -n {namespace} create -f -"),
        "apiVersion: v1\nkind: Pod\nmetadata: {name: lost}\n\
         spec: {nodeSelector: {no: such}, containers: [{name: lost, image: example.com/lost}]}\n",
    );
    let warnings = format!("kubectl -n {namespace} events --types=Warning");
    let warnings = tenant.until(&warnings, |events| events.contains("FailedScheduling"));
    assert!(!warnings.contains("Normal"), "{warnings}");
}

pub fn a_debugger_runs_beside_the_containers_of_a_pod(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("debugged"));
    tenant.ok_with(&format!("kubectl -n {namespace} apply -f -"), STORE);
    tenant.ok(&format!("kubectl -n {namespace} wait --for=condition=Ready pod/store --timeout=60s"));
    let debug = format!("kubectl -n {namespace} debug store --image={IMAGE} --profile=baseline");
    tenant.ok(&format!("{debug} -c once -- sh -c 'echo looked at $0; exit 3' it"));
    let ended = "{.status.ephemeralContainerStatuses[?(@.name==\"once\")].state.terminated.exitCode}";
    tenant.ok(&format!("kubectl -n {namespace} wait pod/store --for=jsonpath='{ended}'=3 --timeout=60s"));
    assert_eq!(tenant.ok(&format!("kubectl -n {namespace} logs store -c once")), "looked at it\n");

    tenant.ok(&format!("{debug} -c stays --target=store -- sleep 600"));
    let running = "{.status.ephemeralContainerStatuses[?(@.name==\"stays\")].state.running}";
    tenant.ok(&format!("kubectl -n {namespace} wait pod/store --for=jsonpath='{running}' --timeout=60s"));
    assert_eq!(tenant.ok(&format!("kubectl -n {namespace} exec store -c stays -- echo here")), "here\n");
    let described = tenant.ok(&format!("kubectl -n {namespace} describe pod store"));
    assert!(described.contains("Ephemeral Containers:"), "{described}");
    let again = tenant.fails(&format!("{debug} -c stays -- true"));
    assert!(again.contains("existing container \"stays\""), "{again}");
    let ready = format!("kubectl -n {namespace} get pod store -o jsonpath={{.status.phase}}");
    assert_eq!(tenant.ok(&ready), "Running");

    tenant.ok(&format!(
        "kubectl -n {namespace} debug store --copy-to=copy --set-image=store={IMAGE} --keep-labels --share-processes=false"
    ));
    tenant.ok(&format!("kubectl -n {namespace} wait --for=condition=Ready pod/copy --timeout=60s"));
    let label = format!("kubectl -n {namespace} get pods -l app=store -o name --sort-by=.metadata.name");
    assert_eq!(tenant.ok(&label), "pod/copy\npod/store\n");
}

pub fn what_is_run_by_hand_talks_and_goes(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("by-hand"));
    let run = format!("kubectl -n {namespace} run --image={IMAGE} --restart=Never --rm -i -q");
    let said = tenant.ok_with(&format!("{run} echoing --command -- sh -c 'cat; echo done'"), "typed\n");
    assert!(said.starts_with("typed\ndone\n"), "{said}");
    tenant.until(&format!("kubectl -n {namespace} get pods -o name"), str::is_empty);
    let failed = tenant.run(&format!("{run} failing --command -- sh -c 'exit 4'"));
    assert_eq!(failed.status.code(), Some(4), "{failed:?}");

    let stays =
        format!("kubectl -n {namespace} run stays --image={IMAGE} -i --stdin --attach=false --command");
    tenant.ok(&format!("{stays} -- sh -c 'while read line; do echo heard $line; done; sleep 600'"));
    tenant.ok(&format!("kubectl -n {namespace} wait --for=condition=Ready pod/stays --timeout=60s"));
    let attached = format!("kubectl -n {namespace} attach -i stays");
    assert!(tenant.ok_with(&format!("timeout 10 {attached} || true"), "me\n").contains("heard me"));
}
