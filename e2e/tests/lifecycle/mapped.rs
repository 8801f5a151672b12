//! Virtual namespaces that have namespaces of their own on the host.

use vkube_e2e::{Sandbox, example};

const CLUSTER: &str = "
apiVersion: vkube.dev/v1alpha1
kind: VirtualCluster
metadata: {name: mapped, namespace: default}
spec:
  sync:
    toHost:
      namespaces:
        mappings: {shop: '${name}-shop'}
";

const PODS: &str = "get pods --sort-by=.metadata.name -o jsonpath={.items[*].metadata.name}";

pub fn a_mapped_namespace_keeps_its_names_on_the_host_and_goes_with_the_virtual_one(sandbox: &Sandbox) {
    sandbox.host.apply(CLUSTER);
    sandbox.host.ok("kubectl wait --for=condition=Ready virtualcluster/mapped --timeout=60s");
    let tenant = sandbox.connect("default", "mapped");
    tenant.apply(&example("workload.yaml"));
    tenant.ok("kubectl -n shop rollout status deployment/web --timeout=60s");
    let there = sandbox.host.ok(&format!("kubectl -n mapped-shop {PODS}"));
    assert_eq!(tenant.ok(&format!("kubectl -n shop {PODS}")), there);
    let address = "kubectl get service web -o jsonpath={.spec.clusterIP} -n";
    assert_eq!(tenant.ok(&format!("{address} shop")), sandbox.host.ok(&format!("{address} mapped-shop")));
    tenant.ok("kubectl -n shop logs deployment/web");
    sandbox.host.ok("kubectl -n mapped-shop get resourcequota,limitrange,networkpolicy");

    tenant.ok("kubectl delete namespace shop --timeout=60s");
    sandbox.host.until("kubectl get namespace mapped-shop --ignore-not-found -o name", str::is_empty);
    sandbox.host.ok("kubectl delete virtualcluster mapped --timeout=60s");
}
