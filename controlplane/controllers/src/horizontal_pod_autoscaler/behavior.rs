//! How fast a wish for more or fewer replicas is followed: stabilisation windows and scaling policies.
//!
//! Source:
//! <https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#configurable-scaling-behavior>.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};
use vkube_usage::quantity::Quantity;

use super::replicas::Tolerances;

/// For this long, a lower recommendation waits for a higher one unless the autoscaler says otherwise.
const DOWNSCALE_WINDOW_SECONDS: i32 = 300;

/// How a policy limits a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Pods(i32),
    Percent(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    step: Step,
    period_seconds: i32,
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Select {
    /// The one that allows most.
    Max,
    /// The one that allows least.
    Min,
    /// None: there is no scaling in this direction.
    Disabled,
}

/// The rules for one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rules {
    window_seconds: i32,
    select: Select,
    policies: Vec<Policy>,
}

impl Rules {
    fn read(rules: Option<&HPAScalingRules>, default: Self) -> Self {
        let Some(rules) = rules else { return default };
        let policy = |one: &k8s_openapi::api::autoscaling::v2::HPAScalingPolicy| Policy {
            step: if one.type_ == "Pods" { Step::Pods(one.value) } else { Step::Percent(one.value) },
            period_seconds: one.period_seconds,
        };
        Self {
            window_seconds: rules.stabilization_window_seconds.unwrap_or(default.window_seconds),
            select: match rules.select_policy.as_deref() {
                Some("Min") => Select::Min,
                Some("Disabled") => Select::Disabled,
                _ => Select::Max,
            },
            policies: rules
                .policies
                .as_ref()
                .map_or(default.policies, |policies| policies.iter().map(policy).collect()),
        }
    }

    fn longest_period(&self) -> i32 {
        self.policies.iter().map(|policy| policy.period_seconds).max().unwrap_or(0)
    }
}

/// The rules of an autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Behavior {
    /// It has none: it grows to at most the double at once, and shrinks only after the default window.
    Default,
    /// Its own.
    Configured {
        /// How it grows.
        up: Box<Up>,
        /// How it shrinks.
        down: Box<Down>,
    },
}

/// Rules for growing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Up(Rules);

/// Rules for shrinking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Down(Rules);

impl Behavior {
    /// Reads the rules; what is left open is as Kubernetes documents it.
    pub fn read(behavior: Option<&HorizontalPodAutoscalerBehavior>) -> Self {
        let Some(behavior) = behavior else { return Self::Default };
        let percent = Policy { step: Step::Percent(100), period_seconds: 15 };
        let four = Policy { step: Step::Pods(4), period_seconds: 15 };
        let up = Rules { window_seconds: 0, select: Select::Max, policies: vec![four, percent] };
        let down =
            Rules { window_seconds: DOWNSCALE_WINDOW_SECONDS, select: Select::Max, policies: vec![percent] };
        Self::Configured {
            up: Box::new(Up(Rules::read(behavior.scale_up.as_ref(), up))),
            down: Box::new(Down(Rules::read(behavior.scale_down.as_ref(), down))),
        }
    }
}

/// The tolerances of an autoscaler.
pub(super) fn tolerances(behavior: Option<&HorizontalPodAutoscalerBehavior>) -> Tolerances {
    let read =
        |rules: Option<&HPAScalingRules>| Some(Quantity::parse(&rules?.tolerance.as_ref()?.0).ok()?.to_f64());
    let default = Tolerances::default();
    let Some(behavior) = behavior else { return default };
    Tolerances {
        down: read(behavior.scale_down.as_ref()).unwrap_or(default.down),
        up: read(behavior.scale_up.as_ref()).unwrap_or(default.up),
    }
}

/// A number and when it was true.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Dated {
    number: i32,
    at: Timestamp,
}

/// What an autoscaler wished and did lately.
///
/// It is not kept in the API, so a restart forgets it, as upstream's does: the first wish after a restart is
/// the present number of replicas, so nothing shrinks before a full window has passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    recommendations: Vec<Dated>,
    grown: Vec<Dated>,
    shrunk: Vec<Dated>,
}

/// How many replicas are allowed to be wished for, and why not others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub replicas: i32,
    /// Reason and message of the `AbleToScale` condition.
    pub able: (&'static str, &'static str),
    /// Whether the wish is limited, with reason and message of the `ScalingLimited` condition.
    pub limited: (bool, &'static str, &'static str),
}

/// The bounds of a wish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub current: i32,
    pub min: i32,
    pub max: i32,
}

const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const UP_STABILIZED: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const DOWN_STABILIZED: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const WITHIN: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_MANY: (&str, &str) =
    ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: (&str, &str) =
    ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_FAST_UP: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const TOO_FAST_DOWN: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

