//! Who controls what: adoption and release by label selector and controller reference.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;

use crate::api::Error;
use crate::informers::{Informer, Object};
use crate::queue::{Key, Queue};
use crate::selectors::matches;

/// The reference to the controller of `meta`'s object.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|reference| reference.controller == Some(true))
}

/// Whether `meta`'s object is controlled by the object of that uid.
pub(crate) fn is_controlled_by(meta: &ObjectMeta, owner: &ObjectMeta) -> bool {
    owner.uid.is_some() && controller_of(meta).map(|reference| &reference.uid) == owner.uid.as_ref()
}

/// The name of the controller of `meta`'s object if it is of kind `K`.
pub(crate) fn controller_name<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> Option<&str> {
    let reference = controller_of(meta)?;
    let (group, _) = reference.api_version.split_once('/').unwrap_or(("", ""));
    (reference.kind == K::kind(&()) && group == K::group(&())).then_some(reference.name.as_str())
}

/// A reference that makes `owner` the controller.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What an owner does about an object it may own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is ours.
    Keep,
    /// It matches and has no controller.
    Adopt,
    /// It is ours but no longer matches.
    Release,
    /// It is none of our business.
    Ignore,
}

/// Decides about `object` for an owner with `selector`.
pub(crate) fn claim(owner: &ObjectMeta, selector: &LabelSelector, object: &ObjectMeta) -> Claim {
    let matching = matches(selector, object.labels.as_ref());
    let owner_ends = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(reference) if Some(&reference.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if matching => Claim::Keep,
        Some(_) if owner_ends => Claim::Ignore,
        Some(_) => Claim::Release,
        None if !matching || owner_ends || object.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// Claims what `owner` may own among `candidates`, all of its namespace, and returns what is its own afterwards.
///
/// Before the first adoption the owner is read from the server: one that was deleted, or replaced by a namesake,
/// must not adopt.
pub(crate) async fn claim_all<O: Object, K: Object>(
    owners: &Informer<O>,
    owner: &O,
    selector: &LabelSelector,
    informer: &Informer<K>,
    candidates: Vec<Arc<K>>,
) -> Result<Vec<Arc<K>>, Error> {
    let meta = owner.meta();
    let (namespace, name) =
        (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let mut may_adopt = false;
    let mut kept = Vec::new();
    for candidate in candidates {
        match claim(meta, selector, candidate.meta()) {
            Claim::Keep => kept.push(candidate),
            Claim::Ignore => {}
            Claim::Release => {
                let mut released = K::clone(&candidate);
                if let Some(references) = &mut released.meta_mut().owner_references {
                    references.retain(|reference| Some(&reference.uid) != meta.uid.as_ref());
                }
                gone_is_fine(informer.update(&candidate, &released).await)?;
            }
            Claim::Adopt => {
                if !may_adopt {
                    let fresh = owners.fetch(namespace, name).await?;
                    may_adopt = fresh.is_some_and(|fresh| {
                        fresh.meta().uid == meta.uid && fresh.meta().deletion_timestamp.is_none()
                    });
                }
                if !may_adopt {
                    return Err(Error::NotYet(format!(
                        "{namespace}/{name} is going away and must not adopt"
                    )));
                }
                let mut adopted = K::clone(&candidate);
                adopted.meta_mut().owner_references.get_or_insert_default().push(controller_reference(owner));
                gone_is_fine(informer.update(&candidate, &adopted).await)?;
                let name = candidate.meta().name.as_deref().unwrap_or_default();
                kept.extend(informer.get(namespace, name));
            }
        }
    }
    Ok(kept)
}

/// Queues an owner when what it controls changes; and each owner that may adopt it when it has no controller.
pub(crate) fn wake_owners<O: Object, K: Object>(
    dependents: &Informer<K>,
    owners: &Informer<O>,
    queue: &Queue<Key>,
    selector: fn(&O) -> Option<Cow<'_, LabelSelector>>,
) {
    let (owners, queue) = (owners.clone(), queue.clone());
    dependents.subscribe(move |change| {
        for object in [&change.old, &change.new].into_iter().flatten() {
            let meta = object.meta();
            if let Some(name) = controller_name::<O>(meta) {
                queue.add(Key::new(meta.namespace.as_deref().unwrap_or_default(), name));
            }
        }
        let Some(orphan) = change.new.as_ref().filter(|object| controller_of(object.meta()).is_none()) else {
            return;
        };
        let meta = orphan.meta();
        if meta.deletion_timestamp.is_some() {
            return;
        }
        for owner in owners.list(meta.namespace.as_deref().unwrap_or_default()) {
            if selector(&owner).is_some_and(|selector| matches(&selector, meta.labels.as_ref())) {
                queue.add(Key::of(&*owner));
            }
        }
    });
}

/// Queues each object of a kind that appears or changes.
pub(crate) fn wake_itself<K: Object>(informer: &Informer<K>, queue: &Queue<Key>) {
    let queue = queue.clone();
    informer.subscribe(move |change| {
        if let Some(object) = &change.new {
            queue.add(Key::of(&**object));
        }
    });
}

fn gone_is_fine(outcome: Result<(), Error>) -> Result<(), Error> {
    outcome.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn owner(deleting: bool) -> ObjectMeta {
        let deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
        ObjectMeta { uid: Some("owner".into()), deletion_timestamp, ..ObjectMeta::default() }
    }

    fn object(controller: Option<&str>, app: &str, deleting: bool) -> ObjectMeta {
        let reference =
            |uid: &str| OwnerReference { uid: uid.into(), controller: Some(true), ..Default::default() };
        ObjectMeta {
            labels: Some([("app".to_owned(), app.to_owned())].into()),
            owner_references: controller.map(|uid| vec![reference(uid)]),
            deletion_timestamp: deleting.then_some(Time(Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn claims_follow_the_controller_reference_then_the_selector() {
        let selector = LabelSelector {
            match_labels: Some([("app".into(), "web".into())].into()),
            ..LabelSelector::default()
        };
        for (owner, object, expected) in [
            (owner(false), object(Some("owner"), "web", false), Claim::Keep),
            (owner(false), object(Some("owner"), "db", false), Claim::Release),
            (owner(true), object(Some("owner"), "db", false), Claim::Ignore),
            (owner(false), object(Some("other"), "web", false), Claim::Ignore),
            (owner(false), object(None, "web", false), Claim::Adopt),
            (owner(false), object(None, "db", false), Claim::Ignore),
            (owner(true), object(None, "web", false), Claim::Ignore),
            (owner(false), object(None, "web", true), Claim::Ignore),
        ] {
            assert_eq!(claim(&owner, &selector, &object), expected, "{object:?}");
        }
    }
}
