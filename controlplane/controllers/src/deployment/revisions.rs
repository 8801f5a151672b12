//! Templates, revisions and history: which replica set stands for what.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::rollout::{Planned, Rollout};
use super::{progress, scaling};
use crate::events::Note;
use crate::hash;
use crate::ownership::controller_reference;
use crate::replica_set::replicas;

/// Sets apart the pods of one template from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";
/// The number of a template among those a deployment had.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier numbers of the same template.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The deployment's size when the set was last sized.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same, with the surge.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Asks for a rollback to a revision, or to the previous one with 0.
pub(super) const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotations are for people: more history than this does not help them.
const HISTORY_CHARS: usize = 2000;

/// Whether `set` has the deployment's template, but for the hash label.
pub(super) fn is_same_template(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = deployment.spec.as_ref().map(|spec| plain(spec.template.clone()));
    let found = set.spec.as_ref().and_then(|spec| spec.template.clone()).map(plain);
    wanted == found
}

/// The template without what makes equal templates look different.
fn plain(mut template: PodTemplateSpec) -> PodTemplateSpec {
    let meta = template.metadata.get_or_insert_default();
    meta.creation_timestamp = None;
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH_LABEL);
    }
    meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    template
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

fn number<T: std::str::FromStr>(meta: &ObjectMeta, key: &str) -> Option<T> {
    annotation(meta, key)?.parse().ok()
}

pub(super) fn desired(set: &ReplicaSet) -> Option<i32> {
    number(&set.metadata, DESIRED)
}

pub(super) fn max_replicas(set: &ReplicaSet) -> Option<i32> {
    number(&set.metadata, MAX)
}

fn revision(set: &ReplicaSet) -> i64 {
    number(&set.metadata, REVISION).unwrap_or(0)
}

/// Notes on the set what the deployment asked for when it was sized.
pub(super) fn note_sizes(set: &mut ReplicaSet, wanted: i32, surge: i32) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED.to_owned(), wanted.to_string());
    annotations.insert(MAX.to_owned(), (wanted + surge).to_string());
}

/// Brings the newest set's annotations, and the deployment's revision, up to date.
pub(super) fn sync(rollout: &mut Rollout<'_>) {
    let number = next_revision(rollout);
    let min_ready_seconds = rollout.spec.min_ready_seconds;
    let annotations = rollout.deployment.metadata.annotations.clone().unwrap_or_default();
    let Some(planned) = rollout.newest.and_then(|index| rollout.sets.get_mut(index)) else { return };
    annotate(&mut planned.set, &annotations, number);
    planned.set.spec.get_or_insert_default().min_ready_seconds = min_ready_seconds;

    let name = planned.set.metadata.name.clone().unwrap_or_default();
    let current = revision(&planned.set);
    set_revision(&mut rollout.deployment, current);
    progress::found(&mut rollout.deployment, &name, rollout.now);
}

/// One more than any old set has.
fn next_revision(rollout: &Rollout<'_>) -> i64 {
    let old = rollout.old();
    1 + old
        .iter()
        .filter_map(|index| rollout.sets.get(*index))
        .map(|planned| revision(&planned.set))
        .max()
        .unwrap_or(0)
}

fn set_revision(deployment: &mut Deployment, revision: i64) {
    deployment.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), revision.to_string());
}

/// Copies the deployment's annotations, and counts the revision up if the set is the newest again.
fn annotate(set: &mut ReplicaSet, from: &BTreeMap<String, String>, number: i64) {
    let was = revision(set);
    let annotations = set.metadata.annotations.get_or_insert_default();
    let own = [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED, MAX, ROLLBACK_TO];
    for (key, value) in from.iter().filter(|(key, _)| !own.contains(&key.as_str())) {
        annotations.insert(key.clone(), value.clone());
    }
    if was >= number {
        return;
    }
    if let Some(was) = annotations.insert(REVISION.to_owned(), number.to_string()) {
        let history = annotations.entry(REVISION_HISTORY.to_owned()).or_default();
        let mut numbers: Vec<&str> = history.split(',').filter(|number| !number.is_empty()).collect();
        numbers.push(&was);
        while numbers.len() > 1
            && numbers.iter().map(|number| number.len() + 1).sum::<usize>() > HISTORY_CHARS
        {
            numbers.remove(0);
        }
        *history = numbers.join(",");
    }
}

