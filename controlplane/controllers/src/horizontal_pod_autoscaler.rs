//! The horizontal pod autoscaler: as many replicas as metrics ask for.
//!
//! Every 15 seconds, and when an autoscaler is new or changed:
//! 1. Read the target's scale.
//! 2. Ask each metric how many replicas it wants ([`evaluate`]); the highest number counts.
//! 3. Follow it as fast as windows and policies allow ([`behavior`]).
//! 4. Write the scale, and report.
//!
//! What was wished for and done lately is remembered here only, as upstream does.

mod behavior;
mod evaluate;
mod metrics;
mod replicas;
mod report;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::Context;
use crate::api::Error;
use crate::clock::Clock;
use crate::events::{Note, Recorder};
use crate::informers::{Change, Informer};
use crate::queue::{Key, Queue};
use crate::scale::{Scales, Target};
use crate::selectors;
use behavior::{Behavior, Bounds, Memory, Verdict};
use evaluate::{Evaluated, Evaluator};
use metrics::Metrics;
use report::Report;

/// How often metrics are asked for.
const PERIOD: Duration = Duration::from_secs(15);

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let autoscaler = Autoscaler {
        autoscalers: context.informers.of(),
        pods: context.informers.of(),
        scales: Scales::new(context.api.clone()),
        metrics: Metrics::new(context.api.clone()),
        recorder: context.recorder.named("horizontal-pod-autoscaler"),
        clock: context.clock.clone(),
        memories: Mutex::default(),
        queue: context.queue("horizontalpodautoscaler"),
    };
    let queue = autoscaler.queue.clone();
    autoscaler.autoscalers.subscribe(move |Change { old, new }| {
        let same = |old: &Arc<HorizontalPodAutoscaler>| new.as_ref().is_some_and(|new| new.spec == old.spec);
        if old.as_ref().is_none_or(|old| !same(old))
            && let Some(autoscaler) = new.as_ref().or(old.as_ref())
        {
            queue.add(Key::of(&**autoscaler));
        }
    });
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join(autoscaler.autoscalers.synced(), autoscaler.pods.synced()) => {}
        }
        autoscaler.queue.run(5, &shutdown, |key| autoscaler.reconcile(key)).await;
    }
}

/// What is remembered of one autoscaler.
#[derive(Default)]
struct Remembered {
    memory: Memory,
    /// The selector of its target, once known.
    selector: Option<LabelSelector>,
}

struct Autoscaler {
    autoscalers: Informer<HorizontalPodAutoscaler>,
    pods: Informer<Pod>,
    scales: Scales,
    metrics: Metrics,
    recorder: Recorder,
    clock: Clock,
    memories: Mutex<HashMap<Key, Remembered>>,
    queue: Queue<Key>,
}

