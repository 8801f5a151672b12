//! The disruption controller: how many pods of a budget may be evicted now.
//!
//! 1. How many pods there should be: counted, or asked from whatever controls them.
//! 2. How many are healthy, without those about to go.
//! 3. Report; the API server's eviction handler counts down from there.
//!
//! A pod whose eviction was announced (`DisruptionTarget`) but that is still not deleted two minutes later
//! gets that condition set to false.

mod plan;
mod stale;

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::{join, join5};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::Context;
use crate::api::Error;
use crate::clock::Clock;
use crate::events::{Note, Recorder};
use crate::informers::{Change, Informer, Object};
use crate::ownership::{controller_name, controller_of};
use crate::queue::{Key, Queue};
use crate::replica_set::replicas;
use crate::scale::{Scales, Target};
use plan::{Expected, Observed, Scale};

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        budgets: context.informers.of(),
        pods: context.informers.of(),
        controllers: context.informers.of(),
        sets: context.informers.of(),
        deployments: context.informers.of(),
        stateful_sets: context.informers.of(),
        scales: Scales::new(context.api.clone()),
        recorder: context.recorder.named("controllermanager"),
        clock: context.clock.clone(),
        queue: context.queue("disruption"),
    };
    crate::ownership::wake_itself(&controller.budgets, &controller.queue);
    controller.wake_on_pods();
    let (shutdown, clock) = (context.shutdown.clone(), context.clock.clone());
    let (pods, stale) = (controller.pods.clone(), context.queue("stale_pod_disruption"));
    stale::subscribe(&pods, &clock, &stale);
    async move {
        let synced = join(
            join5(
                controller.budgets.synced(),
                controller.pods.synced(),
                controller.controllers.synced(),
                controller.sets.synced(),
                controller.deployments.synced(),
            ),
            controller.stateful_sets.synced(),
        );
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = synced => {}
        }
        join(
            controller.queue.run(1, &shutdown, |key| controller.reconcile(key)),
            stale.run(1, &shutdown, |key| stale::reset(&pods, &clock, &stale, key)),
        )
        .await;
    }
}

struct Controller {
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    controllers: Informer<ReplicationController>,
    sets: Informer<ReplicaSet>,
    deployments: Informer<Deployment>,
    stateful_sets: Informer<StatefulSet>,
    scales: Scales,
    recorder: Recorder,
    clock: Clock,
    queue: Queue<Key>,
}

