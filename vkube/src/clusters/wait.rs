//! Waiting for a cluster to come to a state, with what it is doing on the terminal.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, ResourceExt, runtime::WatchStreamExt, runtime::watcher::watch_object};
use vkube_crds::VirtualCluster;

use super::Failure;
use crate::progress::Progress;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// It answers.
    Ready,
    /// It answers, though it slept.
    Awake,
    /// It answers, with certificates that it did not have.
    Reissued,
    /// Nothing of it runs.
    Asleep,
    /// The operator leaves it alone.
    Paused,
    /// The operator looks after it.
    Resumed,
    /// Nothing is left of it.
    Gone,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// There.
    Reached,
    /// It does not get there by itself.
    Stuck(String),
    /// On the way; what it waits for.
    Underway(String),
}

/// Waits until the cluster of this UID has reached the goal.
pub async fn until(
    clusters: Api<VirtualCluster>,
    cluster: &VirtualCluster,
    goal: Goal,
    patience: Duration,
) -> Result<Option<VirtualCluster>, Failure> {
    let (name, uid) = (cluster.name_any(), cluster.uid());
    let mut progress = Progress::new();
    progress.begin(match goal {
        Goal::Ready => format!("VirtualCluster {name} is ready"),
        Goal::Awake => format!("VirtualCluster {name} is awake"),
        Goal::Reissued => format!("VirtualCluster {name} has new certificates"),
        Goal::Asleep => format!("VirtualCluster {name} is asleep"),
        Goal::Paused => format!("VirtualCluster {name} is paused"),
        Goal::Resumed => format!("VirtualCluster {name} is looked after"),
        Goal::Gone => format!("VirtualCluster {name} is deleted"),
    });
    let mut last = String::new();
    let deadline = tokio::time::Instant::now() + patience;
    let mut events = watch_object(clusters, &name).default_backoff().boxed();
    loop {
        let next = tokio::time::timeout_at(deadline, events.try_next()).await;
        let found = match next {
            Ok(Ok(Some(found))) => found,
            Ok(Ok(None)) => return Err("the watch ended".into()),
            // The next attempt may fare better, until patience ends.
            Ok(Err(error)) => {
                progress.note(&error.to_string());
                continue;
            }
            Err(_) => {
                progress.abandon();
                return Err(format!("VirtualCluster {name:?} took more than {patience:?}: {last}").into());
            }
        };
        let found = found.filter(|found| found.uid() == uid);
        match since(cluster, found.as_ref(), goal) {
            Standing::Reached => {
                progress.finish();
                return Ok(found);
            }
            Standing::Stuck(why) => {
                progress.abandon();
                return Err(format!("VirtualCluster {name:?} {why}").into());
            }
            Standing::Underway(what) => {
                progress.note(&what);
                last = what;
            }
        }
    }
}

/// Where it stands, given what it was when the wait began.
fn since(before: &VirtualCluster, cluster: Option<&VirtualCluster>, goal: Goal) -> Standing {
    let certificates = |cluster: &VirtualCluster| {
        cluster.status.as_ref().map(|status| status.certificates.clone()).unwrap_or_default()
    };
    match (goal, standing(cluster, goal)) {
        (Goal::Reissued, Standing::Reached) if cluster.map(certificates) == Some(certificates(before)) => {
            Standing::Underway("waiting for the operator".into())
        }
        (_, standing) => standing,
    }
}

