//! The deployment controller: rolls pods from one template to the next.
//!
//! 1. Claim the replica sets that match the selector.
//! 2. Plan: undo, scale, roll or recreate, clean up, judge the progress ([`plan`], pure).
//! 3. Create, update and delete replica sets, then report.
//!
//! A replica set stands for one template: its name and `pod-template-hash` label derive from it. How often two
//! templates had one hash is counted in the status, so that even then names are found again after a restart.

mod progress;
mod revisions;
mod rollout;
mod scaling;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use futures::future::join3;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;

use crate::Context;
use crate::api::Error;
use crate::clock::Clock;
use crate::events::{Note, Recorder};
use crate::informers::Informer;
use crate::ownership::{claim_all, controller_name, is_controlled_by, wake_itself, wake_owners};
use crate::pods;
use crate::queue::{Key, Queue};
use crate::selectors;
use rollout::{Observed, Plan, Planned, plan};

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        deployments: context.informers.of(),
        sets: context.informers.of(),
        pods: context.informers.of(),
        recorder: context.recorder.named("deployment-controller"),
        clock: context.clock.clone(),
        queue: context.queue("deployment"),
    };
    wake_itself(&controller.deployments, &controller.queue);
    wake_owners(&controller.sets, &controller.deployments, &controller.queue, |deployment: &Deployment| {
        deployment.spec.as_ref().map(|spec| Cow::Borrowed(&spec.selector))
    });
    controller.wake_on_last_pod();
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join3(controller.deployments.synced(), controller.sets.synced(), controller.pods.synced()) => {}
        }
        controller.queue.run(5, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller {
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    recorder: Recorder,
    clock: Clock,
    queue: Queue<Key>,
}

impl Controller {
    /// A recreating deployment waits for old pods to be gone, which no replica set's status tells.
    fn wake_on_last_pod(&self) {
        let (sets, deployments, queue) = (self.sets.clone(), self.deployments.clone(), self.queue.clone());
        self.pods.subscribe(move |change| {
            let gone = change.new.as_ref().is_none_or(|pod| pods::is_finished(pod));
            let Some(pod) = change.old.as_ref().filter(|_| gone) else { return };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let set = controller_name::<ReplicaSet>(&pod.metadata).and_then(|name| sets.get(namespace, name));
            let owner = set.as_ref().and_then(|set| controller_name::<Deployment>(&set.metadata));
            if let Some(name) = owner
                && deployments.get(namespace, name).is_some_and(|deployment| rollout::recreates(&deployment))
            {
                queue.add(Key::new(namespace, name));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(deployment) = self.deployments.get(&key.namespace, &key.name) else { return Ok(()) };
        let Some(spec) = &deployment.spec else { return Ok(()) };
        if selectors::is_empty(&spec.selector) {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.recorder.tell(&*deployment, Note::warning("SelectingAll", message));
            return self.report(&deployment, &rollout::seen(&deployment)).await;
        }

        let candidates = self.sets.claimable(&deployment.metadata);
        let sets = claim_all(&self.deployments, &*deployment, &spec.selector, &self.sets, candidates).await?;
        let running = self.with_running_pods(&sets);
        let now = self.clock.now();
        let plan = plan(&Observed { deployment: &deployment, sets, running: &running, now });
        let after = plan.recheck_after;
        Box::pin(self.act(&deployment, plan)).await?;
        if let Some(wait) = after {
            self.queue.add_after(key, wait);
        }
        Ok(())
    }

    /// The uids of those sets that have pods which have not ended.
    fn with_running_pods(&self, sets: &[Arc<ReplicaSet>]) -> HashSet<String> {
        let runs =
            |set: &&Arc<ReplicaSet>| self.pods.owned(&set.metadata).iter().any(|pod| !pods::is_finished(pod));
        sets.iter().filter(runs).filter_map(|set| set.metadata.uid.clone()).collect()
    }

    async fn act(&self, observed: &Arc<Deployment>, plan: Plan) -> Result<(), Error> {
        for Planned { observed: before, set, doomed } in &plan.sets {
            match before {
                None => self.create(observed, set).await?,
                Some(before) if *doomed => self.sets.delete(before, DeleteParams::default()).await?,
                Some(before) => self.sets.update(before, set).await?,
            }
        }
        for note in plan.notes {
            self.recorder.tell(&**observed, note);
        }
        self.deployments
            .update(observed, &plan.rolled_back.unwrap_or_else(|| Deployment::clone(observed)))
            .await?;
        self.report(observed, &plan.deployment).await
    }

    /// Writes status, conditions and the revision annotation, none of which is a change of the specification.
    async fn report(&self, observed: &Deployment, planned: &Deployment) -> Result<(), Error> {
        self.deployments.update_status(observed, planned).await
    }

    async fn create(&self, deployment: &Deployment, set: &ReplicaSet) -> Result<(), Error> {
        let error = match self.sets.create(set).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_namespace_terminating() => return Err(error),
            Err(error) => error,
        };
        if error.is_already_exists() {
            return self.resolve_collision(deployment, set).await;
        }
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Failed to create new replica set {name:?}: {}", error.message());
        self.recorder.tell(deployment, Note::warning("ReplicaSetCreateError", message.clone()));
        self.report(deployment, &progress::failed_to_create(deployment, &message, self.clock.now())).await?;
        Err(error)
    }

    /// Another set has the name: fine if it is ours and the same; otherwise the next attempt hashes differently.
    async fn resolve_collision(&self, deployment: &Deployment, set: &ReplicaSet) -> Result<(), Error> {
        let meta = &set.metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        let Some(existing) = self.sets.fetch(namespace, name).await? else {
            return Err(Error::NotYet(format!("replica set {name} came and went")));
        };
        let ours = is_controlled_by(&existing.metadata, &deployment.metadata);
        if ours && revisions::is_same_template(deployment, &existing) {
            return Err(Error::NotYet(format!("replica set {name} exists already and is about to be seen")));
        }
        let mut counted = deployment.clone();
        let status = counted.status.get_or_insert_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.report(deployment, &counted).await?;
        Err(Error::NotYet(format!("the hash of replica set {name} is taken")))
    }
}

#[cfg(test)]
mod tests;
