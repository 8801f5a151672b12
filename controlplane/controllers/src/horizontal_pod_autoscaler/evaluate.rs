//! What the metrics of an autoscaler ask for, one after the other.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, ContainerResourceMetricStatus, ExternalMetricSource, ExternalMetricStatus,
    HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricSource,
    ObjectMetricStatus, PodsMetricSource, PodsMetricStatus, ResourceMetricSource, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use vkube_usage::quantity::{Format, Quantity};

use super::behavior::tolerances;
use super::metrics::Metrics;
use super::replicas::{self, Proposal, Utilization, Workload};
use super::report::Report;
use crate::scale::{Scales, Target};
use crate::selectors::shown;

/// What the metrics ask for.
pub(super) struct Evaluated {
    pub replicas: i32,
    /// The metric that asks for most.
    pub metric: String,
    pub statuses: Vec<MetricStatus>,
}

/// One metric's answer.
struct Answer {
    replicas: i32,
    metric: String,
    status: MetricStatus,
}

/// Why a metric has no answer: for the condition and the event, and for the sum of all failures.
struct Failure {
    reason: &'static str,
    why: String,
    context: String,
}

/// All that evaluating takes.
pub(super) struct Evaluator<'a> {
    pub metrics: &'a Metrics,
    pub scales: &'a Scales,
    pub autoscaler: &'a HorizontalPodAutoscaler,
    /// The selector of the target's pods, as its scale tells it.
    pub selector: &'a str,
    pub pods: &'a [Arc<Pod>],
    pub spec_replicas: i32,
    pub status_replicas: i32,
    pub now: Timestamp,
}

fn milli(target: Option<&Text>) -> Option<i64> {
    Quantity::parse(&target?.0).ok().map(|amount| amount.milli_value())
}

fn text(milli: i64) -> Text {
    Text(Quantity::from_milli(milli, Format::Decimal).to_string())
}

fn average(proposal: Proposal) -> MetricValueStatus {
    MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(text(proposal.usage)),
        value: None,
    }
}

fn value(proposal: Proposal) -> MetricValueStatus {
    MetricValueStatus { value: Some(text(proposal.usage)), ..MetricValueStatus::default() }
}

/// The selector of a metric, as in URLs.
fn query(selector: Option<&LabelSelector>) -> Result<String, String> {
    let Some(selector) = selector.cloned() else { return Ok(String::new()) };
    Selector::try_from(selector).map(|selector| selector.to_string()).map_err(|error| error.to_string())
}

fn named(type_: &str) -> MetricStatus {
    MetricStatus { type_: type_.to_owned(), ..MetricStatus::default() }
}

