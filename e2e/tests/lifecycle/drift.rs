//! What others change or break is put right.

use vkube_e2e::Sandbox;

use crate::guest::Guest;

pub fn a_deleted_stateful_set_comes_back_with_its_data(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "lost-set");
    // A later `vkube connect` would forward a port while the control plane does not listen.
    let tenant = guest.connect();
    tenant.ok("kubectl create configmap kept --from-literal=key=value");
    let set = format!(
        "kubectl -n {} get statefulset {} -o jsonpath={{.metadata.uid}}",
        guest.host_namespace, guest.name
    );
    let before = sandbox.host.ok(&set);
    sandbox.host.ok(&format!("kubectl -n {} delete statefulset {}", guest.host_namespace, guest.name));
    sandbox.host.until(&set, |uid| !uid.is_empty() && uid != before);
    let kept = tenant.until("kubectl get configmap kept -o jsonpath={.data.key}", |value| !value.is_empty());
    assert_eq!(kept, "value");
    guest.await_ready();
}

pub fn a_deleted_quota_comes_back(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "lost-quota");
    let quotas =
        format!("kubectl -n {} get resourcequotas,limitranges,networkpolicies -o name", guest.host_namespace);
    let before = sandbox.host.ok(&quotas);
    assert!(before.contains("resourcequota/"), "{before}");
    sandbox.host.ok(&format!(
        "kubectl -n {} delete resourcequotas,limitranges,networkpolicies --all",
        guest.host_namespace
    ));
    sandbox.host.until(&quotas, |after| after == before);
}

pub fn a_changed_role_binding_is_put_right(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "changed-binding");
    let binding = format!("rolebinding vc-{}", guest.name);
    let subjects = format!("kubectl -n {} get {binding} -o jsonpath={{.subjects}}", guest.host_namespace);
    let before = sandbox.host.ok(&subjects);
    let patch = r#"'[{"op":"add","path":"/subjects/-","value":{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"mallory"}}]'"#;
    sandbox.host.ok(&format!("kubectl -n {} patch {binding} --type=json -p {patch}", guest.host_namespace));
    sandbox.host.until(&subjects, |after| after == before);
}

pub fn a_killed_control_plane_comes_back(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "killed").with_workload();
    let tenant = guest.connect();
    let pods = format!(
        "kubectl -n {} get pods -l app.kubernetes.io/name!=vkube -o jsonpath='{{.items[*].metadata.uid}}'",
        guest.host_namespace
    );
    let before = sandbox.host.ok(&pods);
    let pod =
        format!("kubectl -n {} get pod {}-0 -o jsonpath={{.metadata.uid}}", guest.host_namespace, guest.name);
    let killed = sandbox.host.ok(&pod);
    sandbox.host.ok(&format!(
        "kubectl -n {} delete pod {}-0 --grace-period=0 --force",
        guest.host_namespace, guest.name
    ));
    sandbox.host.until(&pod, |uid| !uid.is_empty() && uid != killed);
    tenant.until("kubectl -n shop get deployment web -o jsonpath={.status.readyReplicas}", |ready| {
        ready == "3"
    });
    // The workload went on meanwhile.
    assert_eq!(sandbox.host.ok(&pods), before);
    tenant.ok("kubectl -n shop scale deployment/web --replicas=1");
    tenant.until("kubectl -n shop get pods -o name", |pods| pods.lines().count() == 1);
}

pub fn a_deleted_kubeconfig_comes_back(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "lost-key");
    let secret = format!("kubectl get secret {}-kubeconfig -o jsonpath={{.data.value}}", guest.name);
    sandbox.host.ok(&format!("kubectl delete secret {}-kubeconfig", guest.name));
    sandbox.host.until(&secret, |value| !value.is_empty());
    guest.connect().ok("kubectl get namespaces");
}
