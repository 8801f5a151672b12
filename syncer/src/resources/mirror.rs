//! Kinds whose host object is nothing but the translated virtual one.
//!
//! All fields are owned by the virtual side and written by server-side apply, so the host's record of our fields
//! (`managedFields`) is the merge base. An object is applied again only if its digest differs from the one it
//! carries, or if somebody else wrote it since.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tune::{is_chosen, tuned};
use crate::context::{Context, Kind, Meta, Namespaced, Task};
use crate::error::{Error, Result};
use crate::labels::{APPLIED, ObjectKey, Translator, virtual_uid};
use crate::names::digest;
use crate::queue::Outcome;

/// The ConfigMap of which every namespace has its own.
pub(super) const ROOT_CA: &str = "kube-root-ca.crt";

/// Brings a mirrored object in step. `desired` is its host form, `None` if it has none.
pub(super) async fn mirror<K: Namespaced>(
    cx: &Context,
    kind: Kind,
    key: &ObjectKey,
    cache: &Meta<K>,
    desired: Option<K>,
) -> Result<Outcome> {
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

    if live.is_none() {
        refuse_foreign::<K>(cx, kind, key).await?;
    }
    let stamp = stamp(&mut desired);
    let is_current =
        live.is_some_and(|live| applied(live) == Some(stamp.as_str()) && !cx.is_unsettled(&task, live));
    if !is_current {
        let written = cx.apply(&desired).await?;
        cx.settle(task, written.meta().resource_version.clone());
    }
    Ok(Outcome::Done)
}

/// An object of our name that is not ours must not be taken over.
pub(crate) async fn refuse_foreign<K: Namespaced>(cx: &Context, kind: Kind, key: &ObjectKey) -> Result<()> {
    refuse_foreign_in(cx, &cx.host_api::<K>(&key.namespace), kind.name(), cx.host_key(key).name, key).await
}

/// Like [`refuse_foreign`], for objects of any kind.
pub(super) async fn refuse_foreign_in<K>(
    cx: &Context,
    api: &Api<K>,
    kind: &str,
    name: String,
    key: &ObjectKey,
) -> Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let found = api.get_metadata_opt(&name).await.map_err(Error::Host)?;
    match found {
        Some(found) if cx.translator.origin(kind, &found.metadata).as_ref() != Some(key) => {
            Err(Error::Foreign(name))
        }
        _ => Ok(()),
    }
}

/// The host form of `object` as the settings change it; `None` if there is none or they do not choose it.
pub(super) fn mirrored<K>(
    cx: &Context,
    kind: Kind,
    object: Option<K>,
    to_host: impl FnOnce(&Translator, K) -> K,
) -> Result<Option<K>>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone,
{
    let Some(object) = object.filter(|object| is_chosen(cx, kind, object.meta())) else { return Ok(None) };
    let host = to_host(&cx.translator, object.clone());
    tuned(cx, kind, &object, host).map(Some)
}

/// Whether a ConfigMap or Secret is synchronised: something refers to it, or all of them are.
pub(super) fn is_needed(cx: &Context, kind: Kind, key: &ObjectKey) -> bool {
    let is_service_accounts = key.name == ROOT_CA && kind == Kind::ConfigMap;
    cx.references().needs(kind, key) || (cx.translator.config.syncs_all(kind) && !is_service_accounts)
}

/// Puts the digest of an object's contents on it.
pub(crate) fn stamp<K: Resource + Serialize>(object: &mut K) -> String {
    let contents = serde_json::to_string(object).unwrap_or_default();
    let stamp = digest(&[&contents], 20);
    object.meta_mut().annotations.get_or_insert_default().insert(APPLIED.into(), stamp.clone());
    stamp
}

/// The digest an object carries.
pub(super) fn applied(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(APPLIED).map(String::as_str)
}