fn standing(cluster: Option<&VirtualCluster>, goal: Goal) -> Standing {
    let Some(cluster) = cluster else {
        return if goal == Goal::Gone { Standing::Reached } else { Standing::Stuck("is gone".into()) };
    };
    let current = |type_: &str| {
        let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
        conditions
            .into_iter()
            .find(|condition| condition.type_ == type_)
            .filter(|condition| condition.observed_generation == cluster.metadata.generation)
    };
    let is = |type_: &str| current(type_).filter(|condition| condition.status == "True");
    if let Some(deleting) = is("Deleting").filter(|_| goal == Goal::Gone) {
        return Standing::Underway(deleting.message.clone());
    }
    if cluster.metadata.deletion_timestamp.is_some() && goal != Goal::Gone {
        return Standing::Stuck("is being deleted".into());
    }
    let reached = match goal {
        Goal::Ready | Goal::Awake | Goal::Reissued => is("Ready").is_some(),
        Goal::Asleep => {
            current("Ready").is_some_and(|ready| ready.reason == "Sleeping") && is("Reconciling").is_none()
        }
        Goal::Paused => is("Paused").is_some(),
        Goal::Resumed => {
            is("Paused").is_none() && current("Ready").is_some_and(|ready| ready.reason != "Paused")
        }
        Goal::Gone => false,
    };
    if reached {
        return Standing::Reached;
    }
    if matches!(goal, Goal::Ready | Goal::Awake | Goal::Reissued) {
        if is("Paused").is_some() {
            return Standing::Stuck("is paused; `vkube resume` lets it go on".into());
        }
        if let Some(sleeping) =
            current("Ready").filter(|ready| goal != Goal::Awake && ready.reason == "Sleeping")
        {
            return Standing::Stuck(format!("sleeps: {}", sleeping.message));
        }
    }
    if let Some(stalled) = is("Stalled").filter(|_| goal != Goal::Gone) {
        return Standing::Stuck(format!("needs an edit: {}: {}", stalled.reason, stalled.message));
    }
    Standing::Underway(current("Ready").map_or_else(|| "waiting for the operator".into(), said))
}

fn said(condition: &Condition) -> String {
    format!("{}: {}", condition.reason, condition.message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mk(generation: i64, conditions: &Value) -> VirtualCluster {
        let mut conditions = conditions.clone();
        for condition in conditions.as_array_mut().unwrap() {
            condition["observedGeneration"] = json!(1);
            condition["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(json!({
            "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": {"name": "demo", "generation": generation}, "spec": {},
            "status": {"conditions": conditions, "replicas": 1, "readyReplicas": 1},
        }))
        .unwrap()
    }

    fn ready(status: &str, reason: &str) -> Value {
        json!({"type": "Ready", "status": status, "reason": reason, "message": "m"})
    }

    #[test]
    fn readiness_of_an_earlier_generation_does_not_count() {
        let conditions = json!([ready("True", "Running")]);
        assert_eq!(standing(Some(&mk(1, &conditions)), Goal::Ready), Standing::Reached);
        assert!(matches!(standing(Some(&mk(2, &conditions)), Goal::Ready), Standing::Underway(_)));
    }

    #[test]
    fn a_cluster_that_needs_an_edit_is_not_waited_for() {
        let stalled = json!([ready("False", "InvalidSpec"),
            {"type": "Stalled", "status": "True", "reason": "InvalidSpec", "message": "why"}]);
        let Standing::Stuck(why) = standing(Some(&mk(1, &stalled)), Goal::Ready) else { panic!("waits") };
        assert!(why.contains("InvalidSpec: why"), "{why}");
        assert!(matches!(standing(Some(&mk(1, &stalled)), Goal::Gone), Standing::Underway(_)));
    }

    #[test]
    fn a_cluster_sleeps_once_nothing_is_left_to_do() {
        let asleep = ready("False", "Sleeping");
        let working =
            json!({"type": "Reconciling", "status": "True", "reason": "Progressing", "message": "pods end"});
        let under_way = json!([asleep.clone(), working]);
        assert!(matches!(standing(Some(&mk(1, &under_way)), Goal::Asleep), Standing::Underway(_)));
        assert_eq!(standing(Some(&mk(1, &json!([asleep.clone()]))), Goal::Asleep), Standing::Reached);
        // One that was woken a moment ago still says so.
        assert!(matches!(standing(Some(&mk(1, &json!([asleep]))), Goal::Awake), Standing::Underway(_)));
    }

    #[test]
    fn certificates_are_reissued_once_they_are_others() {
        let with = |end: &str| {
            let mut cluster = mk(1, &json!([ready("True", "Running")]));
            let certificates = json!([{"name": "serving", "notAfter": end}]);
            cluster.status.as_mut().unwrap().certificates = serde_json::from_value(certificates).unwrap();
            cluster
        };
        let (old, new) = (with("2026-01-01T00:00:00Z"), with("2027-01-01T00:00:00Z"));
        assert!(matches!(since(&old, Some(&old), Goal::Reissued), Standing::Underway(_)));
        assert_eq!(since(&old, Some(&new), Goal::Reissued), Standing::Reached);
    }

    #[test]
    fn what_is_gone_is_deleted_and_never_ready() {
        assert_eq!(standing(None, Goal::Gone), Standing::Reached);
        assert_eq!(standing(None, Goal::Ready), Standing::Stuck("is gone".into()));
    }
}
