use k8s_openapi::api::apps::v1::ReplicaSetSpec;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::*;
use crate::pods::tests::running;

fn set(replicas: i32) -> ReplicaSet {
    let labels = Some([("app".to_owned(), "web".to_owned())].into());
    ReplicaSet {
        metadata: ObjectMeta { generation: Some(4), ..ObjectMeta::default() },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            template: Some(PodTemplateSpec {
                metadata: Some(ObjectMeta { labels, ..ObjectMeta::default() }),
                spec: None,
            }),
            ..ReplicaSetSpec::default()
        }),
        status: None,
    }
}

fn pod(name: &str, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
    let mut pod = running(name);
    change(&mut pod);
    Arc::new(pod)
}

fn terminating(pod: &mut Pod) {
    pod.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
}

fn failed(pod: &mut Pod) {
    pod.status.as_mut().unwrap().phase = Some("Failed".into());
}

#[test]
fn missing_pods_are_created() {
    assert_eq!(plan(&set(3), &[pod("a", |_| {})], Vec::new), Plan::Create(2));
    assert_eq!(plan(&set(2000), &[], Vec::new), Plan::Create(BURST));
}

#[test]
fn terminating_and_finished_pods_are_replaced() {
    let pods = [pod("a", terminating), pod("b", failed), pod("c", |_| {})];
    assert_eq!(plan(&set(3), &pods, Vec::new), Plan::Create(2));
}

#[test]
fn surplus_pods_are_deleted_unready_ones_first() {
    let unready = pod("b", |pod| pod.status.as_mut().unwrap().conditions = None);
    let pods = [pod("a", |_| {}), unready.clone()];
    assert_eq!(plan(&set(1), &pods, || pods.to_vec()), Plan::Delete(vec![unready]));
    assert_eq!(plan(&set(2), &pods, || pods.to_vec()), Plan::Nothing);
}

#[test]
fn a_set_that_is_being_deleted_leaves_its_pods_to_the_garbage_collector() {
    let mut set = set(0);
    set.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(plan(&set, &[pod("a", |_| {})], Vec::new), Plan::Nothing);
}

#[test]
fn the_status_counts_pods_by_what_they_are() {
    let mut set = set(5);
    set.spec.as_mut().unwrap().min_ready_seconds = Some(10);
    let labelled = |pod: &mut Pod| pod.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
    let young = |pod: &mut Pod| {
        let conditions = pod.status.as_mut().unwrap().conditions.as_mut().unwrap();
        conditions[0].last_transition_time = Some(Time(Timestamp::from_second(95).unwrap()));
    };
    let pods = [
        pod("a", labelled),
        pod("b", young),
        pod("c", |pod| pod.status.as_mut().unwrap().conditions = None),
        pod("d", terminating),
        pod("e", failed),
    ];
    let (status, next) = observe(&set, &pods, None, Timestamp::from_second(100).unwrap());
    let expected = ReplicaSetStatus {
        replicas: 3,
        fully_labeled_replicas: Some(1),
        ready_replicas: Some(2),
        available_replicas: Some(1),
        terminating_replicas: Some(1),
        observed_generation: Some(4),
        conditions: None,
    };
    assert_eq!(status, expected);
    assert_eq!(next, Some(Duration::from_secs(5)));
}

#[test]
fn a_failure_is_a_condition_until_it_is_over() {
    let mut set = set(1);
    let error = Error::NotYet("quota exceeded".into());
    let (status, _) = observe(&set, &[], Some(("FailedCreate", &error)), Timestamp::UNIX_EPOCH);
    let condition = &status.conditions.as_ref().unwrap()[0];
    assert_eq!((condition.reason.as_deref(), &*condition.status), (Some("FailedCreate"), "True"));
    assert_eq!(condition.message.as_deref(), Some("quota exceeded"));

    set.status = Some(status);
    let (status, _) = observe(&set, &[], None, Timestamp::UNIX_EPOCH);
    assert_eq!(status.conditions, None);
}