fn since(now: Timestamp, seconds: i32) -> Timestamp {
    let earlier = now.as_millisecond() - i64::from(seconds) * 1000;
    Timestamp::from_millisecond(earlier).unwrap_or(Timestamp::MIN)
}

impl Memory {
    /// Remembers how many replicas there were at first.
    pub fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push(Dated { number: current, at: now });
        }
    }

    /// What becomes of the wish for `desired` replicas.
    pub fn judge(&mut self, behavior: &Behavior, bounds: Bounds, desired: i32, now: Timestamp) -> Verdict {
        let (stabilized, note) = match behavior {
            Behavior::Default => self.stabilize_down(desired, now),
            Behavior::Configured { up, down } => self.stabilize(&up.0, &down.0, bounds, desired, now),
        };
        let able = if stabilized == desired { READY } else { note };
        let (replicas, (reason, message)) = match behavior {
            Behavior::Default => limit_by_default(bounds, stabilized),
            Behavior::Configured { up, down } => self.limit(&up.0, &down.0, bounds, stabilized, now),
        };
        Verdict { replicas, able, limited: (replicas != stabilized, reason, message) }
    }

    /// Remembers that the number of replicas changed.
    pub fn changed(&mut self, behavior: &Behavior, from: i32, to: i32, now: Timestamp) {
        let Behavior::Configured { up, down } = behavior else { return };
        let (events, rules) = if to > from { (&mut self.grown, &up.0) } else { (&mut self.shrunk, &down.0) };
        let cutoff = since(now, rules.longest_period());
        events.retain(|event| event.at >= cutoff);
        events.push(Dated { number: (to - from).abs(), at: now });
    }

    fn stabilize_down(&mut self, desired: i32, now: Timestamp) -> (i32, (&'static str, &'static str)) {
        let cutoff = since(now, DOWNSCALE_WINDOW_SECONDS);
        self.recommendations.retain(|one| one.at >= cutoff);
        let highest = self.recommendations.iter().map(|one| one.number).max().unwrap_or(desired).max(desired);
        self.recommendations.push(Dated { number: desired, at: now });
        (highest, DOWN_STABILIZED)
    }

    fn stabilize(
        &mut self,
        up: &Rules,
        down: &Rules,
        bounds: Bounds,
        desired: i32,
        now: Timestamp,
    ) -> (i32, (&'static str, &'static str)) {
        let (up, down) = (since(now, up.window_seconds), since(now, down.window_seconds));
        let after = |cutoff: Timestamp| {
            self.recommendations.iter().filter(move |one| one.at > cutoff).map(|one| one.number)
        };
        let lowest = after(up).fold(desired, i32::min);
        let highest = after(down).fold(desired, i32::max);
        let stabilized = bounds.current.max(lowest).min(highest);
        self.recommendations.retain(|one| one.at >= up.min(down));
        self.recommendations.push(Dated { number: desired, at: now });
        (stabilized, if desired >= bounds.current { UP_STABILIZED } else { DOWN_STABILIZED })
    }

    fn limit(
        &self,
        up: &Rules,
        down: &Rules,
        bounds: Bounds,
        desired: i32,
        now: Timestamp,
    ) -> (i32, (&'static str, &'static str)) {
        let Bounds { current, min, max } = bounds;
        if desired > current {
            let fastest = self.limit_of(up, current, now, true).max(current);
            let (most, why) = if max > fastest { (fastest, TOO_FAST_UP) } else { (max, TOO_MANY) };
            if desired > most {
                return (most, why);
            }
        } else if desired < current {
            let fastest = self.limit_of(down, current, now, false).min(current);
            let (least, why) = if min < fastest { (fastest, TOO_FAST_DOWN) } else { (min, TOO_FEW) };
            if desired < least {
                return (least, why);
            }
        }
        (desired, WITHIN)
    }

    /// The farthest that the policies allow from where each of their periods began.
    fn limit_of(&self, rules: &Rules, current: i32, now: Timestamp, growing: bool) -> i32 {
        let proposals = rules.policies.iter().map(|policy| {
            let cutoff = since(now, policy.period_seconds);
            let sum = |events: &[Dated]| -> i32 {
                events.iter().filter(|event| event.at > cutoff).map(|event| event.number).sum()
            };
            let start = current - sum(&self.grown) + sum(&self.shrunk);
            match (policy.step, growing) {
                (Step::Pods(pods), true) => start.saturating_add(pods),
                (Step::Pods(pods), false) => start.saturating_sub(pods),
                // Rounded up, as a small share of few replicas would never grow.
                (Step::Percent(percent), true) => {
                    (f64::from(start) * (1.0 + f64::from(percent) / 100.0)).ceil() as i32
                }
                (Step::Percent(percent), false) => {
                    (f64::from(start) * (1.0 - f64::from(percent) / 100.0)) as i32
                }
            }
        });
        let chosen = match (rules.select, growing) {
            (Select::Disabled, _) => None,
            (Select::Max, true) | (Select::Min, false) => proposals.max(),
            (Select::Min, true) | (Select::Max, false) => proposals.min(),
        };
        chosen.unwrap_or(current)
    }
}

