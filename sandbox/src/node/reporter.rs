//! Writes a pod's status to the API server: always the newest, never two at once.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::context::PodContext;

/// Marks pods with containers that are not executed.
const SIMULATED: &str = "vkube.dev/simulated";
/// Marks pods whose processes see rewritten paths instead of mounts.
const REWRITTEN: &str = "vkube.dev/paths-rewritten";
const RETRY: Duration = Duration::from_millis(250);

/// The writer of one pod's status. When dropped, what is not written yet stays unwritten.
pub(crate) struct Reporter {
    newest: watch::Sender<Option<Report>>,
    task: AbortOnDropHandle<()>,
}

#[derive(Clone, PartialEq)]
struct Report {
    status: PodStatus,
    simulated: bool,
}

impl Reporter {
    /// A writer for the pod of `context`.
    pub fn start(context: &Arc<PodContext>) -> Self {
        let (newest, reports) = watch::channel(None);
        let task = tokio::spawn(write(Arc::clone(context), reports));
        Self { newest, task: AbortOnDropHandle::new(task) }
    }

    /// Sets the status to be written.
    pub fn report(&self, status: PodStatus, simulated: bool) {
        let report = Some(Report { status, simulated });
        self.newest.send_if_modified(|old| {
            let differs = *old != report;
            *old = report;
            differs
        });
    }

    /// Waits until the newest status is written.
    pub async fn finish(self) {
        drop(self.newest);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "status writer ended early");
        }
    }
}

async fn write(context: Arc<PodContext>, mut reports: watch::Receiver<Option<Report>>) {
    let pod = context.pod();
    let api: Api<Pod> = Api::namespaced(context.node.client.clone(), &pod.namespace().unwrap_or_default());
    let mut written: Option<Report> = None;
    loop {
        let open = reports.changed().await.is_ok();
        let report = reports.borrow_and_update().clone();
        if let Some(report) = report.filter(|report| written.as_ref() != Some(report)) {
            let patch = Patch::Strategic(patch(&context, &pod, &report));
            match api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
                Ok(_) => written = Some(report),
                // Gone, or replaced by another of the same name.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => {
                    tracing::debug!(%error, pod = pod.name_any(), "status not written, will try again");
                    tokio::time::sleep(RETRY).await;
                    reports.mark_changed();
                    continue;
                }
            }
        }
        if !open {
            return;
        }
    }
}

fn patch(context: &PodContext, pod: &Pod, report: &Report) -> Value {
    let mut annotations = serde_json::Map::new();
    if report.simulated {
        annotations.insert(SIMULATED.into(), "true".into());
    }
    if !context.node.isolated && !report.simulated {
        annotations.insert(REWRITTEN.into(), "true".into());
    }
    let mut metadata = json!({"uid": pod.uid()});
    if !annotations.is_empty() {
        metadata["annotations"] = annotations.into();
    }
    json!({"metadata": metadata, "status": status(&report.status)})
}

/// A status as a patch. Conditions merge by their type, so one that has no reason any more must say so.
fn status(status: &PodStatus) -> Value {
    let mut patch = json!(status);
    for condition in patch["conditions"].as_array_mut().into_iter().flatten() {
        for field in ["reason", "message"] {
            if condition.get(field).is_none() {
                condition[field] = Value::Null;
            }
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_holds_keeps_no_reason_of_before() {
        let ready = json!([{"type": "Ready", "status": "True"},
            {"type": "Initialized", "status": "False", "reason": "ContainersNotInitialized", "message": "m"}]);
        let patch = status(&serde_json::from_value(json!({"conditions": ready})).unwrap());
        assert_eq!(patch["conditions"][0].get("reason"), Some(&Value::Null));
        assert_eq!(patch["conditions"][0].get("message"), Some(&Value::Null));
        assert_eq!(patch["conditions"][1]["reason"], "ContainersNotInitialized");
    }
}
