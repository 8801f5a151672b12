use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSetOrdinals, StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec, StatefulSetStatus, StatefulSetUpdateStrategy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::*;
use crate::history::REVISION_LABEL;
use crate::pods::tests::running;

fn web(replicas: i32, change: impl FnOnce(&mut StatefulSetSpec)) -> StatefulSet {
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some("data".into()), ..ObjectMeta::default() },
        ..PersistentVolumeClaim::default()
    };
    let mut spec = StatefulSetSpec {
        replicas: Some(replicas),
        service_name: Some("nginx".into()),
        selector: LabelSelector {
            match_labels: Some([("app".to_owned(), "web".to_owned())].into()),
            ..LabelSelector::default()
        },
        volume_claim_templates: Some(vec![claim]),
        ..StatefulSetSpec::default()
    };
    change(&mut spec);
    StatefulSet {
        metadata: ObjectMeta {
            name: Some("web".into()),
            namespace: Some("default".into()),
            uid: Some("set".into()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

fn parallel(spec: &mut StatefulSetSpec) {
    spec.pod_management_policy = Some("Parallel".into());
}

fn rolling(partition: i32, max_unavailable: Option<i32>) -> impl FnOnce(&mut StatefulSetSpec) {
    move |spec| {
        spec.update_strategy = Some(StatefulSetUpdateStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(RollingUpdateStatefulSetStrategy {
                partition: Some(partition),
                max_unavailable: max_unavailable.map(IntOrString::Int),
            }),
        });
    }
}

fn pod_of(revision: &str, ordinal: i32, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
    let mut pod = running(&format!("web-{ordinal}"));
    pod.metadata.labels = Some([(REVISION_LABEL.to_owned(), revision.to_owned())].into());
    identity::label(&web(0, |_| {}), &mut pod);
    change(&mut pod);
    Arc::new(pod)
}

fn pod(ordinal: i32) -> Arc<Pod> {
    pod_of("new", ordinal, |_| {})
}

fn unready(pod: &mut Pod) {
    pod.status.as_mut().unwrap().conditions = None;
}

fn terminating(pod: &mut Pod) {
    pod.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
}

fn failed(pod: &mut Pod) {
    pod.status.as_mut().unwrap().phase = Some("Failed".into());
}

fn steps(set: &StatefulSet, pods: &[Arc<Pod>]) -> Vec<String> {
    let now = Timestamp::from_second(1000).unwrap();
    plan(&Observed { set, pods, current: "old", update: "new", now })
        .into_iter()
        .filter_map(|action| {
            let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
            match action {
                Action::Create { ordinal, revision } => Some(format!("create {ordinal} {revision}")),
                Action::Delete(pod) => Some(format!("delete {}", name(&pod))),
                Action::Replace(pod) => Some(format!("replace {}", name(&pod))),
                Action::Identify(pod) => Some(format!("identify {}", name(&pod))),
                Action::TendClaims { .. } => None,
            }
        })
        .collect()
}

fn status(set: &StatefulSet, pods: &[Arc<Pod>]) -> StatefulSetStatus {
    let now = Timestamp::from_second(1000).unwrap();
    plan::observe(&Observed { set, pods, current: "old", update: "new", now }).0
}

#[test]
fn pods_are_created_in_order_each_after_the_one_before_is_ready() {
    let set = web(3, |_| {});
    assert_eq!(steps(&set, &[]), ["create 0 new"]);
    assert!(steps(&set, &[pod_of("new", 0, unready)]).is_empty());
    assert_eq!(steps(&set, &[pod(0)]), ["create 1 new"]);
    assert_eq!(steps(&set, &[pod(0), pod(2)]), ["create 1 new"]);
    assert!(steps(&set, &[pod(0), pod(1), pod(2)]).is_empty());
}

#[test]
fn a_parallel_set_creates_and_deletes_all_at_once() {
    assert_eq!(steps(&web(3, parallel), &[]), ["create 0 new", "create 1 new", "create 2 new"]);
    let pods = [pod(0), pod_of("new", 1, unready), pod(2)];
    assert_eq!(steps(&web(0, parallel), &pods), ["delete web-2", "delete web-1", "delete web-0"]);
}

#[test]
fn a_set_is_scaled_down_from_the_highest_ordinal_one_by_one() {
    let set = web(1, |_| {});
    assert_eq!(steps(&set, &[pod(0), pod(1), pod(2)]), ["delete web-2"]);
    assert!(steps(&set, &[pod(0), pod(1), pod_of("new", 2, terminating)]).is_empty());
    assert!(steps(&set, &[pod(0), pod_of("new", 1, unready), pod(2)]) == ["delete web-2"]);
    let both = [pod(0), pod_of("new", 1, unready), pod_of("new", 2, unready)];
    assert!(steps(&set, &both).is_empty(), "2 waits as 1 is unhealthy before it");
}

#[test]
fn scaling_down_waits_until_the_lower_ordinals_are_available() {
    assert!(steps(&web(1, |_| {}), &[pod_of("new", 0, unready), pod(1)]).is_empty());
}

#[test]
fn a_failed_pod_is_replaced() {
    let set = web(2, |_| {});
    assert_eq!(steps(&set, &[pod_of("new", 0, failed), pod(1)]), ["replace web-0"]);
}

#[test]
fn ordinals_may_start_elsewhere() {
    let set = web(2, |spec| spec.ordinals = Some(StatefulSetOrdinals { start: Some(5) }));
    assert_eq!(steps(&set, &[]), ["create 5 new"]);
    assert_eq!(steps(&set, &[pod(4), pod(5), pod(6)]), ["delete web-4"]);
}

#[test]
fn a_rolling_update_goes_from_the_highest_ordinal_down() {
    let set = web(3, rolling(0, None));
    let old = |ordinal| pod_of("old", ordinal, |_| {});
    assert_eq!(steps(&set, &[old(0), old(1), old(2)]), ["delete web-2"]);
    assert!(steps(&set, &[old(0), old(1), pod_of("old", 2, terminating)]).is_empty());
    assert_eq!(steps(&set, &[old(0), old(1)]), ["create 2 new"]);
    assert!(steps(&set, &[old(0), old(1), pod_of("new", 2, unready)]).is_empty());
    assert_eq!(steps(&set, &[old(0), old(1), pod(2)]), ["delete web-1"]);
}

#[test]
fn ordinals_below_the_partition_keep_the_old_revision() {
    let set = web(3, rolling(2, None));
    let old = |ordinal| pod_of("old", ordinal, |_| {});
    assert_eq!(steps(&set, &[old(0), old(1), old(2)]), ["delete web-2"]);
    assert!(steps(&set, &[old(0), old(1), pod(2)]).is_empty());
    assert_eq!(steps(&set, &[old(0), pod(2)]), ["create 1 old"]);
}

#[test]
fn several_may_be_updated_at_once_if_that_many_may_be_unavailable() {
    let set = web(4, rolling(0, Some(2)));
    let old = |ordinal| pod_of("old", ordinal, |_| {});
    assert_eq!(steps(&set, &[old(0), old(1), old(2), old(3)]), ["delete web-3", "delete web-2"]);
}

#[test]
fn any_unavailable_pod_counts_towards_max_unavailable_but_a_broken_old_one_may_go() {
    let set = web(4, |spec| {
        parallel(spec);
        rolling(0, Some(2))(spec);
    });
    let old = |ordinal| pod_of("old", ordinal, |_| {});
    let broken = |revision: &str, ordinal| pod_of(revision, ordinal, unready);
    assert_eq!(steps(&set, &[old(0), broken("new", 1), old(2), old(3)]), ["delete web-3"]);
    assert!(steps(&set, &[broken("new", 0), broken("new", 1), old(2), old(3)]).is_empty());
    assert_eq!(steps(&set, &[broken("old", 0), broken("new", 1), old(2), old(3)]), ["delete web-0"]);
}

#[test]
fn on_delete_leaves_old_pods_alone_but_creates_new_ones_with_the_new_revision() {
    let set = web(2, |spec| {
        let type_ = Some("OnDelete".into());
        spec.update_strategy = Some(StatefulSetUpdateStrategy { type_, rolling_update: None });
    });
    assert!(steps(&set, &[pod_of("old", 0, |_| {}), pod_of("old", 1, |_| {})]).is_empty());
    assert_eq!(steps(&set, &[pod_of("old", 0, |_| {})]), ["create 1 new"]);
}

#[test]
fn min_ready_seconds_hold_up_the_next_pod() {
    let set = web(2, |spec| spec.min_ready_seconds = Some(2000));
    assert!(steps(&set, &[pod(0)]).is_empty());
    let pods = [pod(0)];
    let now = Timestamp::from_second(1000).unwrap();
    let (status, next) =
        plan::observe(&Observed { set: &set, pods: &pods, current: "old", update: "new", now });
    assert_eq!((status.ready_replicas, status.available_replicas), (Some(1), Some(0)));
    assert_eq!(next, Some(std::time::Duration::from_secs(1000)));
}

#[test]
fn an_update_is_complete_when_all_pods_are_new_and_ready() {
    let set = web(2, rolling(0, None));
    let midway = status(&set, &[pod_of("old", 0, |_| {}), pod(1)]);
    assert_eq!(midway.current_revision.as_deref(), Some("old"));
    assert_eq!((midway.current_replicas, midway.updated_replicas), (Some(1), Some(1)));
    let done = status(&set, &[pod(0), pod(1)]);
    assert_eq!(done.current_revision.as_deref(), Some("new"));
    assert_eq!((done.current_replicas, done.updated_replicas), (Some(2), Some(2)));
}

#[test]
fn a_pod_has_a_stable_name_host_name_and_claim() {
    let set = web(1, |_| {});
    let pod = identity::pod(&set, &PodTemplateSpec::default(), "web-abc", 7);
    assert_eq!(pod.metadata.name.as_deref(), Some("web-7"));
    let labels = pod.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-7");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "7");
    assert_eq!(labels[REVISION_LABEL], "web-abc");
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("web-7"), Some("nginx")));
    let volume = &spec.volumes.as_ref().unwrap()[0];
    assert_eq!(volume.persistent_volume_claim.as_ref().unwrap().claim_name, "data-web-7");
    let claim = &identity::claims(&set, 7)[0];
    assert_eq!(claim.metadata.name.as_deref(), Some("data-web-7"));
    assert_eq!(claim.metadata.labels.as_ref().unwrap()["app"], "web");
    assert_eq!(claim.metadata.owner_references, None);
}