impl Evaluator<'_> {
    /// Asks all metrics; `None`, and reported, if too few answer.
    ///
    /// Where some do not answer, the others are followed as long as they do not ask for fewer replicas.
    pub async fn run(&self, report: &mut Report) -> Option<Evaluated> {
        let specs = self.autoscaler.spec.metrics.clone().unwrap_or_default();
        let mut found = Evaluated { replicas: 0, metric: String::new(), statuses: Vec::new() };
        let (mut failures, mut first) = (0, None);
        for spec in &specs {
            match self.metric(spec).await {
                Ok(answer) => {
                    if found.replicas == 0 || answer.replicas > found.replicas {
                        (found.replicas, found.metric) = (answer.replicas, answer.metric);
                    }
                    found.statuses.push(answer.status);
                }
                Err(failure) => {
                    report.no_metric(failure.reason, &failure.why);
                    found.statuses.push(MetricStatus::default());
                    failures += 1;
                    first.get_or_insert(failure);
                }
            }
        }
        if let Some(failure) = first
            && (failures >= specs.len() || found.replicas < self.spec_replicas)
        {
            let message = format!("the HPA was unable to compute the replica count: {}", failure.why);
            report.active(false, failure.reason, &message);
            report.no_metrics(&format!(
                "invalid metrics ({failures} invalid out of {}), first error is: {}",
                specs.len(),
                failure.context
            ));
            return None;
        }
        let message =
            format!("the HPA was able to successfully calculate a replica count from {}", found.metric);
        report.active(true, "ValidMetricFound", &message);
        Some(found)
    }

    async fn metric(&self, spec: &MetricSpec) -> Result<Answer, Failure> {
        match spec {
            MetricSpec { resource: Some(source), .. } => self.resource(source).await,
            MetricSpec { container_resource: Some(source), .. } => self.container(source).await,
            MetricSpec { pods: Some(source), .. } => self.per_pod(source).await,
            MetricSpec { object: Some(source), .. } => self.object(source).await,
            MetricSpec { external: Some(source), .. } => self.external(source).await,
            other => {
                let why = format!("unknown metric source type {:?}", other.type_);
                Err(Failure { reason: "InvalidMetricSourceType", context: why.clone(), why })
            }
        }
    }

    fn namespace(&self) -> &str {
        self.autoscaler.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn workload(&self) -> Workload<'_> {
        let behavior = self.autoscaler.spec.behavior.as_ref();
        Workload {
            replicas: self.spec_replicas,
            pods: self.pods,
            tolerances: tolerances(behavior),
            now: self.now,
        }
    }

    async fn resource(&self, source: &ResourceMetricSource) -> Result<Answer, Failure> {
        let failure = |why: String| Failure {
            reason: "FailedGetResourceMetric",
            context: format!("failed to get {} resource metric value: {why}", source.name),
            why,
        };
        let proposal = self.usage(&source.name, None, &source.target).await.map_err(failure)?;
        let metric = match proposal.utilization {
            None => format!("{} resource", source.name),
            Some(_) => format!("{} resource utilization (percentage of request)", source.name),
        };
        let status = ResourceMetricStatus { name: source.name.clone(), current: average(proposal) };
        let status = MetricStatus { resource: Some(status), ..named("Resource") };
        Ok(Answer { replicas: proposal.replicas, metric, status })
    }

    async fn container(&self, source: &ContainerResourceMetricSource) -> Result<Answer, Failure> {
        let failure = |why: String| Failure {
            reason: "FailedGetContainerResourceMetric",
            context: format!("failed to get {} container metric value: {why}", source.container),
            why,
        };
        let container = Some(source.container.as_str());
        let proposal = self.usage(&source.name, container, &source.target).await.map_err(failure)?;
        let metric = match proposal.utilization {
            None => format!("{} resource", source.name),
            Some(_) => format!("{} container resource utilization (percentage of request)", source.name),
        };
        let status = ContainerResourceMetricStatus {
            name: source.name.clone(),
            container: source.container.clone(),
            current: average(proposal),
        };
        let status = MetricStatus { container_resource: Some(status), ..named("ContainerResource") };
        Ok(Answer { replicas: proposal.replicas, metric, status })
    }

    async fn usage(
        &self,
        resource: &str,
        container: Option<&str>,
        target: &MetricTarget,
    ) -> Result<Proposal, String> {
        if target.average_value.is_none() && target.average_utilization.is_none() {
            return Err(
                "invalid resource metric source: neither an average utilization target nor an average \
                        value target was set"
                    .to_owned(),
            );
        }
        let context = |why: String| format!("failed to get {resource} utilization: {why}");
        let samples = self.metrics.resource(self.namespace(), self.selector, resource, container).await;
        let samples = samples
            .map_err(|error| context(format!("unable to get metrics for resource {resource}: {error}")))?;
        let proposal = match (milli(target.average_value.as_ref()), target.average_utilization) {
            (Some(average), _) => replicas::by_average(&self.workload(), samples, average, resource == "cpu"),
            (None, percentage) => {
                let wanted = Utilization { resource, container, target: percentage.unwrap_or(1) };
                replicas::by_utilization(&self.workload(), samples, wanted)
            }
        };
        proposal.map_err(|error| context(error.to_string()))
    }

    async fn per_pod(&self, source: &PodsMetricSource) -> Result<Answer, Failure> {
        let failure = |why: String| Failure {
            reason: "FailedGetPodsMetric",
            context: format!("failed to get pods metric value: {why}"),
            why,
        };
        let name = &source.metric.name;
        let selector = query(source.metric.selector.as_ref()).map_err(failure)?;
        let samples = self.metrics.of_pods(self.namespace(), self.selector, name, &selector).await;
        let samples = samples.map_err(|error| failure(format!("unable to get metric {name}: {error}")))?;
        let target = milli(source.target.average_value.as_ref()).unwrap_or(1);
        let proposal = replicas::by_average(&self.workload(), samples, target, false)
            .map_err(|error| failure(error.to_string()))?;
        let status = PodsMetricStatus { metric: source.metric.clone(), current: average(proposal) };
        let status = MetricStatus { pods: Some(status), ..named("Pods") };
        Ok(Answer { replicas: proposal.replicas, metric: format!("pods metric {name}"), status })
    }

    async fn object(&self, source: &ObjectMetricSource) -> Result<Answer, Failure> {
        let failure = |why: String| Failure {
            reason: "FailedGetObjectMetric",
            context: format!("failed to get object metric value: {why}"),
            why,
        };
        let (name, object) = (&source.metric.name, &source.described_object);
        let selector = query(source.metric.selector.as_ref()).map_err(failure)?;
        let target = Target {
            api_version: object.api_version.as_deref().unwrap_or_default(),
            kind: &object.kind,
            namespace: self.namespace(),
            name: &object.name,
        };
        let resource = self.scales.resource(target).await.map_err(|error| failure(error.message()))?;
        let resource = resource.group_resource();
        let usage = self.metrics.of_object(self.namespace(), &resource, &object.name, name, &selector).await;
        let usage = usage.map_err(|error| {
            // The order of the words is upstream's.
            let what = format!("{} on {} {}", object.kind, self.namespace(), object.name);
            failure(format!("unable to get metric {name}: {what}/{error}"))
        })?;
        let (proposal, metric, current) =
            match (milli(source.target.value.as_ref()), milli(source.target.average_value.as_ref())) {
                (Some(target), _) => {
                    let proposal = replicas::by_value(&self.workload(), usage, target)
                        .map_err(|error| failure(format!("unable to calculate ready pods: {error}")))?;
                    (proposal, format!("{} metric {name}", object.kind), value(proposal))
                }
                (None, Some(target)) => {
                    let tolerances = self.workload().tolerances;
                    let existing = self.status_replicas;
                    let proposal = replicas::by_value_per_replica(tolerances, existing, usage, target);
                    let selector = shown(source.metric.selector.as_ref());
                    (proposal, format!("external metric {name}({selector})"), average(proposal))
                }
                (None, None) => {
                    return Err(failure(
                        "invalid object metric source: neither a value target nor an average value target \
                         was set"
                            .to_owned(),
                    ));
                }
            };
        let status =
            ObjectMetricStatus { described_object: object.clone(), metric: source.metric.clone(), current };
        let status = MetricStatus { object: Some(status), ..named("Object") };
        Ok(Answer { replicas: proposal.replicas, metric, status })
    }

    async fn external(&self, source: &ExternalMetricSource) -> Result<Answer, Failure> {
        let name = &source.metric.name;
        let failure = |why: String| Failure {
            reason: "FailedGetExternalMetric",
            context: format!("failed to get {name} external metric value: {why}"),
            why,
        };
        let selector = query(source.metric.selector.as_ref()).map_err(failure)?;
        let described = shown(source.metric.selector.as_ref());
        let usage = self.metrics.external(self.namespace(), name, &selector).await.map_err(|error| {
            format!("unable to get external metric {}/{name}/{described}: {error}", self.namespace())
        });
        let (proposal, current) =
            match (milli(source.target.average_value.as_ref()), milli(source.target.value.as_ref())) {
                (Some(target), _) => {
                    let usage = usage
                        .map_err(|why| failure(format!("failed to get {name} external metric: {why}")))?;
                    let tolerances = self.workload().tolerances;
                    let existing = self.status_replicas;
                    let proposal = replicas::by_value_per_replica(tolerances, existing, usage, target);
                    (proposal, average(proposal))
                }
                (None, Some(target)) => {
                    let context =
                        |why: String| failure(format!("failed to get external metric {name}: {why}"));
                    let proposal = replicas::by_value(&self.workload(), usage.map_err(context)?, target)
                        .map_err(|error| context(format!("unable to calculate ready pods: {error}")))?;
                    (proposal, value(proposal))
                }
                (None, None) => {
                    return Err(failure(
                        "invalid external metric source: neither a value target nor an average value target \
                         was set"
                            .to_owned(),
                    ));
                }
            };
        let status = ExternalMetricStatus { metric: source.metric.clone(), current };
        let status = MetricStatus { external: Some(status), ..named("External") };
        let metric = format!("external metric {name}({described})");
        Ok(Answer { replicas: proposal.replicas, metric, status })
    }
}
