//! How many pods each replica set gets.

use super::revisions;
use super::rollout::Rollout;

/// Scales without rolling: after `spec.replicas` changed, or while paused.
///
/// With one active set, that takes the change. In the middle of a rollout the change is shared among the active
/// sets in proportion to their sizes, so that a bad new template does not get all the new pods.
pub(super) fn scale(rollout: &mut Rollout<'_>) {
    let active = rollout.active();
    if let [] | [_] = active.as_slice() {
        let only = active.first().copied().or(rollout.newest).or_else(|| rollout.old().last().copied());
        if let Some(index) = only {
            rollout.resize(index, rollout.replicas());
        }
        return;
    }
    if is_saturated(rollout) {
        for index in rollout.old() {
            if rollout.size(index) > 0 {
                rollout.resize(index, 0);
            }
        }
        return;
    }
    if super::rollout::recreates(&rollout.deployment) {
        // There is no proportion to keep between pods that must not run together.
        if rollout.spec.paused != Some(true) {
            recreate(rollout);
        }
        return;
    }
    share(rollout, active);
}

/// Whether the newest set serves everything that is asked for.
fn is_saturated(rollout: &Rollout<'_>) -> bool {
    let Some(index) = rollout.newest else { return false };
    let wanted = rollout.replicas();
    rollout.size(index) == wanted
        && rollout.available(index) == wanted
        && rollout.newest().and_then(|planned| revisions::desired(&planned.set)) == Some(wanted)
}

fn share(rollout: &mut Rollout<'_>, mut active: Vec<usize>) {
    let wanted = rollout.replicas();
    let limit = if wanted > 0 { wanted + rollout.max_surge() } else { 0 };
    let change = limit - active.iter().map(|index| rollout.size(*index)).sum::<i32>();
    // Largest first; among equals the newest grows first and the oldest shrinks first.
    active.sort_by_key(|index| {
        let age = i64::try_from(*index).unwrap_or(i64::MAX);
        (-rollout.size(*index), if change > 0 { -age } else { age })
    });

    let mut added = 0;
    let mut sizes: Vec<(usize, i32)> = Vec::new();
    for index in active {
        let mut part = 0;
        if change != 0 {
            let (part_of_change, left) = (fraction(rollout, index), change - added);
            part = if change > 0 { part_of_change.min(left) } else { part_of_change.max(left) };
        }
        added += part;
        sizes.push((index, rollout.size(index) + part));
    }
    // What rounding left over goes to the largest.
    if let Some((_, size)) = sizes.first_mut() {
        *size = (*size + change - added).max(0);
    }
    for (index, size) in sizes {
        rollout.resize(index, size);
    }
}

/// How much a set's size should change to stay in proportion.
fn fraction(rollout: &Rollout<'_>, index: usize) -> i32 {
    let size = rollout.size(index);
    let wanted = rollout.replicas();
    if wanted == 0 {
        return -size;
    }
    let before = rollout.sets.get(index).and_then(|planned| revisions::max_replicas(&planned.set));
    let before = before.filter(|max| *max > 0).or_else(|| rollout.deployment.status.as_ref()?.replicas);
    let before = before.filter(|max| *max > 0).unwrap_or(wanted);
    let now = f64::from(wanted + rollout.max_surge());
    (f64::from(size) * now / f64::from(before)).round() as i32 - size
}

/// Rolling update: grow the newest set within the surge, or shrink old ones within what may be unavailable.
pub(super) fn roll(rollout: &mut Rollout<'_>) {
    revisions::create_newest(rollout);
    let Some(newest) = rollout.newest else { return };
    let size = new_size(rollout, newest);
    // One move at a time: what it does to availability is seen before the next.
    if rollout.resize(newest, size) || shrink_old(rollout, newest) {
        return;
    }
    clean_up_if_complete(rollout);
}

/// The size of the newest set that the surge allows now.
pub(super) fn new_size(rollout: &Rollout<'_>, newest: usize) -> i32 {
    let (size, wanted) = (rollout.size(newest), rollout.replicas());
    if super::rollout::recreates(&rollout.deployment) || size >= wanted {
        return wanted;
    }
    let room = (wanted + rollout.max_surge() - rollout.total()).max(0);
    size + room.min(wanted - size)
}

fn shrink_old(rollout: &mut Rollout<'_>, newest: usize) -> bool {
    let old = rollout.old();
    let min_available = rollout.replicas() - rollout.max_unavailable();
    let not_yet = rollout.size(newest) - rollout.available(newest);
    let mut spare = rollout.total() - min_available - not_yet;
    if spare <= 0 || old.iter().all(|index| rollout.size(*index) == 0) {
        return false;
    }

    // Pods that do not serve can go without loss.
    let mut shrunk = false;
    for index in &old {
        let unhealthy = rollout.size(*index) - rollout.available(*index).min(rollout.size(*index));
        let down = unhealthy.min(spare);
        if down > 0 {
            spare -= down;
            shrunk |= rollout.resize(*index, rollout.size(*index) - down);
        }
    }

    let available: i32 = (0..rollout.sets.len()).map(|index| rollout.available(index)).sum();
    let mut spare = available - min_available;
    for index in old {
        let down = rollout.size(index).min(spare);
        if down > 0 {
            spare -= down;
            shrunk |= rollout.resize(index, rollout.size(index) - down);
        }
    }
    shrunk
}

/// Recreate: all old pods go, and only when they are gone the new ones come.
pub(super) fn recreate(rollout: &mut Rollout<'_>) {
    let mut shrunk = false;
    for index in rollout.old() {
        if rollout.size(index) > 0 {
            shrunk |= rollout.resize(index, 0);
        }
    }
    if shrunk || old_pods_run(rollout) {
        return;
    }
    revisions::create_newest(rollout);
    if let Some(newest) = rollout.newest {
        rollout.resize(newest, rollout.replicas());
    }
    clean_up_if_complete(rollout);
}

fn old_pods_run(rollout: &Rollout<'_>) -> bool {
    let old = rollout.old();
    let uids = old.iter().filter_map(|index| rollout.sets.get(*index)?.set.metadata.uid.as_ref());
    uids.into_iter().any(|uid| rollout.running.contains(uid))
}

fn clean_up_if_complete(rollout: &mut Rollout<'_>) {
    let status = rollout.deployment.status.clone().unwrap_or_default();
    if super::progress::is_complete(&rollout.deployment, rollout.replicas(), &status) {
        revisions::clean_up(rollout);
    }
}
