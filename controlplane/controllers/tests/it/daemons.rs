use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::cluster::{Cluster, selector, template};

#[tokio::test]
async fn each_node_has_its_daemon_and_gets_the_new_one() {
    let cluster = Cluster::start().await;
    let spec = json!({"selector": selector("agent"), "template": template("agent", "pause")});
    cluster.create::<DaemonSet>(json!({"metadata": {"name": "agent"}, "spec": spec})).await;
    let ready = |count: i32| {
        move |set: &DaemonSet| {
            let status = set.status.clone().unwrap_or_default();
            (status.number_ready, status.updated_number_scheduled) == (count, Some(count))
                && status.observed_generation == set.metadata.generation
        }
    };
    cluster.until_one("agent", "it is on the node", ready(1)).await;

    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let second = serde_json::from_value(json!({"metadata": {"name": "second"}})).unwrap();
    nodes.create(&PostParams::default(), &second).await.unwrap();
    cluster.until::<Pod>("there is one for the new node", |pods| pods.len() == 2).await;
    nodes.delete("second", &Default::default()).await.unwrap();
    cluster.until::<Pod>("it has gone with the node", |pods| pods.len() == 1).await;

    cluster.patch::<DaemonSet>("agent", json!({"spec": {"template": template("agent", "pause:2")}})).await;
    let new = |pods: &[Pod]| {
        pods.len() == 1 && pods[0].spec.as_ref().unwrap().containers[0].image.as_deref() == Some("pause:2")
    };
    cluster.until::<Pod>("it is replaced", new).await;
    cluster.until_one("agent", "it is updated", ready(1)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_cron_job_starts_the_job_that_is_due() {
    let cluster = Cluster::start().await;
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "true"}]}});
    let spec = json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": pod}}});
    cluster.create::<CronJob>(json!({"metadata": {"name": "report"}, "spec": spec})).await;
    // It has missed its time since the last run an hour ago.
    let last = jiff::Timestamp::now() - jiff::Span::new().hours(1);
    let last = last.strftime("%Y-%m-%dT%H:%M:00Z").to_string();
    let status = kube::api::Patch::Merge(json!({"status": {"lastScheduleTime": last}}));
    cluster.api::<CronJob>().patch_status("report", &Default::default(), &status).await.unwrap();
    let jobs = cluster.until::<Job>("there is a job", |jobs| !jobs.is_empty()).await;
    assert!(jobs[0].name_any().starts_with("report-"));
    let told =
        |cron: &CronJob| cron.status.as_ref().is_some_and(|status| status.last_successful_time.is_some());
    let cron = cluster.until_one("report", "its success is told", told).await;
    assert_ne!(cron.status.unwrap().last_schedule_time.unwrap().0.to_string(), last);
    cluster.stop().await;
}
