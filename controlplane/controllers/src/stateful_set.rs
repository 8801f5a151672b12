//! The stateful set controller: pods with names, claims and an order.
//!
//! 1. Claim pods; bring the revision history up to date.
//! 2. Plan ([`plan`], pure): create missing ordinals, replace failed pods, delete surplus ones, roll to the new
//!    revision; one pod at a time unless the set is parallel.
//! 3. Act: a pod's claims come before the pod.
//! 4. Report, and drop revisions that nobody needs.

mod identity;
mod plan;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use futures::future::{join, join3};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use kube::api::DeleteParams;

use crate::Context;
use crate::api::Error;
use crate::clock::Clock;
use crate::events::{Note, Recorder};
use crate::history::{self, History};
use crate::informers::Informer;
use crate::ownership::{claim_all, wake_itself, wake_owners};
use crate::pods;
use crate::queue::{Key, Queue};
use identity::ordinal;
use plan::{Action, Observed, plan};

/// Where a revision of a stateful set keeps its hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        sets: context.informers.of(),
        pods: context.informers.of(),
        claims: context.informers.of(),
        revisions: context.informers.of(),
        recorder: context.recorder.named("statefulset-controller"),
        clock: context.clock.clone(),
        queue: context.queue("statefulset"),
    };
    wake_itself(&controller.sets, &controller.queue);
    wake_owners(&controller.pods, &controller.sets, &controller.queue, |set: &StatefulSet| {
        set.spec.as_ref().map(|spec| Cow::Borrowed(&spec.selector))
    });
    let shutdown = context.shutdown.clone();
    async move {
        let synced = join(
            join3(controller.sets.synced(), controller.pods.synced(), controller.claims.synced()),
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
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
    recorder: Recorder,
    clock: Clock,
    queue: Queue<Key>,
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(set) = self.sets.get(&key.namespace, &key.name) else { return Ok(()) };
        let Some(spec) = &set.spec else { return Ok(()) };
        let mut mine = self.pods.claimable(&set.metadata);
        mine.retain(|pod| ordinal(&set, pod).is_some());
        let pods = claim_all(&self.sets, &*set, &spec.selector, &self.pods, mine).await?;
        let status = set.status.clone().unwrap_or_default();
        let history = history::sync(
            &self.sets,
            &self.revisions,
            &*set,
            &spec.selector,
            &spec.template,
            (HASH_LABEL, status.collision_count.unwrap_or(0)),
        )
        .await?;
        let current = status.current_revision.as_deref();
        let current = history.revisions.iter().find(|one| Some(history::name(one)) == current);
        let current = current.unwrap_or(&history.update).clone();

        let observed = Observed {
            set: &set,
            pods: &pods,
            current: history::name(&current),
            update: history::name(&history.update),
            now: self.clock.now(),
        };
        let outcome = self.act(&set, plan(&observed), &current, &history).await;
        self.report(&set, &observed, &history).await?;
        outcome?;
        self.forget_revisions(&set, &pods, &current, &history).await
    }

    async fn report(
        &self,
        set: &StatefulSet,
        observed: &Observed<'_>,
        history: &History,
    ) -> Result<(), Error> {
        let key = Key::of(set);
        let pods = self.pods.owned(&set.metadata);
        let (mut status, next) = plan::observe(&Observed { pods: &pods, now: self.clock.now(), ..*observed });
        status.collision_count = Some(history.collisions);
        let updated = StatefulSet { status: Some(status), ..set.clone() };
        self.sets.update_status(set, &updated).await?;
        if let Some(wait) = next {
            self.queue.add_after(key, wait);
        }
        Ok(())
    }

    async fn act(
        &self,
        set: &StatefulSet,
        actions: Vec<Action>,
        current: &ControllerRevision,
        history: &History,
    ) -> Result<(), Error> {
        for action in actions {
            match action {
                Action::Create { ordinal, revision } => {
                    let from = if revision == history::name(current) { current } else { &history.update };
                    let template = history::restore(from).unwrap_or_default();
                    self.create(set, &template, &revision, ordinal).await?;
                }
                Action::Delete(pod) => self.delete(set, &pod).await?,
                Action::Replace(pod) => {
                    self.tell_replacement(set, &pod);
                    self.delete(set, &pod).await?;
                }
                Action::Identify(pod) => {
                    let mut updated = Pod::clone(&pod);
                    identity::label(set, &mut updated);
                    self.pods.update(&pod, &updated).await?;
                }
                Action::TendClaims { pod, condemned } => self.tend_claims(set, &pod, condemned).await?,
            }
        }
        Ok(())
    }

    async fn create(
        &self,
        set: &StatefulSet,
        template: &PodTemplateSpec,
        revision: &str,
        ordinal: i32,
    ) -> Result<(), Error> {
        let pod = identity::pod(set, template, revision, ordinal);
        let name = pod.metadata.name.clone().unwrap_or_default();
        for claim in identity::claims(set, ordinal) {
            self.ensure_claim(set, &claim, &name).await?;
        }
        let set_name = set.metadata.name.as_deref().unwrap_or_default();
        match self.pods.create(&pod).await {
            Ok(_) => {
                let message = format!("create Pod {name} in StatefulSet {set_name} successful");
                self.recorder.tell(set, Note::normal("SuccessfulCreate", message));
                Ok(())
            }
            Err(error) if error.is_namespace_terminating() => Ok(()),
            // A pod of that name which is not ours: it must go before there can be ours.
            Err(error) => {
                let message =
                    format!("create Pod {name} in StatefulSet {set_name} failed error: {}", error.message());
                self.recorder.tell(set, Note::warning("FailedCreate", message));
                Err(error)
            }
        }
    }

    async fn ensure_claim(
        &self,
        set: &StatefulSet,
        claim: &PersistentVolumeClaim,
        pod: &str,
    ) -> Result<(), Error> {
        let key = Key::of(claim);
        if let Some(existing) = self.claims.get(&key.namespace, &key.name) {
            if existing.metadata.deletion_timestamp.is_some() {
                return Err(Error::NotYet(format!("claim {key} is still being deleted")));
            }
            return Ok(());
        }
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let subject = format!("create Claim {} Pod {pod} in StatefulSet {name}", key.name);
        match self.claims.create(claim).await {
            Ok(_) => {
                self.recorder.tell(set, Note::normal("SuccessfulCreate", format!("{subject} success")));
                Ok(())
            }
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => {
                let message = format!("{subject} failed error: {}", error.message());
                self.recorder.tell(set, Note::warning("FailedCreate", message));
                Err(error)
            }
        }
    }

    /// Creates claims that a pending pod lacks, and gives all its claims the owners that the retention policy asks.
    async fn tend_claims(&self, set: &StatefulSet, pod: &Pod, condemned: bool) -> Result<(), Error> {
        let Some(ordinal) = ordinal(set, pod) else { return Ok(()) };
        let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
        for claim in identity::claims(set, ordinal) {
            let key = Key::of(&claim);
            match self.claims.get(&key.namespace, &key.name) {
                None if pods::phase(pod) == "Pending" && !condemned => {
                    self.ensure_claim(set, &claim, pod_name).await?;
                }
                None => {}
                Some(existing) => {
                    let updated = identity::with_owner(set, pod, condemned, &existing);
                    self.claims.update(&existing, &updated).await?;
                }
            }
        }
        Ok(())
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
        let (name, set_name) = (pod.metadata.name.as_deref(), set.metadata.name.as_deref());
        let subject = format!(
            "delete Pod {} in StatefulSet {}",
            name.unwrap_or_default(),
            set_name.unwrap_or_default()
        );
        match self.pods.delete(pod, DeleteParams::default()).await {
            Ok(()) => {
                self.recorder.tell(set, Note::normal("SuccessfulDelete", format!("{subject} successful")));
                Ok(())
            }
            Err(error) => {
                let message = format!("{subject} failed error: {}", error.message());
                self.recorder.tell(set, Note::warning("FailedDelete", message));
                Err(error)
            }
        }
    }

    fn tell_replacement(&self, set: &StatefulSet, pod: &Pod) {
        let (key, name) = (Key::of(set), pod.metadata.name.as_deref().unwrap_or_default());
        self.recorder.tell(
            set,
            if pods::phase(pod) == "Failed" {
                Note::warning(
                    "RecreatingFailedPod",
                    format!("StatefulSet {key} is recreating failed Pod {name}"),
                )
            } else {
                Note::normal(
                    "RecreatingTerminatedPod",
                    format!("StatefulSet {key} is recreating terminated Pod {name}"),
                )
            },
        );
    }

    async fn forget_revisions(
        &self,
        set: &StatefulSet,
        pods: &[Arc<Pod>],
        current: &ControllerRevision,
        history: &History,
    ) -> Result<(), Error> {
        let mut live: HashSet<&str> = pods.iter().filter_map(|pod| identity::revision(pod)).collect();
        live.extend([history::name(current), history::name(&history.update)]);
        let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
        history::truncate(&self.revisions, history, &live, limit).await
    }
}

#[cfg(test)]
mod tests;
