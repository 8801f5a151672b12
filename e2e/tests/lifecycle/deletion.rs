//! What is deleted leaves nothing behind, whatever is broken at the time.

use vkube_e2e::Sandbox;

use crate::guest::Guest;

const OPERATOR: &str = "kubectl -n vkube-system";

pub fn nothing_is_left(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "gone").with_workload();
    sandbox.host.ok("kubectl delete virtualcluster gone --timeout=60s");
    // It says so only when it is so; volumes are the provisioner's to delete.
    sandbox.host.fails(&format!("kubectl get namespace {}", guest.host_namespace));
    sandbox.host.fails("kubectl get secret gone-kubeconfig");
    guest.await_no_trace();
}

pub fn nothing_is_left_when_the_control_plane_is_down(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "gone-down").with_workload();
    let operator = format!("{OPERATOR} get pods -o name");
    // Without the operator nobody brings it up again.
    sandbox.host.ok(&format!("{OPERATOR} scale deployment/vkube-operator --replicas=0"));
    sandbox.host.until(&operator, str::is_empty);
    sandbox
        .host
        .ok(&format!("kubectl -n {} scale statefulset/{} --replicas=0", guest.host_namespace, guest.name));
    let pod =
        format!("kubectl -n {} get pod {}-0 --ignore-not-found -o name", guest.host_namespace, guest.name);
    sandbox.host.until(&pod, str::is_empty);
    guest.delete();
    sandbox.host.ok(&format!("{OPERATOR} scale deployment/vkube-operator --replicas=1"));
    guest.await_no_trace();
    sandbox.host.ok(&format!("{OPERATOR} rollout status deployment/vkube-operator --timeout=60s"));
}

pub fn nothing_is_left_when_the_host_namespace_went_first(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "gone-before").with_workload();
    sandbox.host.ok(&format!("kubectl delete namespace {} --wait=false", guest.host_namespace));
    guest.delete();
    guest.await_no_trace();
}

pub fn nothing_is_left_when_the_operator_restarts_meanwhile(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "gone-twice").with_workload();
    guest.delete();
    sandbox.host.ok(&format!("{OPERATOR} delete pods --all --grace-period=0 --force"));
    guest.await_no_trace();
    sandbox.host.ok(&format!("{OPERATOR} rollout status deployment/vkube-operator --timeout=60s"));
}

pub fn a_cluster_of_the_same_name_starts_afresh(sandbox: &Sandbox) {
    let first = Guest::ready(sandbox, "again");
    first.connect().ok("kubectl create configmap old");
    sandbox.host.ok("kubectl delete virtualcluster again --timeout=60s");
    first.await_no_trace();
    let second = Guest::ready(sandbox, "again");
    assert_eq!(second.host_namespace, first.host_namespace);
    let missing = second.connect().fails("kubectl get configmap old");
    assert!(missing.contains("NotFound"), "{missing}");
}

pub fn a_cluster_deleted_while_it_starts_leaves_nothing(sandbox: &Sandbox) {
    let guest = Guest::create(sandbox, "gone-early");
    guest.delete();
    guest.await_no_trace();
}
