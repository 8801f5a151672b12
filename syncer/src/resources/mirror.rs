//! Kinds whose host object is nothing but the translated virtual one.
//!
//! All fields are owned by the virtual side and written by server-side apply, so the host's record of our fields
//! (`managedFields`) is the merge base. An object is applied again only if its digest differs from the one it
//! carries, or if somebody else wrote it since.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::{Context, Kind, Meta, Task};
use crate::error::Result;
use crate::labels::{APPLIED, ObjectKey, virtual_uid};
use crate::names::digest;
use crate::queue::Outcome;

/// Brings a mirrored object in step. `desired` is its host form, `None` if it has none.
pub(super) async fn mirror<K>(
    cx: &Context,
    kind: Kind,
    key: &ObjectKey,
    cache: &Meta<K>,
    desired: Option<K>,
) -> Result<Outcome>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug,
{
    let task = Task { kind, key: key.clone() };
    let live = cache.get(&cx.host_key(key));
    let live = live.as_ref().map(|live| &live.metadata);

    let Some(mut desired) = desired else {
        cx.unsettle(&task);
        if let Some(live) = live.filter(|live| live.deletion_timestamp.is_none()) {
            cx.delete_host::<K>(live, None).await?;
        }
        return Ok(Outcome::Done);
    };

    if let Some(live) = live {
        if live.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        if virtual_uid(live) != virtual_uid(desired.meta()) {
            // Made for an earlier object of the name; its deletion event brings us back.
            cx.delete_host::<K>(live, None).await?;
            return Ok(Outcome::Done);
        }
    }

    let stamp = stamp(&mut desired);
    let is_current = live.is_some_and(|live| {
        applied(live) == Some(stamp.as_str()) && !cx.is_unsettled(&task, live.resource_version.as_deref())
    });
    if !is_current {
        let written = cx.apply(&desired).await?;
        cx.settle(task, written.meta().resource_version.clone());
    }
    Ok(Outcome::Done)
}

/// Puts the digest of an object's contents on it.
pub(crate) fn stamp<K: Resource<DynamicType = ()> + Serialize>(object: &mut K) -> String {
    let contents = serde_json::to_string(object).unwrap_or_default();
    let stamp = digest(&[&contents], 20);
    object.meta_mut().annotations.get_or_insert_default().insert(APPLIED.into(), stamp.clone());
    stamp
}

/// The digest an object carries.
pub(super) fn applied(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(APPLIED).map(String::as_str)
}
