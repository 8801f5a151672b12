//! `vkube` at the command line.

use vkube_e2e::Sandbox;

use crate::guest::Guest;

pub fn status_says_that_the_sandbox_runs(sandbox: &Sandbox) {
    let said = sandbox.host.ok(&format!("vkube sandbox status {}", sandbox.flag()));
    assert!(said.contains("is running"), "{said}");
    let said = sandbox.host.json(&format!("vkube sandbox status -o json {}", sandbox.flag()));
    assert_eq!(said["running"], true);
    let other = sandbox.host.ok("vkube sandbox status --data-dir /nonexistent");
    assert!(other.contains("No sandbox is running"), "{other}");
    let refused = sandbox.host.fails(&format!("vkube sandbox start {}", sandbox.flag()));
    assert!(refused.contains("running already"), "{refused}");
}

pub fn connect_runs_a_command(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "connected");
    let said = sandbox.host.ok(&format!("vkube connect {} -- kubectl get ns -o name", guest.name));
    assert!(said.contains("namespace/kube-system") && !said.contains("vkube-system"), "{said}");
    let failed = sandbox.host.run(&format!("vkube connect {} -- sh -c 'exit 3'", guest.name));
    assert_eq!(failed.status.code(), Some(3), "{}", failed.stderr);
    let unknown = sandbox.host.fails("vkube connect nobody -- true");
    assert!(unknown.contains("nobody"), "{unknown}");
}

pub fn connect_merges_a_context(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "merged");
    let file = sandbox.host.home.join("merged.kubeconfig");
    sandbox.host.ok(&format!("vkube connect {} --kubeconfig {}", guest.name, file.display()));
    let merged = sandbox.host.with_kubeconfig(file);
    assert!(!merged.ok("kubectl config current-context").trim().is_empty());
    assert!(merged.ok("kubectl get ns -o name").contains("namespace/default"));
}

pub fn the_operator_writes_nothing_for_idle_clusters(sandbox: &Sandbox) {
    let measured = sandbox.host.json("vkube bench operator --clusters 3 --idle 1 -o json");
    assert_eq!(measured["clusters"], 3);
    assert_eq!(measured["idleWrites"], 0);
    assert!(measured["residentKiB"].as_u64().is_some_and(|resident| resident > 0), "{measured}");
}
