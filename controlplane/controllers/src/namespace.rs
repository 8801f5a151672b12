//! The namespace controller: empties and removes deleted namespaces.
//!
//! 1. Discover all namespaced resources.
//! 2. Delete the pods, and wait until they are gone: what they use must outlive them.
//! 3. Delete everything else.
//! 4. Report in conditions what remains, and why.
//! 5. When nothing remains, take the `kubernetes` finalizer off through the `finalize` subresource.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::DeleteParams;
use serde::Deserialize;

use crate::Context;
use crate::api::{Api, Error, Page};
use crate::clock::time;
use crate::discovery::{Discovered, ServedResource, discover};
use crate::informers::Informer;
use crate::queue::{Key, Queue};

/// The finalizer that keeps a namespace until it is empty.
const FINALIZER: &str = "kubernetes";
/// Requests in flight while emptying one namespace.
const PARALLEL: usize = 8;
/// How often at least a namespace is looked at again while something remains in it.
const LAST_RETRY: Duration = Duration::from_secs(15);

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        api: context.api.clone(),
        namespaces: context.informers.of(),
        clock: context.clock.clone(),
        queue: context.queue("namespace").with_last_retry(LAST_RETRY),
    };
    let shutdown = context.shutdown.clone();
    let queue = controller.queue.clone();
    controller.namespaces.subscribe(move |change| {
        if let Some(namespace) = &change.new
            && namespace.metadata.deletion_timestamp.is_some()
        {
            queue.add(Key::of(&**namespace));
        }
    });
    async move { controller.queue.run(4, &shutdown, |key| controller.reconcile(key)).await }
}

struct Controller {
    api: Api,
    namespaces: Informer<Namespace>,
    clock: crate::Clock,
    queue: Queue<Key>,
}

/// What is left of one resource in a namespace.
#[derive(Clone, Debug, PartialEq)]
struct Remaining {
    resource: String,
    count: usize,
    /// How many of them wait for which finalizer.
    finalizers: BTreeMap<String, usize>,
}

/// What an attempt to empty a namespace found.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    discovery_failures: Vec<String>,
    deletion_failures: Vec<String>,
    remaining: Vec<Remaining>,
}

impl Outcome {
    fn is_empty(&self) -> bool {
        self.discovery_failures.is_empty() && self.deletion_failures.is_empty() && self.remaining.is_empty()
    }
}

/// As much of an object as its deletion needs.
#[derive(Deserialize)]
struct Item {
    metadata: ObjectMeta,
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(namespace) = self.namespaces.fetch("", &key.name).await? else { return Ok(()) };
        if namespace.metadata.deletion_timestamp.is_none() || !has_finalizer(&namespace) {
            return Ok(());
        }

        let outcome = self.empty(&key.name).await;
        let mut updated = namespace.clone();
        let status = updated.status.get_or_insert_default();
        status.phase = Some("Terminating".to_owned());
        status.conditions =
            Some(conditions(status.conditions.take().unwrap_or_default(), &outcome, self.clock.now()));
        if !outcome.is_empty() {
            self.namespaces.update_status(&namespace, &updated).await?;
            return Err(Error::NotYet(format!("namespace {} is not empty: {outcome:?}", key.name)));
        }

        // Conditions are not worth a write when the namespace is about to be gone.
        if let Some(finalizers) = updated.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let path = format!("{}/{}/finalize", Namespace::url_path(&(), None), key.name);
        match self.api.replace::<serde_json::Value>(&path, &updated).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes what is in `namespace`, in order, and tells what remains.
    async fn empty(&self, namespace: &str) -> Outcome {
        let discovered = match discover(&self.api).await {
            Ok(discovered) => discovered,
            Err(error) => {
                return Outcome { discovery_failures: vec![error.message()], ..Outcome::default() };
            }
        };
        let mut outcome = Outcome {
            discovery_failures: discovered.failed.iter().map(|version| format!("{version}: stale")).collect(),
            ..Outcome::default()
        };
        for stage in stages(discovered) {
            let deletions: Vec<_> =
                stage.into_iter().map(|resource| self.delete_all(resource, namespace)).collect();
            let results: Vec<_> = stream::iter(deletions).buffered(PARALLEL).collect().await;
            for result in results {
                match result {
                    Ok(remaining) => outcome.remaining.extend(remaining),
                    Err(error) => outcome.deletion_failures.push(error.message()),
                }
            }
            if !outcome.remaining.is_empty() || !outcome.deletion_failures.is_empty() {
                break;
            }
        }
        outcome
    }

