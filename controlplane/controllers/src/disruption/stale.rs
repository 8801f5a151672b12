//! Pods that were to be disrupted and were not: their `DisruptionTarget` condition turns false.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::api::Error;
use crate::clock::{Clock, remaining, time};
use crate::informers::Informer;
use crate::pods;
use crate::queue::{Key, Queue};

/// After this many seconds an announced disruption that did not happen is taken back.
const PATIENCE_SECONDS: i64 = 120;
const CONDITION: &str = "DisruptionTarget";

/// How long until the pod's announced disruption is stale; `None` if none is announced.
fn stale_in(pod: &Pod, now: Timestamp) -> Option<Duration> {
    if !pods::is_active(pod) {
        return None;
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let announced = conditions.iter().find(|one| one.type_ == CONDITION && one.status == "True")?;
    // A kubelet that shuts down may take its time.
    if announced.reason.as_deref() == Some("TerminationByKubelet") {
        return None;
    }
    let since = announced.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0);
    Some(remaining(since, PATIENCE_SECONDS, now).unwrap_or_default())
}

/// The pod without the announcement.
fn plan(pod: &Pod, now: Timestamp) -> Pod {
    let mut calm = pod.clone();
    let conditions = calm.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten());
    for condition in conditions.filter(|one| one.type_ == CONDITION) {
        "False".clone_into(&mut condition.status);
        condition.reason = None;
        condition.message = None;
        condition.last_transition_time = Some(time(now));
    }
    calm
}

/// Queues pods for the time when their announced disruption is stale.
pub(super) fn subscribe(pods: &Informer<Pod>, clock: &Clock, queue: &Queue<Key>) {
    let (clock, queue) = (clock.clone(), queue.clone());
    pods.subscribe(move |change| {
        if let Some(pod) = &change.new
            && let Some(wait) = stale_in(pod, clock.now())
        {
            queue.add_after(Key::of(&**pod), wait);
        }
    });
}

/// Takes back a stale announcement.
pub(super) async fn reset(
    pods: &Informer<Pod>,
    clock: &Clock,
    queue: &Queue<Key>,
    key: Key,
) -> Result<(), Error> {
    let Some(pod) = pods.get(&key.namespace, &key.name) else { return Ok(()) };
    let now = clock.now();
    match stale_in(&pod, now) {
        None => Ok(()),
        Some(Duration::ZERO) => match pods.update_status(&pod, &plan(&pod, now)).await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome,
        },
        Some(wait) => {
            queue.add_after(key, wait);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodCondition;

    use super::*;
    use crate::pods::tests::running;

    fn announced(reason: &str) -> Pod {
        let mut pod = running("a");
        pod.status.as_mut().unwrap().conditions.as_mut().unwrap().push(PodCondition {
            type_: CONDITION.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            last_transition_time: Some(time(Timestamp::UNIX_EPOCH)),
            ..PodCondition::default()
        });
        pod
    }

    #[test]
    fn an_announced_disruption_is_stale_after_two_minutes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let pod = announced("EvictionByEvictionAPI");
        assert_eq!(stale_in(&pod, at(30)), Some(Duration::from_secs(90)));
        assert_eq!(stale_in(&pod, at(300)), Some(Duration::ZERO));
        assert_eq!(stale_in(&plan(&pod, at(300)), at(300)), None);
        assert!(pods::is_ready(&plan(&pod, at(300))), "other conditions stay");
    }

    #[test]
    fn pods_that_end_or_are_shut_down_by_their_node_are_left_alone() {
        let now = Timestamp::from_second(300).unwrap();
        assert_eq!(stale_in(&announced("TerminationByKubelet"), now), None);
        let mut ended = announced("EvictionByEvictionAPI");
        ended.status.as_mut().unwrap().phase = Some("Failed".into());
        assert_eq!(stale_in(&ended, now), None);
        assert_eq!(stale_in(&running("a"), now), None);
    }
}
