//! When snapshots are taken. Pure.

use jiff::Timestamp;

use crate::options::NextTime;

/// How many are kept unless it is said.
const KEEP: usize = 7;

/// Snapshots by schedule, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshots {
    schedule: String,
    zone: String,
    /// How many are kept.
    pub keep: usize,
}

/// Reads what is asked.
pub fn validate(
    asked: Option<&vkube_crds::Snapshots>,
    next: NextTime,
    wrong: &mut Vec<String>,
) -> Option<Snapshots> {
    let asked = asked?;
    let zone = asked.timezone.clone().unwrap_or_else(|| "UTC".into());
    if let Err(why) = next(&asked.schedule, &zone, Timestamp::UNIX_EPOCH) {
        wrong.push(format!("snapshots.schedule: {why}"));
    }
    let keep = asked.keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(KEEP).max(1);
    Some(Snapshots { schedule: asked.schedule.clone(), zone, keep })
}

impl Snapshots {
    /// When the next one is due, given when the last was taken.
    pub fn due(&self, last: Timestamp, next: NextTime) -> Option<Timestamp> {
        // The schedule has been read before.
        next(&self.schedule, &self.zone, last).ok().flatten()
    }
}
