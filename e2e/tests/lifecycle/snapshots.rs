//! Snapshots: by hand, by schedule, to a file, and as the beginning of another cluster.

use vkube_e2e::{Sandbox, Shell};

use crate::guest::Guest;

/// Something of which to see whether it is there.
fn fill(tenant: &Shell) {
    tenant.ok("kubectl create configmap precious --from-literal=k=v");
    tenant.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: web, image: nginx}]\n",
    );
    tenant.ok("kubectl wait --for=condition=Ready pod/web --timeout=60s");
}

/// What was [`fill`]ed in is there and runs.
fn is_whole(tenant: &Shell) {
    assert_eq!(tenant.ok("kubectl get configmap precious -o jsonpath={.data.k}"), "v");
    tenant.ok("kubectl wait --for=condition=Ready pod/web --timeout=60s");
}

pub fn a_snapshot_brings_back_what_was_deleted(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "saved");
    let tenant = guest.connect();
    fill(&tenant);
    let host = &sandbox.host;
    let said = host.ok("vkube snapshot create saved --snapshot before");
    assert!(said.contains("\"before\""), "{said}");
    assert!(host.fails("vkube snapshot create saved --snapshot before").contains("already exists"));
    assert_eq!(host.ok("vkube snapshot list saved -o name"), "before\n");
    tenant.ok("kubectl delete configmap/precious pod/web");
    tenant.ok("kubectl create namespace later");
    let said = host.ok("vkube restore saved --snapshot before");
    assert!(said.starts_with("Restored "), "{said}");
    is_whole(&tenant);
    assert_eq!(tenant.ok("kubectl get namespace later --ignore-not-found"), "");
    host.ok("vkube snapshot delete saved before");
    assert!(host.fails("vkube restore saved --snapshot before").contains("no snapshot"));
}

pub fn a_cluster_starts_from_the_snapshot_of_another(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "origin");
    fill(&guest.connect());
    sandbox.host.ok("vkube snapshot create origin --snapshot seed");
    sandbox.host.ok(
        "vkube create copied --ephemeral --set restoreFrom.cluster=origin --set restoreFrom.snapshot=seed",
    );
    is_whole(&sandbox.connect("default", "copied"));
    let from = sandbox.host.ok("kubectl get virtualcluster copied -o jsonpath={.status.restoredFrom}");
    assert_eq!(from, "origin/seed");
    sandbox.host.ok("vkube delete copied --no-wait");
}

pub fn a_file_outlives_its_cluster(sandbox: &Sandbox) {
    let file = sandbox.host.home.join("kept.snapshot.gz");
    {
        let guest = Guest::ready(sandbox, "gone");
        fill(&guest.connect());
        sandbox.host.ok(&format!("vkube snapshot download gone --file {}", file.display()));
        sandbox.host.ok("vkube delete gone");
    }
    let guest = Guest::ready(sandbox, "risen");
    sandbox.host.ok(&format!("vkube restore risen --file {}", file.display()));
    is_whole(&guest.connect());
}

pub fn snapshots_are_taken_by_schedule(sandbox: &Sandbox) {
    let host = &sandbox.host;
    host.ok(
        "vkube create scheduled --ephemeral --set 'snapshots.schedule=\"@every 1s\"' --set snapshots.keep=2",
    );
    host.until("kubectl get virtualcluster scheduled -o jsonpath={.status.snapshots.kept}", |kept| {
        kept == "2"
    });
    let kept = host.ok("vkube snapshot list scheduled -o name");
    assert!(kept.lines().all(|name| name.starts_with("scheduled-")), "{kept}");
    host.ok("vkube delete scheduled --no-wait");
}
