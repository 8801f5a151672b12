//! Several control planes of one cluster, over one database.

#[path = "../../../controlplane/store/tests/common/mod.rs"]
mod postgres;

use vkube_e2e::{Sandbox, example};

use crate::guest::Guest;

const MANIFEST: &str = r"
apiVersion: v1
kind: Secret
metadata: {name: clusters-db, namespace: default}
stringData: {uri: 'URI'}
---
apiVersion: vkube.dev/v1alpha1
kind: VirtualCluster
metadata: {name: twins, namespace: default}
spec:
  replicas: 2
  backingStore: {type: ExternalDatabase, external: {secretRef: {name: clusters-db}}}
";

pub fn a_cluster_outlives_each_of_its_control_planes(sandbox: &Sandbox) {
    let Some(server) = postgres::listen() else { return };
    sandbox.host.apply(&MANIFEST.replace("URI", &server.uri()));
    let guest = Guest::of(sandbox, "twins");
    guest.await_ready();
    let (host, namespace) = (guest.host, guest.host_namespace.clone());
    let tenant = guest.connect();
    tenant.apply(&example("workload.yaml"));
    tenant.ok("kubectl -n shop rollout status deployment/web --timeout=60s");

    for replica in ["twins-0", "twins-1"] {
        // One at a time, as a drain would have it.
        host.ok(&format!(
            "kubectl -n {namespace} wait --for=condition=Ready pod/twins-0 pod/twins-1 --timeout=60s"
        ));
        host.ok(&format!("kubectl -n {namespace} delete pod {replica} --force --grace-period=0"));
        // What runs is as it was, and goes on.
        let change = format!("kubectl -n shop annotate deployment/web gone={replica} --overwrite");
        tenant.until(&format!("{change} && kubectl -n shop get service web"), |_| true);
    }
    // Whoever leads now does the work.
    tenant.ok("kubectl -n shop scale deployment/web --replicas=3");
    tenant.ok("kubectl -n shop rollout status deployment/web --timeout=120s");
    assert_eq!(server.schemas("vkube_"), 1);

    guest.delete();
    guest.await_no_trace();
    assert_eq!(server.schemas("vkube_"), 0, "the schema goes with the cluster");
    host.ok("kubectl delete secret clusters-db");
}