fn limit_by_default(bounds: Bounds, desired: i32) -> (i32, (&'static str, &'static str)) {
    let fastest = bounds.current.saturating_mul(2).max(4);
    let (most, why) = if bounds.max > fastest { (fastest, TOO_FAST_UP) } else { (bounds.max, TOO_MANY) };
    if desired < bounds.min {
        (bounds.min, TOO_FEW)
    } else if desired > most {
        (most, why)
    } else {
        (desired, WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn behavior(value: Value) -> Behavior {
        Behavior::read(Some(&serde_json::from_value(value).unwrap()))
    }

    fn bounds(current: i32) -> Bounds {
        Bounds { current, min: 1, max: 100 }
    }

    #[test]
    fn by_default_replicas_shrink_to_the_highest_wish_of_five_minutes() {
        let mut memory = Memory::default();
        memory.begin(10, at(0));
        let verdict = memory.judge(&Behavior::Default, bounds(10), 4, at(15));
        assert_eq!((verdict.replicas, verdict.able), (10, DOWN_STABILIZED));
        let verdict = memory.judge(&Behavior::Default, bounds(10), 6, at(301));
        assert_eq!((verdict.replicas, verdict.able), (6, READY), "the first wish is forgotten");
    }

    #[test]
    fn by_default_replicas_at_most_double() {
        let mut memory = Memory::default();
        for (current, expected) in [(1, 4), (3, 6), (60, 100)] {
            let verdict = memory.judge(&Behavior::Default, bounds(current), 200, at(0));
            assert_eq!(verdict.replicas, expected);
            assert!(verdict.limited.0);
        }
        let few = Memory::default().judge(&Behavior::Default, bounds(3), 0, at(0));
        assert_eq!((few.replicas, few.limited.1), (1, "TooFewReplicas"));
    }

    #[test]
    fn a_window_for_growing_takes_the_lowest_wish() {
        let slow = behavior(json!({"scaleUp": {"stabilizationWindowSeconds": 60}}));
        let mut memory = Memory::default();
        memory.begin(2, at(0));
        let verdict = memory.judge(&slow, bounds(2), 5, at(15));
        assert_eq!((verdict.replicas, verdict.able), (2, UP_STABILIZED));
        assert_eq!(memory.judge(&slow, bounds(2), 6, at(61)).replicas, 5);
    }

    #[test]
    fn policies_limit_the_change_in_their_period() {
        let pods = json!({"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]});
        let rules = behavior(json!({"scaleUp": pods}));
        let mut memory = Memory::default();
        let verdict = memory.judge(&rules, bounds(3), 20, at(0));
        assert_eq!((verdict.replicas, verdict.limited.1), (5, "ScaleUpLimit"));
        memory.changed(&rules, 3, 5, at(0));
        assert_eq!(memory.judge(&rules, bounds(5), 20, at(30)).replicas, 5, "the period is used up");
        assert_eq!(memory.judge(&rules, bounds(5), 20, at(61)).replicas, 7);
    }

    #[test]
    fn the_selected_policy_allows_most_or_least_or_nothing() {
        let rules = |select: &str| {
            let policies = json!([
                {"type": "Pods", "value": 4, "periodSeconds": 60},
                {"type": "Percent", "value": 10, "periodSeconds": 60},
            ]);
            let down = json!({"selectPolicy": select, "policies": policies, "stabilizationWindowSeconds": 0});
            behavior(json!({"scaleDown": down}))
        };
        for (select, expected) in [("Max", 16), ("Min", 18), ("Disabled", 20)] {
            let verdict = Memory::default().judge(&rules(select), bounds(20), 1, at(0));
            assert_eq!(verdict.replicas, expected, "{select}");
            assert_eq!(verdict.limited.1, "ScaleDownLimit");
        }
    }

    #[test]
    fn tolerances_are_per_direction() {
        let rules = serde_json::from_value(json!({"scaleUp": {"tolerance": "50m"}})).unwrap();
        assert_eq!(tolerances(Some(&rules)), Tolerances { down: 0.1, up: 0.05 });
        assert_eq!(tolerances(None), Tolerances { down: 0.1, up: 0.1 });
    }
}
