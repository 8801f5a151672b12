//! Finalizers, put on objects and taken off.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The metadata with the finalizer, unless it has it.
pub(crate) fn with(meta: &ObjectMeta, finalizer: &str) -> Option<ObjectMeta> {
    let mut held = meta.clone();
    let finalizers = held.finalizers.get_or_insert_default();
    if finalizers.iter().any(|one| one == finalizer) {
        return None;
    }
    finalizers.push(finalizer.to_owned());
    Some(held)
}

/// The metadata without the finalizer, if it has it.
pub(crate) fn without(meta: &ObjectMeta, finalizer: &str) -> Option<ObjectMeta> {
    let mut released = meta.clone();
    let finalizers = released.finalizers.as_mut()?;
    let count = finalizers.len();
    finalizers.retain(|one| one != finalizer);
    (finalizers.len() < count).then_some(released)
}