    async fn delete_all(
        &self,
        resource: ServedResource,
        namespace: &str,
    ) -> Result<Option<Remaining>, Error> {
        let path = resource.path(namespace);
        let Some(before) = self.list(&path).await? else { return Ok(None) };
        if before.is_empty() {
            return Ok(None);
        }
        if before.iter().any(|item| item.metadata.deletion_timestamp.is_none()) {
            if resource.supports(&["deletecollection"]) {
                self.api.delete::<serde_json::Value>(&path, &DeleteParams::background()).await?;
            } else {
                for item in &before {
                    let path = format!("{path}/{}", item.metadata.name.as_deref().unwrap_or_default());
                    match self.api.delete::<serde_json::Value>(&path, &DeleteParams::background()).await {
                        Err(error) if !error.is_not_found() => return Err(error),
                        _ => {}
                    }
                }
            }
        }
        Ok(remaining(&resource, &self.list(&path).await?.unwrap_or_default()))
    }

    /// The objects at `path`; `None` if the resource went away or cannot be listed.
    async fn list(&self, path: &str) -> Result<Option<Vec<Item>>, Error> {
        match self.api.list_metadata::<Page<Item>>(path).await {
            Ok(page) => Ok(Some(page.items)),
            Err(error) if error.status().is_some_and(|status| matches!(status.code, 404 | 405)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn has_finalizer(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|finalizer| finalizer == FINALIZER))
}

/// What to delete, in which order: pods first.
fn stages(discovered: Discovered) -> [Vec<ServedResource>; 2] {
    let deletable = |resource: &ServedResource| resource.namespaced && resource.supports(&["delete", "list"]);
    let (pods, others) = discovered
        .resources
        .into_iter()
        .filter(deletable)
        .partition(|resource| resource.group.is_empty() && resource.plural == "pods");
    [pods, others]
}

fn remaining(resource: &ServedResource, items: &[Item]) -> Option<Remaining> {
    let mut finalizers = BTreeMap::new();
    for finalizer in items.iter().flat_map(|item| item.metadata.finalizers.iter().flatten()) {
        *finalizers.entry(finalizer.clone()).or_insert(0) += 1;
    }
    let resource = resource.full_name();
    (!items.is_empty()).then_some(Remaining { resource, count: items.len(), finalizers })
}

/// The conditions after an attempt with `outcome`; times change only where a status does.
fn conditions(old: Vec<NamespaceCondition>, outcome: &Outcome, now: Timestamp) -> Vec<NamespaceCondition> {
    let resources =
        outcome.remaining.iter().map(|one| format!("{} has {} resource instances", one.resource, one.count));
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in outcome.remaining.iter().flat_map(|one| &one.finalizers) {
        *waiting.entry(finalizer).or_insert(0) += count;
    }
    let waiting: Vec<_> =
        waiting.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let said = |prefix: &str, parts: Vec<String>| {
        (!parts.is_empty()).then(|| format!("{prefix}{}", parts.join(", ")))
    };

    let wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            said("Discovery failed for some groups, ", outcome.discovery_failures.clone())
                .ok_or(("ResourcesDiscovered", "All resources successfully discovered")),
            "DiscoveryFailed",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            Err(("ParsedGroupVersions", "All legacy kube types successfully parsed")),
            "GroupVersionParsingFailed",
        ),
        (
            "NamespaceDeletionContentFailure",
            said("Failed to delete all resource types, ", outcome.deletion_failures.clone()).ok_or((
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            )),
            "ContentDeletionFailed",
        ),
        (
            "NamespaceContentRemaining",
            said("Some resources are remaining: ", resources.collect())
                .ok_or(("ContentRemoved", "All content successfully removed")),
            "SomeResourcesRemain",
        ),
        (
            "NamespaceFinalizersRemaining",
            said("Some content in the namespace has finalizers remaining: ", waiting)
                .ok_or(("ContentHasNoFinalizers", "All content-preserving finalizers finished")),
            "SomeFinalizersRemain",
        ),
    ];
    let mut conditions = old;
    for (type_, verdict, trouble) in wanted {
        let (status, reason, message) = match verdict {
            Ok(message) => ("True", trouble, message),
            Err((reason, message)) => ("False", reason, message.to_owned()),
        };
        let known = conditions.iter().position(|condition| condition.type_ == type_);
        let since = known
            .and_then(|index| conditions.get(index))
            .filter(|condition| condition.status == status)
            .and_then(|condition| condition.last_transition_time.clone());
        let condition = NamespaceCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(since.unwrap_or_else(|| time(now))),
        };
        match known.and_then(|index| conditions.get_mut(index)) {
            Some(slot) => *slot = condition,
            None => conditions.push(condition),
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, plural: &str, verbs: &[&str], namespaced: bool) -> ServedResource {
        ServedResource {
            group: group.into(),
            version: "v1".into(),
            plural: plural.into(),
            namespaced,
            verbs: verbs.iter().map(ToString::to_string).collect(),
            ..ServedResource::default()
        }
    }

