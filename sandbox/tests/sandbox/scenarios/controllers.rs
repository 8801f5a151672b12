//! The controllers over pods that a node really starts and ends.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{Endpoints, Namespace, PersistentVolumeClaim, Pod, ResourceQuota, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};

use super::setup::Host;

fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": image}]},
    })
}

fn workload(app: &str, replicas: i32) -> Value {
    let selector = json!({"matchLabels": {"app": app}});
    let spec = json!({"replicas": replicas, "selector": selector, "template": template(app, "app:1")});
    json!({"metadata": {"name": app}, "spec": spec})
}

async fn patch<K>(host: &Host, name: &str, patch: Value)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    host.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn pods(host: &Host) -> Vec<Pod> {
    host.api::<Pod>().list(&ListParams::default()).await.unwrap().items
}

fn is_rolled_out(deployment: &Deployment, replicas: i32) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation == deployment.metadata.generation
        && [status.replicas, status.updated_replicas, status.available_replicas] == [Some(replicas); 3]
        && status.terminating_replicas.unwrap_or(0) == 0
}

pub async fn deployments_roll_and_replace_lost_pods_as_far_as_a_budget_allows(host: Host) {
    host.create::<Deployment>(workload("web", 3)).await;
    let rolled = |one: Option<&Deployment>| one.is_some_and(|one| is_rolled_out(one, 3));
    host.wait("web", rolled).await;
    patch::<Deployment>(&host, "web", json!({"spec": {"template": template("web", "app:2")}})).await;
    host.wait("web", rolled).await;
    // What goes may still be there for a moment after it is counted no more.
    let mut left = pods(&host).await;
    left.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    let images: Vec<_> =
        left.iter().map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone()).collect();
    assert_eq!(images, vec![Some("app:2".to_owned()); 3]);

    let spec = json!({"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}});
    host.create::<PodDisruptionBudget>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let counted = |allowed: i32| {
        move |budget: Option<&PodDisruptionBudget>| {
            let status = budget.and_then(|budget| budget.status.clone()).unwrap_or_default();
            (status.current_healthy, status.disruptions_allowed) == (Some(3), Some(allowed))
        }
    };
    host.wait("web", counted(0)).await;
    let lost = left[0].name_any();
    let refused = host.api::<Pod>().evict(&lost, &EvictParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains("disruption budget"), "{refused}");
    patch::<PodDisruptionBudget>(&host, "web", json!({"spec": {"minAvailable": 2}})).await;
    host.wait("web", counted(1)).await;
    host.api::<Pod>().evict(&lost, &EvictParams::default()).await.unwrap();
    host.wait::<Pod>(&lost, |pod| pod.is_none()).await;
    host.wait("web", rolled).await;
    host.wait("web", counted(1)).await;
}

pub async fn stateful_sets_keep_names_and_claims_and_services_their_endpoints(host: Host) {
    let ports = json!([{"port": 80}]);
    let service = json!({"clusterIP": "None", "selector": {"app": "db"}, "ports": ports});
    host.create::<Service>(json!({"metadata": {"name": "db"}, "spec": service})).await;
    let mut set = workload("db", 2);
    set["spec"]["serviceName"] = json!("db");
    set["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }]);
    host.create::<StatefulSet>(set).await;
    let ready = |count: i32| {
        move |set: Option<&StatefulSet>| {
            let status = set.and_then(|set| set.status.clone()).unwrap_or_default();
            status.replicas == count && status.available_replicas == Some(count)
        }
    };
    host.wait("db", ready(2)).await;
    let before = host.api::<Pod>().get("db-1").await.unwrap().uid();
    host.api::<Pod>().delete("db-1", &DeleteParams::default()).await.unwrap();
    host.wait_for_pod("db-1", |pod| pod.uid() != before).await;
    host.wait_until_ready("db-1").await;

    let complete = |endpoints: Option<&Endpoints>| {
        let subsets = endpoints.iter().flat_map(|one| one.subsets.iter().flatten());
        subsets.map(|subset| subset.addresses.as_ref().map_or(0, Vec::len)).sum::<usize>() == 2
    };
    host.wait("db", complete).await;
    patch::<StatefulSet>(&host, "db", json!({"spec": {"replicas": 0}})).await;
    host.wait::<Pod>("db-0", |pod| pod.is_none()).await;
    let claims = host.api::<PersistentVolumeClaim>().list(&ListParams::default()).await.unwrap().items;
    let names: Vec<_> = claims.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["data-db-0", "data-db-1"], "claims outlive their pods");
}

pub async fn jobs_end_and_daemons_run_on_the_node(host: Host) {
    let container = |code: &str| json!({"name": "main", "image": "registry.example/vkube/vkube:test", "args": ["workload", "exit", code]});
    let pod = |code: &str| json!({"spec": {"restartPolicy": "Never", "containers": [container(code)]}});
    let spec = json!({"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": pod("0")});
    host.create::<Job>(json!({"metadata": {"name": "good"}, "spec": spec})).await;
    let spec = json!({"backoffLimit": 0, "template": pod("3")});
    host.create::<Job>(json!({"metadata": {"name": "bad"}, "spec": spec})).await;
    let has = |type_: &'static str| {
        move |job: Option<&Job>| {
            let conditions = job.and_then(|job| job.status.clone()?.conditions).unwrap_or_default();
            conditions.iter().any(|one| one.type_ == type_ && one.status == "True")
        }
    };
    let good = host.wait("good", has("Complete")).await.unwrap().status.unwrap();
    assert_eq!((good.succeeded, good.completed_indexes.as_deref()), (Some(3), Some("0-2")));
    let bad = host.wait("bad", has("Failed")).await.unwrap().status.unwrap();
    assert_eq!(bad.failed, Some(1));
    let cron =
        json!({"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template": pod("0")}}});
    host.create::<CronJob>(json!({"metadata": {"name": "yearly"}, "spec": cron})).await;

    let mut agent = workload("agent", 0);
    agent["spec"].as_object_mut().unwrap().remove("replicas");
    host.create::<DaemonSet>(agent).await;
    let runs = |set: Option<&DaemonSet>| {
        set.and_then(|set| set.status.as_ref()).is_some_and(|status| status.number_available == Some(1))
    };
    host.wait("agent", runs).await;
}

pub async fn a_quota_follows_pods_and_a_namespace_goes_with_everything_in_it(host: Host) {
    let hard = json!({"pods": "9"});
    host.create::<ResourceQuota>(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    let used = |amount: &'static str| {
        move |quota: Option<&ResourceQuota>| {
            let used = quota.and_then(|quota| quota.status.clone()?.used).unwrap_or_default();
            used.get("pods").is_some_and(|found| found.0 == amount)
        }
    };
    host.create::<Deployment>(workload("web", 2)).await;
    host.wait("q", used("2")).await;
    patch::<Deployment>(&host, "web", json!({"spec": {"replicas": 1}})).await;
    host.wait("q", used("1")).await;
    let namespaces: Api<Namespace> = Api::all(host.sandbox().client());
    namespaces.delete(&host.namespace, &DeleteParams::default()).await.unwrap();
    let gone = |namespace: Option<&Namespace>| namespace.is_none();
    await_condition(namespaces, &host.namespace, gone).await.unwrap();
}
