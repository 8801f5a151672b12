use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::{Endpoints, Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::cluster::{Cluster, until};

#[tokio::test]
async fn hand_written_endpoints_have_slices() {
    let cluster = Cluster::start().await;
    let ports = json!([{"port": 5432}]);
    cluster.create::<Service>(json!({"metadata": {"name": "db"}, "spec": {"ports": ports}})).await;
    let subset = json!({"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 5432}]});
    cluster.create::<Endpoints>(json!({"metadata": {"name": "db"}, "subsets": [subset]})).await;
    let of_db = |slices: &[EndpointSlice]| -> Vec<EndpointSlice> {
        let label = |slice: &&EndpointSlice| {
            slice.labels().get("kubernetes.io/service-name").is_some_and(|name| name == "db")
        };
        slices.iter().filter(label).cloned().collect()
    };
    let slices =
        cluster.until::<EndpointSlice>("they are mirrored", |slices| !of_db(slices).is_empty()).await;
    let slice = of_db(&slices).remove(0);
    assert_eq!(slice.endpoints.unwrap()[0].addresses, ["192.0.2.7"]);
    assert_eq!(
        slice.metadata.labels.unwrap()["endpointslice.kubernetes.io/managed-by"],
        "endpointslicemirroring-controller.k8s.io"
    );

    cluster.patch::<Service>("db", json!({"spec": {"selector": {"app": "db"}}})).await;
    let mirrored = |slice: &EndpointSlice| {
        slice.labels()["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    };
    cluster
        .until::<EndpointSlice>("the mirror image is gone", |slices| !of_db(slices).iter().any(mirrored))
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_ephemeral_volume_gets_its_claim() {
    let cluster = Cluster::start().await;
    let template =
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let spec = json!({
        "containers": [{"name": "main", "image": "pause"}],
        "volumes": [{"name": "cache", "ephemeral": {"volumeClaimTemplate": template}}],
    });
    cluster.create::<Pod>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let claim = cluster.until_one::<PersistentVolumeClaim>("web-cache", "it is there", |_| true).await;
    assert_eq!(claim.owner_references()[0].name, "web");
    cluster.api::<Pod>().delete("web", &DeleteParams::default()).await.unwrap();
    cluster.until::<PersistentVolumeClaim>("it goes with the pod", <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_aggregated_role_follows_what_it_selects() {
    let cluster = Cluster::start().await;
    let roles: Api<ClusterRole> = Api::all(cluster.client.clone());
    let create = |role: serde_json::Value| {
        let roles = roles.clone();
        async move { roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap() }
    };
    let selectors = json!([{"matchLabels": {"example.com/to": "ops"}}]);
    create(json!({"metadata": {"name": "ops"}, "aggregationRule": {"clusterRoleSelectors": selectors}}))
        .await;
    let rule = json!({"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]});
    let labels = json!({"example.com/to": "ops"});
    create(json!({"metadata": {"name": "widgets", "labels": labels}, "rules": [rule]})).await;
    let of_ops = |roles: &[ClusterRole]| roles.iter().find(|role| role.name_any() == "ops").cloned().unwrap();
    let has =
        |count: usize| move |roles: &[ClusterRole]| of_ops(roles).rules.unwrap_or_default().len() == count;
    let written = of_ops(&until(roles.clone(), "the rule is written", has(1)).await);
    let managers = written.metadata.managed_fields.unwrap();
    assert!(managers.iter().any(|one| one.manager.as_deref() == Some("clusterrole-aggregation-controller")));

    let unlabel = Patch::Merge(json!({"metadata": {"labels": {"example.com/to": null}}}));
    roles.patch("widgets", &PatchParams::default(), &unlabel).await.unwrap();
    until(roles, "the rule is gone", has(0)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_on_a_node_that_is_out_of_service_ends() {
    let cluster = Cluster::start().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let taints = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoSchedule"}]);
    let node = json!({"metadata": {"name": "lost"}, "spec": {"taints": taints}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let spec = json!({
        "nodeName": "lost",
        "containers": [{"name": "main", "image": "pause"}],
    });
    // The finalizer keeps the pod when the pretended kubelet has let go of it.
    let metadata = json!({"name": "web", "finalizers": ["example.com/hold"]});
    cluster.create::<Pod>(json!({"metadata": metadata, "spec": spec})).await;
    cluster.api::<Pod>().delete("web", &DeleteParams::default()).await.unwrap();
    cluster
        .until_one::<Pod>("web", "it has failed", |pod| {
            pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed")
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_validating_policy_is_reported_as_seen_with_what_its_expressions_get_wrong() {
    let cluster = Cluster::start().await;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cluster.client.clone());
    let (groups, versions, resources) = (["apps"], ["v1"], ["deployments"]);
    let rules = json!([
        {"apiGroups": groups, "apiVersions": versions, "operations": ["CREATE"], "resources": resources},
    ]);
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "object.spec.replicas < 9"}, {"expression": "object.replicas < 9"}],
    }});
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    let found = until(policies, "it is seen", |all| {
        all.iter().any(|one| {
            one.status.as_ref().and_then(|status| status.observed_generation) == one.metadata.generation
        })
    })
    .await;
    let status = found.into_iter().find_map(|one| one.status).unwrap();
    let warnings = status.type_checking.and_then(|types| types.expression_warnings).unwrap();
    assert_eq!((warnings.len(), &*warnings[0].field_ref), (1, "spec.validations[1].expression"));
    assert!(warnings[0].warning.starts_with("apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field"));
    cluster.stop().await;
}

#[tokio::test]
async fn pods_leave_a_node_with_a_taint_that_they_do_not_tolerate() {
    let cluster = Cluster::start().await;
    let pod = |name: &str, tolerations: serde_json::Value| {
        let containers = json!([{"name": "main", "image": "pause"}]);
        json!({"metadata": {"name": name}, "spec": {"containers": containers, "tolerations": tolerations}})
    };
    cluster.create::<Pod>(pod("leaves", json!([]))).await;
    cluster.create::<Pod>(pod("stays", json!([{"key": "broken", "operator": "Exists"}]))).await;
    let run =
        |pods: &[Pod]| pods.iter().all(|pod| pod.status.as_ref().is_some_and(|one| one.pod_ip.is_some()));
    cluster.until::<Pod>("both run", |pods| pods.len() == 2 && run(pods)).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let taint = json!({"spec": {"taints": [{"key": "broken", "effect": "NoExecute"}]}});
    let patch = Patch::Merge(taint);
    nodes.patch("node", &PatchParams::default(), &patch).await.unwrap();
    let left = cluster.until::<Pod>("one has left", |pods| pods.len() == 1).await;
    assert_eq!(left[0].metadata.name.as_deref(), Some("stays"));
    let message = cluster.event("leaves", "TaintManagerEviction").await;
    assert_eq!(message, "Marking for deletion Pod default/leaves");
    cluster.stop().await;
}

#[tokio::test]
async fn a_volume_attributes_class_goes_when_no_claim_uses_it() {
    let cluster = Cluster::start().await;
    let classes: Api<VolumeAttributesClass> = Api::all(cluster.client.clone());
    for name in ["gold", "silver"] {
        let class =
            json!({"metadata": {"name": name}, "driverName": "example.com/d", "parameters": {"iops": "9"}});
        classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    }
    let spec = json!({
        "volumeAttributesClassName": "gold", "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    });
    cluster.create::<PersistentVolumeClaim>(json!({"metadata": {"name": "data"}, "spec": spec})).await;
    for name in ["gold", "silver"] {
        classes.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let left = |all: &[VolumeAttributesClass]| all.iter().map(ResourceExt::name_any).collect::<Vec<_>>();
    until(classes.clone(), "the other one is gone", |all| left(all) == ["gold"]).await;
    cluster.api::<PersistentVolumeClaim>().delete("data", &DeleteParams::default()).await.unwrap();
    until(classes, "it is gone too", <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_with_a_claim_template_gets_a_claim_that_goes_when_the_pod_is_done() {
    let cluster = Cluster::start().await;
    let devices = json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]});
    let spec = json!({
        "containers": [{"name": "main", "image": "pause"}],
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}],
    });
    cluster.create::<Pod>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let why = cluster.event("web", "FailedResourceClaimCreation").await;
    assert!(why.contains("resource claim template \"t\""), "{why}");
    cluster
        .create::<ResourceClaimTemplate>(
            json!({"metadata": {"name": "t"}, "spec": {"spec": {"devices": devices}}}),
        )
        .await;
    let is_told = |pod: &Pod| pod.status.as_ref().is_some_and(|one| one.resource_claim_statuses.is_some());
    let pod = cluster.until_one::<Pod>("web", "it is told its claim", is_told).await;
    let claim = pod.status.unwrap().resource_claim_statuses.unwrap().remove(0).resource_claim_name.unwrap();

    // What a scheduler writes.
    let claims: Api<ResourceClaim> = cluster.api();
    let finalizer = json!({"metadata": {"finalizers": ["resource.kubernetes.io/delete-protection"]}});
    claims.patch(&claim, &PatchParams::default(), &Patch::Merge(finalizer)).await.unwrap();
    let results = json!([{"request": "r", "driver": "d.io", "pool": "p", "device": "a"}]);
    let consumer = json!({"resource": "pods", "name": "web", "uid": pod.metadata.uid});
    let status =
        json!({"status": {"allocation": {"devices": {"results": results}}, "reservedFor": [consumer]}});
    claims.patch_status(&claim, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();

    let done = json!({"status": {"phase": "Succeeded"}});
    let pods: Api<Pod> = cluster.api();
    pods.patch_status("web", &PatchParams::default(), &Patch::Merge(done)).await.unwrap();
    cluster.until::<ResourceClaim>("it is freed and goes", <[_]>::is_empty).await;
    cluster.stop().await;
}
