//! When a cluster sleeps by itself. Pure: the same question has the same answer, whoever asks and how often.
//!
//! Nothing is remembered but when the cluster was woken and when it was used. A cluster with both schedules is asleep when
//! the next time to wake comes before the next time to sleep.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use vkube_crds::SleepRule;

use crate::options::NextTime;

/// Control planes tell of use once a minute.
const LEAST_IDLE: Duration = Duration::from_secs(60);

/// The rule, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Idle for so long.
    pub after: Option<Duration>,
    /// Whether who connects wakes it.
    pub wakes_on_connect: bool,
    schedule: Option<String>,
    wake: Option<String>,
    zone: String,
}

/// What the rule says at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the cluster sleeps.
    pub asleep: bool,
    /// When the answer may be another.
    pub until: Option<Timestamp>,
}

/// Reads the rule.
pub fn validate(asked: Option<&SleepRule>, next: NextTime, wrong: &mut Vec<String>) -> Option<Rest> {
    let asked = asked?;
    let after = super::lifetime("lifecycle.sleep.after", asked.after.as_ref(), wrong);
    if after.is_some_and(|after| after < LEAST_IDLE) {
        wrong.push("lifecycle.sleep.after: must be a minute or more".into());
    }
    let zone = asked.timezone.clone().unwrap_or_else(|| "UTC".into());
    for (field, schedule) in [("schedule", &asked.schedule), ("wakeSchedule", &asked.wake_schedule)] {
        if let Some(Err(why)) = schedule.as_ref().map(|text| next(text, &zone, Timestamp::UNIX_EPOCH)) {
            wrong.push(format!("lifecycle.sleep.{field}: {why}"));
        }
    }
    if asked.wake_schedule.is_some() && asked.schedule.is_none() && after.is_none() {
        wrong.push("lifecycle.sleep.wakeSchedule: needs a schedule, or after, to wake from".into());
    }
    Some(Rest {
        after,
        wakes_on_connect: asked.wake_on_connect == Some(true),
        schedule: asked.schedule.clone(),
        wake: asked.wake_schedule.clone(),
        zone,
    })
}

