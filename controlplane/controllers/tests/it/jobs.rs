use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::Cluster;

fn job(image: &str, spec: Value) -> Value {
    let template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}});
    let mut job = json!({"metadata": {"name": "work"}, "spec": spec});
    job["spec"]["template"] = template;
    job
}

fn condition(job: &Job, type_: &str) -> Option<String> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|one| one.type_ == type_ && one.status == "True")?.reason.clone()
}

#[tokio::test]
async fn a_job_completes_and_leaves_no_finalizers() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("true", json!({"completions": 4, "parallelism": 2}))).await;
    let done =
        cluster.until_one::<Job>("work", "it is complete", |job| condition(job, "Complete").is_some()).await;
    let status = done.status.unwrap();
    assert_eq!((status.succeeded, status.failed, status.active), (Some(4), None, None));
    assert!(status.start_time.is_some() && status.completion_time.is_some());
    let pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    assert_eq!(pods.len(), 4);
    assert!(pods.iter().all(|pod| pod.finalizers().is_empty()));
    assert_eq!(cluster.event("work", "Completed").await, "Job completed");
    cluster.stop().await;
}

#[tokio::test]
async fn an_indexed_job_tells_pods_their_index() {
    let cluster = Cluster::start().await;
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    cluster.create::<Job>(job("true", spec)).await;
    let done =
        cluster.until_one::<Job>("work", "it is complete", |job| condition(job, "Complete").is_some()).await;
    assert_eq!(done.status.unwrap().completed_indexes.as_deref(), Some("0-2"));
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_that_fails_says_why() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("false", json!({"backoffLimit": 0}))).await;
    let failed =
        cluster.until_one::<Job>("work", "it has failed", |job| condition(job, "Failed").is_some()).await;
    assert_eq!(condition(&failed, "Failed").as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(failed.status.unwrap().failed, Some(1));
    cluster.stop().await;
}

#[tokio::test]
async fn a_suspended_job_runs_when_it_is_resumed() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("true", json!({"suspend": true}))).await;
    cluster.until_one::<Job>("work", "it is suspended", |job| condition(job, "Suspended").is_some()).await;
    assert!(cluster.api::<Pod>().list(&Default::default()).await.unwrap().items.is_empty());
    cluster.patch::<Job>("work", json!({"spec": {"suspend": false}})).await;
    cluster.until_one::<Job>("work", "it is complete", |job| condition(job, "Complete").is_some()).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_goes_when_its_time_to_live_is_over() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("true", json!({"ttlSecondsAfterFinished": 0}))).await;
    cluster.until::<Job>("it is gone", <[_]>::is_empty).await;
    cluster.until::<Pod>("its pods are gone", <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn deleting_a_running_job_does_not_leave_pods_behind() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("pause", json!({"parallelism": 2, "completions": 2}))).await;
    let running = |job: &Job| job.status.as_ref().and_then(|status| status.ready) == Some(2);
    cluster.until_one::<Job>("work", "it runs", running).await;
    cluster.api::<Job>().delete("work", &DeleteParams::background()).await.unwrap();
    cluster.until::<Pod>("its pods are gone", <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_that_is_managed_by_another_is_left_to_it() {
    let cluster = Cluster::start().await;
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "true"}]}});
    let foreign = json!({"managedBy": "example.com/queue", "template": pod});
    cluster.create::<Job>(json!({"metadata": {"name": "foreign"}, "spec": foreign})).await;
    let own = json!({"managedBy": "kubernetes.io/job-controller", "template": pod});
    cluster.create::<Job>(json!({"metadata": {"name": "own"}, "spec": own})).await;
    let done = |job: &Job| job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
    cluster.until_one("own", "it is complete", done).await;
    let foreign = cluster.api::<Job>().get("foreign").await.unwrap();
    assert_eq!(foreign.status.unwrap_or_default(), Default::default());
    let pods = cluster.api::<Pod>().list(&Default::default()).await.unwrap().items;
    assert_eq!(pods.len(), 1, "only the other job has a pod");
    cluster.stop().await;
}
