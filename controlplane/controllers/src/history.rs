//! Controller revisions: the templates that a stateful set or a daemon set had.
//!
//! A revision is a copy of the pod template, in the form of a patch that restores it. Going back to an earlier
//! template gives its revision the highest number again instead of making a second one.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::api::Error;
use crate::hash;
use crate::informers::{Informer, Object};
use crate::ownership::{claim_all, controller_reference, is_controlled_by};

/// The revision that a pod was made from.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";

/// The history of one owner.
#[derive(Debug)]
pub(crate) struct History {
    /// All revisions, oldest first.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// The revision of the present template.
    pub update: Arc<ControllerRevision>,
    /// How often two templates had one hash so far.
    pub collisions: i32,
}

/// What makes the present template the newest revision.
#[derive(Debug, PartialEq)]
enum Step {
    Keep(Arc<ControllerRevision>),
    /// It was current before.
    Promote(Arc<ControllerRevision>, i64),
    Create(i64),
}

fn decide(revisions: &[Arc<ControllerRevision>], data: &Value) -> Step {
    let next = 1 + revisions.last().map_or(0, |last| last.revision);
    let same = |revision: &&Arc<ControllerRevision>| revision.data.as_ref().is_some_and(|old| old.0 == *data);
    match revisions.iter().rfind(same) {
        None => Step::Create(next),
        Some(found) if revisions.last() == Some(found) => Step::Keep(found.clone()),
        Some(found) => Step::Promote(found.clone(), next),
    }
}

/// The patch that restores `template`.
pub(crate) fn snapshot(template: &PodTemplateSpec) -> Value {
    let mut value = json!(template);
    value["$patch"] = json!("replace");
    json!({"spec": {"template": value}})
}

/// The template that `revision` restores.
pub(crate) fn restore(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let template = revision.data.as_ref()?.0.pointer("/spec/template")?;
    serde_json::from_value(template.clone()).ok()
}

/// The name, as in the pods' labels and in statuses.
pub(crate) fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

fn build<O: Object>(
    owner: &O,
    template: &PodTemplateSpec,
    hash_label: &str,
    number: i64,
    collisions: i32,
) -> ControllerRevision {
    let data = snapshot(template);
    let hash = hash::of(&data, Some(collisions));
    let mut labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(hash_label.to_owned(), hash.clone());
    let meta = owner.meta();
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", meta.name.as_deref().unwrap_or_default())),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations.clone(),
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision: number,
    }
}

/// Makes the present template the newest revision of `owner`.
///
/// `hash_label` is where the owner's kind keeps a revision's hash; `collisions` is what its status says of them.
pub(crate) async fn sync<O: Object>(
    owners: &Informer<O>,
    informer: &Informer<ControllerRevision>,
    owner: &O,
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    (hash_label, mut collisions): (&str, i32),
) -> Result<History, Error> {
    let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
    let mut revisions =
        claim_all(owners, owner, selector, informer, informer.claimable(owner.meta())).await?;
    revisions.sort_by_key(|one| {
        (one.revision, one.metadata.creation_timestamp.clone(), one.metadata.name.clone())
    });

    let update = match decide(&revisions, &snapshot(template)) {
        Step::Keep(revision) => revision,
        Step::Promote(revision, number) => {
            let promoted = ControllerRevision { revision: number, ..ControllerRevision::clone(&revision) };
            informer.update(&revision, &promoted).await?;
            let promoted = informer.get(namespace, name(&revision)).unwrap_or(revision);
            revisions.retain(|one| name(one) != name(&promoted));
            revisions.push(promoted.clone());
            promoted
        }
        Step::Create(number) => {
            let created = loop {
                let revision = build(owner, template, hash_label, number, collisions);
                match informer.create(&revision).await {
                    Ok(created) => break created,
                    Err(error) if error.is_already_exists() => {
                        let found = informer.fetch(namespace, name(&revision)).await?;
                        match found.filter(|found| found.data == revision.data) {
                            Some(found) if is_controlled_by(&found.metadata, owner.meta()) => {
                                break Arc::new(found);
                            }
                            _ => collisions += 1,
                        }
                    }
                    Err(error) => return Err(error),
                }
            };
            revisions.push(created.clone());
            created
        }
    };
    Ok(History { revisions, update, collisions })
}

/// Deletes revisions beyond `limit` that no name in `live` needs, oldest first.
pub(crate) async fn truncate(
    informer: &Informer<ControllerRevision>,
    history: &History,
    live: &HashSet<&str>,
    limit: i32,
) -> Result<(), Error> {
    for revision in surplus(&history.revisions, live, limit) {
        informer.delete(revision, DeleteParams::default()).await?;
    }
    Ok(())
}

fn surplus<'a>(
    revisions: &'a [Arc<ControllerRevision>],
    live: &HashSet<&str>,
    limit: i32,
) -> impl Iterator<Item = &'a Arc<ControllerRevision>> {
    let old: Vec<_> = revisions.iter().filter(|revision| !live.contains(name(revision))).collect();
    let count = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.into_iter().take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(name: &str, number: i64) -> Arc<ControllerRevision> {
        Arc::new(ControllerRevision {
            metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
            data: Some(RawExtension(json!(name))),
            revision: number,
        })
    }

    #[test]
    fn a_template_has_one_revision_however_often_it_returns() {
        let (a, b) = (revision("a", 1), revision("b", 2));
        let both = [a.clone(), b.clone()];
        assert_eq!(decide(&[], &json!("a")), Step::Create(1));
        assert_eq!(decide(&both, &json!("b")), Step::Keep(b));
        assert_eq!(decide(&both, &json!("a")), Step::Promote(a, 3));
        assert_eq!(decide(&both, &json!("c")), Step::Create(3));
    }

    #[test]
    fn a_revision_restores_its_template() {
        let labels = Some([("app".to_owned(), "web".to_owned())].into());
        let template =
            PodTemplateSpec { metadata: Some(ObjectMeta { labels, ..ObjectMeta::default() }), spec: None };
        let data = snapshot(&template);
        assert_eq!(data["spec"]["template"]["$patch"], "replace");
        let revision = ControllerRevision { data: Some(RawExtension(data)), ..ControllerRevision::default() };
        assert_eq!(restore(&revision), Some(template));
    }

    #[test]
    fn live_revisions_outlive_the_limit() {
        let revisions = [revision("a", 1), revision("b", 2), revision("c", 3), revision("d", 4)];
        let live = HashSet::from(["a", "d"]);
        let doomed: Vec<_> = surplus(&revisions, &live, 1).map(|one| name(one)).collect();
        assert_eq!(doomed, ["b"]);
    }
}
