use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::pods::tests::running;

const CPU: Utilization<'static> = Utilization { resource: "cpu", container: None, target: 50 };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(name: &str, cpu: &str) -> Pod {
    let mut pod = running(name);
    let container = json!({"name": "main", "resources": {"requests": {"cpu": cpu}}});
    pod.spec.as_mut().unwrap().containers = vec![serde_json::from_value(container).unwrap()];
    pod.status.as_mut().unwrap().start_time = Some(Time(at(0)));
    pod
}

fn pods(count: usize) -> Vec<Arc<Pod>> {
    (0..count).map(|n| Arc::new(pod(&format!("p{n}"), "1"))).collect()
}

fn samples(values: &[i64]) -> Samples {
    let sample = |value: &i64| Sample { value: *value, at: at(10_000), window: 30 };
    values.iter().enumerate().map(|(n, value)| (format!("p{n}"), sample(value))).collect()
}

fn workload(pods: &[Arc<Pod>]) -> Workload<'_> {
    let replicas = i32::try_from(pods.len()).unwrap();
    Workload { replicas, pods, tolerances: Tolerances::default(), now: at(10_000) }
}

#[test]
fn replicas_grow_with_the_ratio_of_used_to_wanted() {
    let pods = pods(3);
    for (usage, expected) in [
        ([500, 500, 500], 3),
        ([540, 540, 540], 3), // within the tolerance of a tenth
        ([900, 900, 900], 6),
        ([100, 100, 100], 1),
    ] {
        let proposal = by_utilization(&workload(&pods), samples(&usage), CPU).unwrap();
        assert_eq!(proposal.replicas, expected, "{usage:?}");
    }
    let proposal = by_utilization(&workload(&pods), samples(&[300, 600, 900]), CPU).unwrap();
    assert_eq!((proposal.utilization, proposal.usage), (Some(60), 600));
}

#[test]
fn missing_pods_dampen_a_change_in_either_direction() {
    let pods = pods(4);
    let growing = by_utilization(&workload(&pods), samples(&[1000, 1000]), CPU).unwrap();
    assert_eq!(growing.replicas, 4, "missing pods count as idle");
    let shrinking = by_utilization(&workload(&pods), samples(&[100, 100, 100]), CPU).unwrap();
    assert_eq!(shrinking.replicas, 3, "a missing pod counts as busy");
    let barely = by_utilization(&workload(&pods), samples(&[400, 400, 400]), CPU).unwrap();
    assert_eq!(barely.replicas, 4, "a busy pod would turn the direction");
}

#[test]
fn unready_pods_do_not_let_a_workload_grow_further() {
    let mut all = pods(4);
    for pod in &mut all[2..] {
        Arc::make_mut(pod).status.as_mut().unwrap().phase = Some("Pending".into());
    }
    let proposal = by_utilization(&workload(&all), samples(&[900, 900]), CPU).unwrap();
    assert_eq!((proposal.replicas, proposal.utilization), (4, Some(90)));
}

#[test]
fn cpu_of_pods_that_just_started_is_not_taken_for_granted() {
    let mut young = pod("p0", "1");
    young.status.as_mut().unwrap().start_time = Some(Time(at(9_900)));
    let ready = |at: i64, status: &str| {
        let mut pod = young.clone();
        let condition = &mut pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0];
        condition.status = status.to_owned();
        condition.last_transition_time = Some(Time(Timestamp::from_second(at).unwrap()));
        pod
    };
    let sample = Sample { value: 1, at: at(9_950), window: 30 };
    let now = at(10_000);
    assert!(is_warming_up(&ready(9_940, "True"), &sample, now), "no full window since it is ready");
    assert!(!is_warming_up(&ready(9_910, "True"), &sample, now));
    assert!(is_warming_up(&ready(9_910, "False"), &sample, now));

    let mut old = ready(10, "False");
    old.status.as_mut().unwrap().start_time = Some(Time(at(0)));
    assert!(is_warming_up(&old, &sample, now), "it was never ready");
    let mut broken = ready(5_000, "False");
    broken.status.as_mut().unwrap().start_time = Some(Time(at(0)));
    assert!(!is_warming_up(&broken, &sample, now), "it was ready before");
}

#[test]
fn a_share_of_requests_needs_requests() {
    let mut all = pods(1);
    Arc::make_mut(&mut all[0]).spec.as_mut().unwrap().containers[0].resources = None;
    let error = by_utilization(&workload(&all), samples(&[1]), CPU).unwrap_err();
    assert_eq!(error.to_string(), "missing request for cpu in container main of Pod p0");
    let other = Utilization { container: Some("other"), ..CPU };
    let error = by_utilization(&workload(&pods(1)), samples(&[1]), other).unwrap_err();
    assert_eq!(error.to_string(), "container other not found in Pod p0");
    assert_eq!(by_utilization(&workload(&[]), samples(&[]), CPU), Err(Error::NoPods));
    assert_eq!(by_utilization(&workload(&pods(1)), samples(&[]), CPU), Err(Error::NoSamples));
}

#[test]
fn resources_of_the_whole_pod_count_before_those_of_containers() {
    let mut one = pod("p0", "1");
    let whole = serde_json::from_value(json!({"requests": {"cpu": "2"}})).unwrap();
    one.spec.as_mut().unwrap().resources = Some(whole);
    let all = [Arc::new(one)];
    assert_eq!(by_utilization(&workload(&all), samples(&[1000]), CPU).unwrap().utilization, Some(50));
}

#[test]
fn an_average_value_is_divided_among_the_pods() {
    let pods = pods(2);
    let proposal = by_average(&workload(&pods), samples(&[30_000, 50_000]), 20_000, false).unwrap();
    assert_eq!((proposal.replicas, proposal.usage, proposal.utilization), (4, 40_000, None));
    let proposal = by_average(&workload(&pods), samples(&[60_000]), 20_000, false).unwrap();
    assert_eq!(proposal.replicas, 3, "the pod without the metric counts as idle");
}

#[test]
fn a_value_of_something_else_scales_the_ready_pods() {
    let all = pods(3);
    assert_eq!(by_value(&workload(&all), 20_000, 10_000).unwrap().replicas, 6);
    assert_eq!(by_value(&workload(&all), 10_500, 10_000).unwrap().replicas, 3);
    let none = Workload { replicas: 0, ..workload(&[]) };
    assert_eq!(by_value(&none, 15_000, 10_000).unwrap().replicas, 2, "also from nothing");
}

#[test]
fn a_value_per_replica_is_divided_by_what_exists() {
    let tolerances = Tolerances::default();
    let proposal = by_value_per_replica(tolerances, 4, 50_000, 10_000);
    assert_eq!((proposal.replicas, proposal.usage), (5, 12_500));
    assert_eq!(by_value_per_replica(tolerances, 4, 41_000, 10_000).replicas, 4);
}