impl Controller {
    /// Queues the budgets that a pod belongs to, or belonged to.
    fn wake_on_pods(&self) {
        let (budgets, queue, recorder) = (self.budgets.clone(), self.queue.clone(), self.recorder.clone());
        self.pods.subscribe(move |Change { old, new }| {
            let Some(pod) = new.as_ref().or(old.as_ref()) else { return };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let mut of_now = Vec::new();
            for budget in budgets.list(namespace) {
                let covers = |pod: &Arc<Pod>| plan::covers(&budget, pod);
                if [old, new].into_iter().flatten().any(covers) {
                    queue.add(Key::of(&*budget));
                }
                if covers(pod) {
                    of_now.push(budget);
                }
            }
            let relabelled =
                old.as_ref().is_none_or(|old| old.metadata.labels != pod.metadata.labels) && new.is_some();
            if let [first, _, ..] = &of_now[..]
                && relabelled
            {
                let message = format!(
                    "Pod {namespace:?}/{:?} matches multiple PodDisruptionBudgets.  Chose {:?} arbitrarily.",
                    pod.metadata.name.as_deref().unwrap_or_default(),
                    first.metadata.name.as_deref().unwrap_or_default()
                );
                recorder.tell(&**pod, Note::warning("MultiplePodDisruptionBudgets", message));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(budget) = self.budgets.get(&key.namespace, &key.name) else { return Ok(()) };
        let mut pods = self.pods.list(&key.namespace);
        pods.retain(|pod| plan::covers(&budget, pod));
        if pods.is_empty() {
            self.recorder.tell(&*budget, Note::normal("NoPods", "No matching pods found"));
        }
        let now = self.clock.now();
        let planned = match self.expected(&budget, &pods, &key.namespace).await {
            Ok(expected) => {
                if expected.has_unmanaged {
                    self.recorder.tell(&*budget, Note::warning("UnmanagedPods", plan::unmanaged(&budget)));
                }
                plan::plan(&Observed { budget: &budget, pods: &pods, expected, now })
            }
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.recorder.tell(&*budget, Note::warning("CalculateExpectedPodCountFailed", message));
                plan::fail_safe(&budget, &why, now)
            }
        };
        for pod in &planned.overdue {
            // Upstream names the namespace twice; the words are those that people search for.
            let message =
                format!("Pod was expected by PDB {0}/{0} to be deleted but it wasn't", key.namespace);
            self.recorder.tell(&**pod, Note::warning("NotDeleted", message));
        }
        self.budgets.update_status(&budget, &planned.budget).await?;
        if let Some(wait) = planned.recheck_after {
            self.queue.add_after(key, wait);
        }
        Ok(())
    }

    /// How many pods there should be; the failure is in words for the condition.
    async fn expected(
        &self,
        budget: &PodDisruptionBudget,
        pods: &[Arc<Pod>],
        namespace: &str,
    ) -> Result<Expected, String> {
        let mut scales: HashMap<String, i32> = HashMap::new();
        let mut has_unmanaged = false;
        if plan::needs_scale(budget) {
            for pod in pods {
                let Some(owner) = controller_of(&pod.metadata) else {
                    has_unmanaged = true;
                    continue;
                };
                if scales.contains_key(&owner.uid) {
                    continue;
                }
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                let scale = self.scale(owner, namespace).await?;
                let Scale { uid, replicas } =
                    scale.ok_or_else(|| format!("found no controllers for pod {name:?}"))?;
                scales.insert(uid, replicas);
            }
        }
        Ok(plan::expected(budget, pods.len(), scales.into_values(), has_unmanaged))
    }

    /// What the controller of a pod asks for; replica sets answer for their deployments.
    async fn scale(&self, owner: &OwnerReference, namespace: &str) -> Result<Option<Scale>, String> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, owner.kind.as_str()) {
            ("", "ReplicationController") => {
                let found = known(&self.controllers, namespace, owner);
                Ok(found.map(|one| {
                    Scale::of(&*one, one.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
                }))
            }
            ("apps" | "extensions", "ReplicaSet") => {
                let Some(set) = known(&self.sets, namespace, owner) else { return Ok(None) };
                let deployment = controller_name::<Deployment>(&set.metadata)
                    .and_then(|name| self.deployments.get(namespace, name))
                    .filter(|one| controller_of(&set.metadata).map(|o| &o.uid) == one.metadata.uid.as_ref());
                Ok(match (deployment, controller_name::<Deployment>(&set.metadata)) {
                    (Some(one), _) => {
                        Some(Scale::of(&*one, one.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)))
                    }
                    (None, Some(_)) => None,
                    (None, None) => Some(Scale::of(&*set, replicas(&set))),
                })
            }
            ("apps", "StatefulSet") => {
                let found = known(&self.stateful_sets, namespace, owner);
                Ok(found.map(|one| {
                    Scale::of(&*one, one.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
                }))
            }
            _ => {
                let target = Target {
                    api_version: &owner.api_version,
                    kind: &owner.kind,
                    namespace,
                    name: &owner.name,
                };
                let scale = self.scales.get(target).await.map_err(|error| error.message())?;
                let scale = scale.filter(|scale| scale.metadata.uid.as_ref() == Some(&owner.uid));
                Ok(scale.map(|scale| {
                    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
                    Scale::of(&scale, replicas)
                }))
            }
        }
    }
}

fn known<K: Object>(informer: &Informer<K>, namespace: &str, owner: &OwnerReference) -> Option<Arc<K>> {
    informer.get(namespace, &owner.name).filter(|one| one.meta().uid.as_ref() == Some(&owner.uid))
}
