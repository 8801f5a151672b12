//! The pods of a job.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};

use super::FINALIZER;
use super::plan::Start;
use crate::ownership::controller_reference;
use crate::pods::from_template;

/// The index of a pod: an annotation, and a label of the same name.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How often the index failed before this pod.
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The completion index of `pod`, if it has one.
pub(super) fn index(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

/// How often the pod's index failed before it.
pub(super) fn earlier_failures(pod: &Pod) -> i32 {
    let count = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(FAILURES));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// A pod of `job`, to be created.
pub(super) fn build(job: &Job, start: &Start) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = from_template(&template, job.metadata.namespace.as_ref(), controller_reference(job));
    pod.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
    if let Some(index) = start.index {
        let name = job.metadata.name.as_deref().unwrap_or_default();
        pod.metadata.generate_name = Some(format!("{name}-{index}-"));
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(INDEX.to_owned(), index.to_string());
        if let Some(failures) = start.failures {
            annotations.insert(FAILURES.to_owned(), failures.to_string());
        }
        pod.metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
        let spec = pod.spec.get_or_insert_default();
        spec.hostname = Some(format!("{name}-{index}"));
        spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(tell_index);
    }
    pod
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{INDEX}']") };
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    });
}