#[test]
fn names_that_only_look_alike_are_not_ordinals() {
    let set = web(1, |_| {});
    for (name, expected) in
        [("web-3", Some(3)), ("web-03", None), ("web-x", None), ("other-3", None), ("web-0", Some(0))]
    {
        assert_eq!(ordinal(&set, &running(name)), expected, "{name}");
    }
}

#[test]
fn the_retention_policy_decides_who_owns_a_claim() {
    for (deleted, scaled, condemned, expected) in [
        ("Retain", "Retain", false, None),
        ("Retain", "Retain", true, None),
        ("Delete", "Retain", false, Some("set")),
        ("Delete", "Retain", true, Some("set")),
        ("Retain", "Delete", false, None),
        ("Retain", "Delete", true, Some("uid-web-0")),
        ("Delete", "Delete", false, Some("set")),
        ("Delete", "Delete", true, Some("uid-web-0")),
    ] {
        let set = web(1, |spec| {
            spec.persistent_volume_claim_retention_policy =
                Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(deleted.into()),
                    when_scaled: Some(scaled.into()),
                });
        });
        for start in [web(1, |_| {}), set.clone()] {
            let claim = identity::claims(&start, 0).remove(0);
            let updated = identity::with_owner(&set, &pod(0), condemned, &claim);
            let owner = updated.metadata.owner_references.as_ref().map(|owners| owners[0].uid.as_str());
            assert_eq!(owner, expected, "{deleted}/{scaled}/{condemned}");
            assert_eq!(identity::with_owner(&set, &pod(0), condemned, &updated), updated);
        }
    }
}

#[test]
fn a_set_that_is_being_deleted_does_nothing() {
    let mut set = web(3, |_| {});
    set.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert!(steps(&set, &[]).is_empty());
}
