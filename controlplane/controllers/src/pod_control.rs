//! Making and removing the pods of a workload, and telling its users.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;

use crate::api::Error;
use crate::events::{Note, Recorder};
use crate::informers::{Informer, Object};

/// Creates a pod for its owner. In a namespace that is going there is nothing to do and nothing to tell.
pub(crate) async fn create(
    pods: &Informer<Pod>,
    recorder: &Recorder,
    owner: &impl Object,
    pod: &Pod,
) -> Result<(), Error> {
    match pods.create(pod).await {
        Ok(pod) => {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            recorder.tell(owner, Note::normal("SuccessfulCreate", format!("Created pod: {name}")));
            Ok(())
        }
        Err(error) if error.is_namespace_terminating() => Ok(()),
        Err(error) => {
            let message = format!("Error creating: {}", error.message());
            recorder.tell(owner, Note::warning("FailedCreate", message));
            Err(error)
        }
    }
}

/// Deletes a pod of its owner.
pub(crate) async fn delete(
    pods: &Informer<Pod>,
    recorder: &Recorder,
    owner: &impl Object,
    pod: &Pod,
) -> Result<(), Error> {
    let deleted = pods.delete(pod, DeleteParams::default()).await;
    match &deleted {
        Ok(()) => {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            recorder.tell(owner, Note::normal("SuccessfulDelete", format!("Deleted pod: {name}")));
        }
        Err(error) => {
            let message = format!("Error deleting: {}", error.message());
            recorder.tell(owner, Note::warning("FailedDelete", message));
        }
    }
    deleted
}
