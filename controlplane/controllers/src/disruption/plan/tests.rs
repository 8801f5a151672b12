use serde_json::{Value, json};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::*;
use crate::pods::tests::running;

fn budget(spec: Value) -> PodDisruptionBudget {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    serde_json::from_value(json!({"metadata": {"name": "web", "generation": 3}, "spec": spec})).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pods(count: usize) -> Vec<Arc<Pod>> {
    (0..count).map(|n| Arc::new(running(&format!("web-{n}")))).collect()
}

fn figures(planned: &Planned) -> [i32; 4] {
    let status = planned.budget.status.as_ref().unwrap();
    [status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed]
        .map(Option::unwrap)
}

fn planned(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], scale: i32, now: Timestamp) -> Planned {
    let expected = expected(budget, pods.len(), std::iter::once(scale), false);
    plan(&Observed { budget, pods, expected, now })
}

#[test]
fn budgets_are_numbers_or_shares_of_what_the_controllers_ask_for() {
    for (spec, expected) in [
        (json!({"minAvailable": 2}), [3, 2, 3, 1]),
        (json!({"minAvailable": "50%"}), [5, 3, 3, 0]),
        (json!({"maxUnavailable": 1}), [5, 4, 3, 0]),
        (json!({"maxUnavailable": "50%"}), [5, 2, 3, 1]),
        (json!({"maxUnavailable": 9}), [5, 0, 3, 3]),
    ] {
        let planned = planned(&budget(spec.clone()), &pods(3), 5, at(0));
        assert_eq!(figures(&planned), expected, "{spec}");
    }
}

#[test]
fn a_budget_without_pods_allows_nothing() {
    let planned = planned(&budget(json!({"minAvailable": 0})), &[], 0, at(0));
    assert_eq!(figures(&planned), [0, 0, 0, 0]);
}

#[test]
fn pods_that_go_or_are_not_ready_are_not_healthy() {
    let mut all = pods(4);
    Arc::make_mut(&mut all[0]).metadata.deletion_timestamp = Some(time(at(0)));
    Arc::make_mut(&mut all[1]).status.as_mut().unwrap().conditions = None;
    assert_eq!(figures(&planned(&budget(json!({"minAvailable": 1})), &all, 4, at(0))), [4, 1, 2, 1]);
}

#[test]
fn an_evicted_pod_counts_as_gone_until_it_is_overdue() {
    let mut evicting = budget(json!({"minAvailable": 1}));
    evicting.status = Some(PodDisruptionBudgetStatus {
        disrupted_pods: Some(
            [("web-0".to_owned(), time(at(100))), ("gone".to_owned(), time(at(100)))].into(),
        ),
        ..PodDisruptionBudgetStatus::default()
    });
    let soon = planned(&evicting, &pods(3), 3, at(110));
    assert_eq!(figures(&soon), [3, 1, 2, 1]);
    assert_eq!(soon.recheck_after, Some(Duration::from_secs(110)));
    let kept = soon.budget.status.unwrap().disrupted_pods.unwrap();
    assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["web-0"]);

    let late = planned(&evicting, &pods(3), 3, at(221));
    assert_eq!(figures(&late), [3, 1, 3, 2]);
    assert_eq!((late.overdue.len(), late.recheck_after), (1, None));
    assert_eq!(late.budget.status.unwrap().disrupted_pods, None);
}

#[test]
fn the_condition_says_since_when_and_for_which_generation() {
    let first = planned(&budget(json!({"minAvailable": 1})), &pods(2), 2, at(10)).budget;
    let condition =
        |budget: &PodDisruptionBudget| budget.status.clone().unwrap().conditions.unwrap().remove(0);
    let told = condition(&first);
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "SufficientPods"));
    assert_eq!(told.observed_generation, Some(3));

    let same = planned(&first, &pods(3), 3, at(20)).budget;
    assert_eq!(condition(&same).last_transition_time, time(at(10)));
    let fewer = planned(&same, &pods(1), 1, at(30)).budget;
    let told = condition(&fewer);
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("False", "InsufficientPods"));
    assert_eq!(told.last_transition_time, time(at(30)));
    assert_eq!(planned(&fewer, &pods(1), 1, at(40)).budget, fewer, "nothing new is no change");
}

#[test]
fn what_cannot_be_calculated_allows_no_disruption() {
    let before = planned(&budget(json!({"minAvailable": 1})), &pods(2), 2, at(10)).budget;
    let after = fail_safe(&before, "jobs.batch does not implement the scale subresource", at(20)).budget;
    let status = after.status.unwrap();
    assert_eq!((status.disruptions_allowed, status.current_healthy), (Some(0), Some(2)));
    let condition = &status.conditions.unwrap()[0];
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "SyncFailed"));
    assert_eq!(condition.message, "jobs.batch does not implement the scale subresource");
}

#[test]
fn an_empty_selector_covers_all_pods_and_none_covers_none() {
    let mut all = budget(json!({}));
    all.spec.as_mut().unwrap().selector = Some(LabelSelector::default());
    assert!(covers(&all, &running("a")));
    all.spec.as_mut().unwrap().selector = None;
    assert!(!covers(&all, &running("a")));
}

#[test]
fn selectors_are_shown_as_upstream_shows_them() {
    assert!(unmanaged(&budget(json!({}))).contains(
        "(selector: &LabelSelector{MatchLabels:map[string]string{app: web,},\
         MatchExpressions:[]LabelSelectorRequirement{},})"
    ));
}
