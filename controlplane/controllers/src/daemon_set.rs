//! The daemon set controller: one pod on each node that fits.
//!
//! 1. Claim pods; bring the revision history up to date.
//! 2. Plan ([`plan`], pure): pods for nodes without, none for nodes that no longer fit, and a rolling update.
//! 3. Act and report.
//!
//! Pods are bound to their node by an affinity that only that node matches, and placed by the scheduler.

mod plan;
mod pod;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use futures::future::{join, join_all, join3};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::Context;
use crate::api::Error;
use crate::clock::{Clock, sooner};
use crate::events::{Note, Recorder};
use crate::history::{self, History, REVISION_LABEL};
use crate::informers::Informer;
use crate::ownership::{claim_all, wake_itself, wake_owners};
use crate::pod_control;
use crate::pods;
use crate::queue::{Key, Queue};
use plan::{Observed, Plan, plan};

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        sets: context.informers.of(),
        pods: context.informers.of(),
        nodes: context.informers.of(),
        revisions: context.informers.of(),
        recorder: context.recorder.named("daemonset-controller"),
        clock: context.clock.clone(),
        queue: context.queue("daemonset"),
    };
    wake_itself(&controller.sets, &controller.queue);
    wake_owners(&controller.pods, &controller.sets, &controller.queue, |set: &DaemonSet| {
        set.spec.as_ref().map(|spec| Cow::Borrowed(&spec.selector))
    });
    controller.wake_on_nodes();
    let shutdown = context.shutdown.clone();
    async move {
        let synced = join(
            join3(controller.sets.synced(), controller.pods.synced(), controller.nodes.synced()),
            controller.revisions.synced(),
        );
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = synced => {}
        }
        controller.queue.run(5, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller {
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    recorder: Recorder,
    clock: Clock,
    queue: Queue<Key>,
}

impl Controller {
    /// Nodes report themselves often; only what decides about pods matters.
    fn wake_on_nodes(&self) {
        let (sets, queue) = (self.sets.clone(), self.queue.clone());
        self.nodes.subscribe(move |change| {
            let facts = |node: &Option<Arc<Node>>| {
                let node = node.as_ref()?;
                let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone());
                Some((node.metadata.labels.clone(), taints))
            };
            if facts(&change.old) != facts(&change.new) {
                for set in sets.all() {
                    queue.add(Key::of(&*set));
                }
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(set) = self.sets.get(&key.namespace, &key.name) else { return Ok(()) };
        let Some(spec) = &set.spec else { return Ok(()) };
        if crate::selectors::is_empty(&spec.selector) {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder.tell(&*set, Note::warning("SelectingAll", message));
            return Ok(());
        }
        let all = self.pods.claimable(&set.metadata);
        let pods = claim_all(&self.sets, &*set, &spec.selector, &self.pods, all).await?;
        let collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let history = history::sync(
            &self.sets,
            &self.revisions,
            &*set,
            &spec.selector,
            &spec.template,
            (REVISION_LABEL, collisions),
        )
        .await?;

        let nodes = self.nodes.all();
        let hash = pod::hash(&history.update);
        let observed = Observed { set: &set, pods: &pods, nodes: &nodes, hash: &hash, now: self.clock.now() };
        let plan = plan(&observed);
        let recheck = plan.recheck_after;
        let outcome = self.act(&set, plan, &hash).await;
        self.report(&set, &observed, &history, recheck).await?;
        outcome?;
        self.forget_revisions(&set, &pods, &history).await
    }

    async fn act(&self, set: &DaemonSet, plan: Plan, hash: &str) -> Result<(), Error> {
        for note in plan.notes {
            self.recorder.tell(set, note);
        }
        let deletions = join_all(plan.delete.iter().map(|pod| self.delete(set, pod))).await;
        deletions.into_iter().collect::<Result<(), _>>()?;
        pods::slow_start(plan.create.len(), |index| self.create(set, plan.create.get(index), hash)).await
    }

    async fn create(&self, set: &DaemonSet, node: Option<&String>, hash: &str) -> Result<(), Error> {
        let Some(node) = node else { return Ok(()) };
        pod_control::create(&self.pods, &self.recorder, set, &pod::build(set, node, hash)).await
    }

    async fn delete(&self, set: &DaemonSet, pod: &Pod) -> Result<(), Error> {
        pod_control::delete(&self.pods, &self.recorder, set, pod).await
    }

    async fn report(
        &self,
        set: &DaemonSet,
        observed: &Observed<'_>,
        history: &History,
        recheck: Option<std::time::Duration>,
    ) -> Result<(), Error> {
        let key = Key::of(set);
        let pods = self.pods.owned(&set.metadata);
        let (mut status, next) = plan::observe(&Observed { pods: &pods, now: self.clock.now(), ..*observed });
        if history.collisions > 0 {
            status.collision_count = Some(history.collisions);
        }
        let updated = DaemonSet { status: Some(status), ..set.clone() };
        self.sets.update_status(set, &updated).await?;
        if let Some(wait) = sooner(recheck, next) {
            self.queue.add_after(key, wait);
        }
        Ok(())
    }

    async fn forget_revisions(
        &self,
        set: &DaemonSet,
        pods: &[Arc<Pod>],
        history: &History,
    ) -> Result<(), Error> {
        let hashes: HashSet<&str> = pods.iter().filter_map(|pod| pod::hash_of(pod)).collect();
        let used = history.revisions.iter().filter(|one| hashes.contains(pod::hash(one).as_str()));
        let mut live: HashSet<&str> = used.map(|one| history::name(one)).collect();
        live.insert(history::name(&history.update));
        let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
        history::truncate(&self.revisions, history, &live, limit).await
    }
}

#[cfg(test)]
mod tests;