    fn item(finalizers: &[&str]) -> Item {
        let finalizers = Some(finalizers.iter().map(ToString::to_string).collect());
        Item { metadata: ObjectMeta { finalizers, ..ObjectMeta::default() } }
    }

    fn find<'a>(conditions: &'a [NamespaceCondition], type_: &str) -> &'a NamespaceCondition {
        conditions.iter().find(|condition| condition.type_ == type_).unwrap()
    }

    #[test]
    fn pods_go_first_and_only_namespaced_deletable_resources_go_at_all() {
        let all = ["delete", "list"];
        let resources = vec![
            resource("apps", "deployments", &all, true),
            resource("", "pods", &all, true),
            resource("", "nodes", &all, false),
            resource("", "bindings", &["create"], true),
        ];
        let [first, rest] = stages(Discovered { resources, failed: Vec::new() });
        assert_eq!(first.iter().map(|one| &*one.plural).collect::<Vec<_>>(), ["pods"]);
        assert_eq!(rest.iter().map(|one| &*one.plural).collect::<Vec<_>>(), ["deployments"]);
    }

    #[test]
    fn conditions_tell_what_remains_and_which_finalizers_hold_it() {
        let pods = remaining(&resource("", "pods", &[], true), &[item(&["a/b"]), item(&[])]).unwrap();
        let jobs = remaining(&resource("batch", "jobs", &[], true), &[item(&["a/b"])]).unwrap();
        let outcome = Outcome { remaining: vec![pods, jobs], ..Outcome::default() };
        let conditions = conditions(Vec::new(), &outcome, Timestamp::UNIX_EPOCH);

        let content = find(&conditions, "NamespaceContentRemaining");
        assert_eq!((&*content.status, content.reason.as_deref()), ("True", Some("SomeResourcesRemain")));
        assert_eq!(
            content.message.as_deref(),
            Some(
                "Some resources are remaining: pods. has 2 resource instances, jobs.batch has 1 resource instances"
            )
        );
        assert_eq!(
            find(&conditions, "NamespaceFinalizersRemaining").message.as_deref(),
            Some("Some content in the namespace has finalizers remaining: a/b in 2 resource instances")
        );
        assert_eq!(
            find(&conditions, "NamespaceDeletionDiscoveryFailure").reason.as_deref(),
            Some("ResourcesDiscovered")
        );
        assert_eq!(find(&conditions, "NamespaceDeletionContentFailure").status, "False");
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let failed =
            Outcome { discovery_failures: vec!["metrics.k8s.io/v1: stale".into()], ..Outcome::default() };
        let before = conditions(Vec::new(), &failed, Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(60).unwrap();
        let same = conditions(before.clone(), &failed, later);
        assert_eq!(before, same);
        let healed = conditions(before, &Outcome::default(), later);
        assert_eq!(
            find(&healed, "NamespaceDeletionDiscoveryFailure").last_transition_time,
            Some(time(later))
        );
        assert_eq!(
            find(&healed, "NamespaceContentRemaining").last_transition_time,
            Some(time(Timestamp::UNIX_EPOCH))
        );
    }
}