impl Autoscaler {
    fn memories(&self) -> MutexGuard<'_, HashMap<Key, Remembered>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(autoscaler) = self.autoscalers.get(&key.namespace, &key.name) else {
            self.memories().remove(&key);
            return Ok(());
        };
        if autoscaler.metadata.deletion_timestamp.is_none() {
            let mut report = Report::new(&autoscaler, self.clock.now());
            self.autoscale(&autoscaler, &key, &mut report).await;
            self.tell(&autoscaler, report).await?;
        }
        self.queue.add_after(key, PERIOD);
        Ok(())
    }

    async fn tell(&self, autoscaler: &HorizontalPodAutoscaler, report: Report) -> Result<(), Error> {
        for note in report.notes {
            self.recorder.tell(autoscaler, note);
        }
        let updated = HorizontalPodAutoscaler { status: Some(report.status), ..autoscaler.clone() };
        let outcome = self.autoscalers.update_status(autoscaler, &updated).await;
        if let Err(error) = &outcome
            && !error.is_not_found()
        {
            self.recorder.tell(autoscaler, Note::warning("FailedUpdateStatus", error.message()));
        }
        outcome
    }

    async fn autoscale(&self, autoscaler: &HorizontalPodAutoscaler, key: &Key, report: &mut Report) {
        let spec = &autoscaler.spec;
        let target = Target {
            api_version: spec.scale_target_ref.api_version.as_deref().unwrap_or_default(),
            kind: &spec.scale_target_ref.kind,
            namespace: &key.namespace,
            name: &spec.scale_target_ref.name,
        };
        let scale = match self.scales.get(target).await {
            Ok(Some(scale)) => scale,
            Ok(None) => {
                let resource = self.scales.resource(target).await.map(|one| one.group_resource());
                let resource = resource.unwrap_or_default();
                return report.no_scale(&format!("{resource} {:?} not found", target.name));
            }
            Err(error) => return report.no_scale(&error.message()),
        };
        report.able(
            true,
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        );

        let now = self.clock.now();
        let current = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let bounds = Bounds { current, min: spec.min_replicas.unwrap_or(1), max: spec.max_replicas };
        self.memories().entry(key.clone()).or_default().memory.begin(current, now);
        let behavior = Behavior::read(spec.behavior.as_ref());
        let (desired, reason) = if current == 0 && bounds.min != 0 {
            report.active(false, "ScalingDisabled", report::DISABLED);
            (0, String::new())
        } else if current > bounds.max {
            (bounds.max, "Current number of replicas above Spec.MaxReplicas".to_owned())
        } else if current < bounds.min {
            (bounds.min, "Current number of replicas below Spec.MinReplicas".to_owned())
        } else {
            let Some(found) = self.evaluate(autoscaler, key, &scale, now, report).await else {
                report.status.current_replicas = Some(current);
                return;
            };
            report.status.current_metrics = Some(found.statuses);
            let verdict = self.judge(key, &behavior, bounds, found.replicas, now);
            report.judged(&verdict);
            let reason = report::reason(found.replicas, current, &found.metric);
            (verdict.replicas, reason)
        };
        let resized = desired != current;
        if resized {
            if let Err(error) = self.scales.set(target, &scale, desired).await {
                report.status.current_replicas = Some(current);
                return report.not_resized(desired, &reason, &error.message());
            }
            report.resized(desired, &reason);
            self.memories().entry(key.clone()).or_default().memory.changed(&behavior, current, desired, now);
        }
        report.counted(current, desired, resized);
    }

    fn judge(&self, key: &Key, behavior: &Behavior, bounds: Bounds, desired: i32, now: Timestamp) -> Verdict {
        self.memories().entry(key.clone()).or_default().memory.judge(behavior, bounds, desired, now)
    }

    /// What the metrics ask for; `None`, and reported, if they do not say.
    async fn evaluate(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        key: &Key,
        scale: &Scale,
        now: Timestamp,
        report: &mut Report,
    ) -> Option<Evaluated> {
        let text = scale.status.as_ref().and_then(|status| status.selector.clone()).unwrap_or_default();
        let pods = match self.select(key, &text) {
            Ok(pods) => pods,
            Err(unusable) => {
                report.unusable_selector(&unusable);
                return None;
            }
        };
        let evaluator = Evaluator {
            metrics: &self.metrics,
            scales: &self.scales,
            autoscaler,
            selector: &text,
            pods: &pods,
            spec_replicas: scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0),
            status_replicas: scale.status.as_ref().map_or(0, |status| status.replicas),
            now,
        };
        evaluator.run(report).await
    }

    /// The pods of the target, which no other autoscaler may scale.
    fn select(&self, key: &Key, text: &str) -> Result<Vec<Arc<Pod>>, report::Unusable> {
        if text.is_empty() {
            return Err(report::Unusable::Missing);
        }
        let selector =
            selectors::parse(text).map_err(|error| report::Unusable::Malformed(error.to_string()))?;
        let mut pods = self.pods.list(&key.namespace);
        pods.retain(|pod| selectors::matches(&selector, pod.metadata.labels.as_ref()));
        let mut memories = self.memories();
        memories.entry(key.clone()).or_default().selector = Some(selector);
        let mut rivals: Vec<Key> = memories
            .iter()
            .filter(|(other, _)| other.namespace == key.namespace)
            .filter(|(_, remembered)| {
                let selects = |selector: &LabelSelector| {
                    pods.iter().any(|pod| selectors::matches(selector, pod.metadata.labels.as_ref()))
                };
                remembered.selector.as_ref().is_some_and(selects)
            })
            .map(|(other, _)| other.clone())
            .collect();
        rivals.sort();
        if rivals.len() > 1 {
            return Err(report::Unusable::Ambiguous { selector: text.to_owned(), rivals });
        }
        Ok(pods)
    }
}