/// Plans the replica set of the current template, if there is none.
pub(super) fn create_newest(rollout: &mut Rollout<'_>) {
    if rollout.newest.is_some() {
        return;
    }
    let number = next_revision(rollout);
    let mut set = build(&rollout.deployment);
    let annotations = rollout.deployment.metadata.annotations.clone().unwrap_or_default();
    annotate(&mut set, &annotations, number);
    note_sizes(&mut set, rollout.replicas(), rollout.max_surge());
    let name = set.metadata.name.clone().unwrap_or_default();
    rollout.sets.push(Planned { observed: None, set, doomed: false });
    let index = rollout.sets.len() - 1;
    rollout.newest = Some(index);

    let size = scaling::new_size(rollout, index);
    if let Some(planned) = rollout.sets.get_mut(index) {
        planned.set.spec.get_or_insert_default().replicas = Some(size);
    }
    if size > 0 {
        rollout.note_scaling(&name, 0, size);
    }
    set_revision(&mut rollout.deployment, number);
    progress::created(&mut rollout.deployment, &name, rollout.now);
}

/// An empty replica set of the deployment's template.
fn build(deployment: &Deployment) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash::of(&spec.template, collisions);
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// Dooms old empty sets beyond the history limit, lowest revisions first.
pub(super) fn clean_up(rollout: &mut Rollout<'_>) {
    let Some(limit) = rollout.spec.revision_history_limit.filter(|limit| *limit != i32::MAX) else { return };
    let mut old = rollout.old();
    old.retain(|index| {
        rollout.sets.get(*index).is_some_and(|planned| planned.set.metadata.deletion_timestamp.is_none())
    });
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|index| rollout.sets.get(*index).map(|planned| revision(&planned.set)));
    for index in old.into_iter().take(surplus) {
        if let Some(planned) = rollout.sets.get_mut(index) {
            planned.doomed = is_idle(&planned.set);
        }
    }
}

/// Whether a set has no pods, wants none, and knows it.
fn is_idle(set: &ReplicaSet) -> bool {
    let status = set.status.clone().unwrap_or_default();
    replicas(set) == 0 && status.replicas == 0 && set.metadata.generation <= status.observed_generation
}

/// The deployment with the template of the revision that its annotation asks for; `None` if it asks for none.
///
/// The request is answered once: found or not, the annotation goes.
pub(super) fn roll_back(rollout: &mut Rollout<'_>) -> Option<Deployment> {
    let asked: i64 = number(&rollout.deployment.metadata, ROLLBACK_TO)?;
    rollout.find_newest();
    let mut revisions: Vec<i64> = rollout.sets.iter().map(|planned| revision(&planned.set)).collect();
    revisions.sort_unstable_by(|a, b| b.cmp(a));
    let wanted = if asked == 0 { revisions.get(1).copied() } else { Some(asked) };
    let found = rollout.sets.iter().find(|planned| wanted == Some(revision(&planned.set)));

    let mut target = rollout.deployment.clone();
    if let Some(annotations) = &mut target.metadata.annotations {
        annotations.remove(ROLLBACK_TO);
    }
    let note = match found {
        None if asked == 0 => {
            Note::warning("DeploymentRollbackRevisionNotFound", "Unable to find last revision.")
        }
        None => {
            Note::warning("DeploymentRollbackRevisionNotFound", "Unable to find the revision to rollback to.")
        }
        Some(planned) if is_same_template(&rollout.deployment, &planned.set) => Note::warning(
            "DeploymentRollbackTemplateUnchanged",
            format!(
                "The rollback revision contains the same template as current deployment {:?}",
                target.metadata.name.as_deref().unwrap_or_default()
            ),
        ),
        Some(planned) => {
            let mut template =
                planned.set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
            if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
                labels.remove(HASH_LABEL);
            }
            target.spec.get_or_insert_default().template = template;
            let (name, number) = (target.metadata.name.clone().unwrap_or_default(), revision(&planned.set));
            Note::normal(
                "DeploymentRollback",
                format!("Rolled back deployment {name:?} to revision {number}"),
            )
        }
    };
    rollout.notes.push(note);
    Some(target)
}