impl Rest {
    /// Whether the cluster sleeps now, if it was woken, or made, then, and used last at that time.
    pub fn verdict(&self, woken: Timestamp, used: Timestamp, now: Timestamp, next: NextTime) -> Verdict {
        // Schedules have been read before.
        let time = |schedule: &Option<String>, after| {
            schedule.as_ref().and_then(|text| next(text, &self.zone, after).ok().flatten())
        };
        let wakes = time(&self.wake, now);
        let sleeps = time(&self.schedule, now);
        if time(&self.schedule, woken).is_some_and(|at| at <= now) {
            let asleep =
                self.wake.is_none() || wakes.is_some_and(|wakes| sleeps.is_none_or(|sleeps| wakes < sleeps));
            if asleep {
                return Verdict { asleep, until: wakes };
            }
        }
        let Some(after) = self.after.and_then(|after| SignedDuration::try_from(after).ok()) else {
            return Verdict { asleep: false, until: sleeps };
        };
        let used = used.max(woken);
        let begun = now.checked_sub(after).unwrap_or(Timestamp::MIN);
        // To be woken by schedule is as good as to be used.
        let roused = time(&self.wake, begun).filter(|at| *at <= now);
        let idle_at = roused.unwrap_or(used).max(used).checked_add(after).unwrap_or(Timestamp::MAX);
        if idle_at <= now {
            return Verdict { asleep: true, until: wakes };
        }
        Verdict { asleep: false, until: Some(sleeps.map_or(idle_at, |sleeps| sleeps.min(idle_at))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(rule: serde_json::Value) -> Rest {
        let mut wrong = Vec::new();
        let rule: SleepRule = serde_json::from_value(rule).unwrap();
        let rest = validate(Some(&rule), vkube_controllers::next_time, &mut wrong).unwrap();
        assert_eq!(wrong, Vec::<String>::new());
        rest
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn asleep(rest: &Rest, woken: &str, used: &str, now: &str) -> (bool, Option<String>) {
        let verdict = rest.verdict(at(woken), at(used), at(now), vkube_controllers::next_time);
        (verdict.asleep, verdict.until.map(|until| until.to_string()))
    }

    #[test]
    fn a_cluster_sleeps_at_night_and_over_the_weekend() {
        let rest = rest(serde_json::json!({"schedule": "0 20 * * 1-5", "wakeSchedule": "0 7 * * 1-5",
            "timezone": "Europe/Berlin"}));
        // A Friday in November, an hour ahead of UTC.
        let made = "2026-11-20T10:00:00Z";
        for (now, sleeps, until) in [
            ("2026-11-20T18:59:59Z", false, "2026-11-20T19:00:00Z"),
            ("2026-11-20T19:00:00Z", true, "2026-11-23T06:00:00Z"),
            ("2026-11-22T12:00:00Z", true, "2026-11-23T06:00:00Z"),
            ("2026-11-23T06:00:00Z", false, "2026-11-23T19:00:00Z"),
        ] {
            assert_eq!(asleep(&rest, made, made, now), (sleeps, Some(until.into())), "{now}");
        }
    }

    #[test]
    fn who_wakes_a_cluster_has_it_until_the_next_time_to_sleep() {
        let rest = rest(serde_json::json!({"schedule": "0 20 * * *"}));
        let made = "2026-11-20T10:00:00Z";
        assert_eq!(asleep(&rest, made, made, "2026-11-21T09:00:00Z"), (true, None));
        let woken = "2026-11-21T09:00:00Z";
        let until = Some("2026-11-21T20:00:00Z".into());
        assert_eq!(asleep(&rest, woken, made, "2026-11-21T09:00:01Z"), (false, until));
        assert_eq!(asleep(&rest, woken, woken, "2026-11-21T20:00:00Z"), (true, None));
    }

    #[test]
    fn use_keeps_a_cluster_awake_but_not_past_its_schedule() {
        let rest = rest(serde_json::json!({"after": "2h", "schedule": "0 20 * * *"}));
        let made = "2026-11-20T10:00:00Z";
        let until = |text: &str| Some(text.to_owned());
        assert_eq!(asleep(&rest, made, made, "2026-11-20T11:59:59Z"), (false, until("2026-11-20T12:00:00Z")));
        assert_eq!(asleep(&rest, made, made, "2026-11-20T12:00:00Z"), (true, None));
        let used = "2026-11-20T19:00:00Z";
        assert_eq!(asleep(&rest, made, used, "2026-11-20T19:30:00Z"), (false, until("2026-11-20T20:00:00Z")));
        assert_eq!(asleep(&rest, made, used, "2026-11-20T20:00:00Z"), (true, None));
    }

    #[test]
    fn a_cluster_that_its_schedule_wakes_is_idle_only_after_a_while() {
        let rest = rest(serde_json::json!({"after": "2h", "wakeSchedule": "0 7 * * *"}));
        let made = "2026-11-20T10:00:00Z";
        assert!(asleep(&rest, made, made, "2026-11-21T06:59:59Z").0);
        assert!(!asleep(&rest, made, made, "2026-11-21T07:00:00Z").0);
        assert!(asleep(&rest, made, made, "2026-11-21T09:00:01Z").0);
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_refused_with_its_path() {
        for (rule, path) in [
            (serde_json::json!({"after": "10s"}), "lifecycle.sleep.after"),
            (serde_json::json!({"schedule": "nonsense"}), "lifecycle.sleep.schedule"),
            (serde_json::json!({"schedule": "@daily", "timezone": "Nowhere/At"}), "lifecycle.sleep.schedule"),
            (serde_json::json!({"wakeSchedule": "@daily"}), "lifecycle.sleep.wakeSchedule"),
        ] {
            let mut wrong = Vec::new();
            let rule: SleepRule = serde_json::from_value(rule).unwrap();
            validate(Some(&rule), vkube_controllers::next_time, &mut wrong);
            assert!(wrong.len() == 1 && wrong[0].starts_with(path), "{wrong:?}");
        }
    }
}
