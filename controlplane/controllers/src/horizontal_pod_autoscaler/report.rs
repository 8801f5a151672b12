//! What users are told of an autoscaler: status, conditions and events.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus,
};

use super::behavior::Verdict;
use crate::clock::time;
use crate::events::Note;
use crate::queue::Key;

/// Whoever scales to nothing by hand switches the autoscaler off.
pub(super) const DISABLED: &str = "scaling is disabled since the replica count of the target is zero";

/// Why a target's selector cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// The scale tells none.
    #[error("selector is required")]
    Missing,
    /// It is no selector.
    #[error("couldn't convert selector into a corresponding internal selector object: {0}")]
    Malformed(String),
    /// Several autoscalers would scale the same pods.
    #[error("pods by selector {selector} are controlled by multiple HPAs: [{}]", listed(.rivals))]
    Ambiguous {
        /// The selector.
        selector: String,
        /// The autoscalers.
        rivals: Vec<Key>,
    },
}

fn listed(keys: &[Key]) -> String {
    keys.iter().map(|key| format!("{{{} {}}}", key.name, key.namespace)).collect::<Vec<_>>().join(" ")
}

/// The status to write, and the events to send.
pub(super) struct Report {
    pub status: HorizontalPodAutoscalerStatus,
    pub notes: Vec<Note>,
    now: Timestamp,
}

impl Report {
    /// Goes on from what was reported last.
    pub fn new(autoscaler: &HorizontalPodAutoscaler, now: Timestamp) -> Self {
        Self { status: autoscaler.status.clone().unwrap_or_default(), notes: Vec::new(), now }
    }

    fn condition(&mut self, type_: &str, holds: bool, reason: &str, message: &str) {
        let status = if holds { "True" } else { "False" };
        let conditions = self.status.conditions.get_or_insert_default();
        let index = conditions.iter().position(|one| one.type_ == type_).unwrap_or_else(|| {
            conditions
                .push(HorizontalPodAutoscalerCondition { type_: type_.to_owned(), ..Default::default() });
            conditions.len() - 1
        });
        let Some(condition) = conditions.get_mut(index) else { return };
        if condition.status != status {
            condition.last_transition_time = Some(time(self.now));
        }
        status.clone_into(&mut condition.status);
        condition.reason = Some(reason.to_owned());
        condition.message = Some(message.to_owned());
    }

    /// Whether the target can be scaled.
    pub fn able(&mut self, holds: bool, reason: &str, message: &str) {
        self.condition("AbleToScale", holds, reason, message);
    }

    /// Whether the metrics say how.
    pub fn active(&mut self, holds: bool, reason: &str, message: &str) {
        self.condition("ScalingActive", holds, reason, message);
    }

    /// The target cannot be read.
    pub fn no_scale(&mut self, why: &str) {
        self.notes.push(Note::warning("FailedGetScale", why));
        let message = format!("the HPA controller was unable to get the target's current scale: {why}");
        self.able(false, "FailedGetScale", &message);
    }

    /// A metric says nothing.
    pub fn no_metric(&mut self, reason: &'static str, why: &str) {
        self.notes.push(Note::warning(reason, why));
    }

    /// No metric says anything that can be followed.
    pub fn no_metrics(&mut self, why: &str) {
        self.notes.push(Note::warning("FailedComputeMetricsReplicas", why));
    }

    /// The target's pods cannot be told.
    pub fn unusable_selector(&mut self, unusable: &Unusable) {
        let message = unusable.to_string();
        let (event, reason) = match unusable {
            Unusable::Missing => ("SelectorRequired", "InvalidSelector"),
            Unusable::Malformed(_) => ("InvalidSelector", "InvalidSelector"),
            Unusable::Ambiguous { .. } => ("AmbiguousSelector", "AmbiguousSelector"),
        };
        self.notes.push(Note::warning(event, message.clone()));
        let shown = match unusable {
            Unusable::Missing => "the HPA target's scale is missing a selector",
            _ => &message,
        };
        self.active(false, reason, shown);
        self.no_metrics(&message);
    }

    /// The wish was judged.
    pub fn judged(&mut self, verdict: &Verdict) {
        self.able(true, verdict.able.0, verdict.able.1);
        let (limited, reason, message) = verdict.limited;
        self.condition("ScalingLimited", limited, reason, message);
    }

    /// The scale was written.
    pub fn resized(&mut self, replicas: i32, reason: &str) {
        let message = format!("the HPA controller was able to update the target scale to {replicas}");
        self.able(true, "SucceededRescale", &message);
        let message = format!("New size: {replicas}; reason: {reason}");
        self.notes.push(Note::normal("SuccessfulRescale", message));
    }

    /// The scale could not be written.
    pub fn not_resized(&mut self, replicas: i32, reason: &str, why: &str) {
        let message = format!("New size: {replicas}; reason: {reason}; error: {why}");
        self.notes.push(Note::warning("FailedRescale", message));
        let message = format!("the HPA controller was unable to update the target scale: {why}");
        self.able(false, "FailedUpdateScale", &message);
    }

    /// How many replicas there were, and are wanted.
    pub fn counted(&mut self, current: i32, desired: i32, resized: bool) {
        self.status.current_replicas = Some(current);
        self.status.desired_replicas = desired;
        if resized {
            self.status.last_scale_time = Some(time(self.now));
        }
    }
}

/// Why the number of replicas changes.
pub(super) fn reason(desired: i32, current: i32, metric: &str) -> String {
    if desired < current { "All metrics below target".to_owned() } else { format!("{metric} above target") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let mut report = Report::new(&HorizontalPodAutoscaler::default(), at(1));
        report.able(true, "SucceededGetScale", "x");
        report.now = at(2);
        report.able(true, "ReadyForNewScale", "y");
        let condition = report.status.conditions.clone().unwrap().remove(0);
        assert_eq!(condition.last_transition_time, Some(time(at(1))));
        assert_eq!(condition.reason.as_deref(), Some("ReadyForNewScale"));
        report.able(false, "FailedGetScale", "z");
        let conditions = report.status.conditions.unwrap();
        assert_eq!((conditions.len(), &conditions[0].last_transition_time), (1, &Some(time(at(2)))));
    }

    #[test]
    fn rival_autoscalers_are_named() {
        let rivals = vec![Key::new("shop", "a"), Key::new("shop", "b")];
        let mut report = Report::new(&HorizontalPodAutoscaler::default(), at(1));
        report.unusable_selector(&Unusable::Ambiguous { selector: "app=web".to_owned(), rivals });
        assert_eq!(
            report.notes[0],
            Note::warning(
                "AmbiguousSelector",
                "pods by selector app=web are controlled by multiple HPAs: [{a shop} {b shop}]"
            )
        );
        assert_eq!(report.notes[1].reason, "FailedComputeMetricsReplicas");
    }
}
