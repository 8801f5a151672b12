//! The other side.

use crate::{SHOP, World};

pub fn pods_are_renamed_into_one_namespace(world: &World) {
    let (tenant, host) = (&world.tenant, &world.sandbox.host);
    tenant.ok("kubectl -n shop rollout status deployment/web --timeout=60s");
    let running = "-o jsonpath='{.items[*].metadata.name}' --field-selector status.phase=Running";
    tenant.until(&format!("kubectl -n {SHOP} get pods -l app=web {running}"), |names| {
        let on_host = host.ok(&format!("kubectl -n {} get pods {running}", world.host_namespace));
        let on_host: Vec<_> = on_host.split_whitespace().filter(|name| name.contains("-x-shop-x-")).collect();
        let mut expected: Vec<_> =
            names.split_whitespace().map(|name| format!("{name}-x-shop-x-{}", world.name)).collect();
        expected.sort();
        on_host == expected
    });
    let services = host.ok(&format!("kubectl -n {} get services -o name", world.host_namespace));
    assert!(services.contains(&format!("service/web-x-shop-x-{}", world.name)), "{services}");
    // Both sides know it by the same address.
    let address = "-o jsonpath={.spec.clusterIP}";
    assert_eq!(
        tenant.ok(&format!("kubectl -n shop get service web {address}")),
        host.ok(&format!(
            "kubectl -n {} get service web-x-shop-x-{} {address}",
            world.host_namespace, world.name
        )),
    );
}

pub fn what_the_tenant_makes_stays_inside(world: &World) {
    let host = &world.sandbox.host;
    assert!(world.tenant.ok("kubectl get namespaces -o name").contains("namespace/shop"));
    let namespaces = host.ok("kubectl get namespaces -o name");
    let mut expected: Vec<_> = ["default", "kube-node-lease", "kube-public", "kube-system", "vkube-system"]
        .map(String::from)
        .to_vec();
    expected.push(world.host_namespace.clone());
    expected.sort();
    let namespaces: Vec<_> = namespaces.lines().map(|line| line.trim_start_matches("namespace/")).collect();
    assert_eq!(namespaces, expected);

    let kinds = "deployments,replicasets,jobs,roles";
    assert_eq!(host.ok(&format!("kubectl -n {} get {kinds} -o name", world.host_namespace)), "");
    let elsewhere = host.ok("kubectl get pods -A -o name");
    let inside = host.ok(&format!("kubectl -n {} get pods -o name", world.host_namespace));
    let outside: Vec<_> = elsewhere.lines().filter(|pod| !inside.contains(pod)).collect();
    assert!(outside.iter().all(|pod| pod.starts_with("pod/vkube-operator-")), "{outside:?}");
    // And the host's own is not the tenant's to see.
    assert!(!world.tenant.ok("kubectl get namespaces -o name").contains("vkube-system"));
    world.tenant.fails("kubectl get virtualclusters -A");
}
