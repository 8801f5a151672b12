//! Adding and removing finalizers, safe against concurrent writers: a merge patch of the whole list that holds only
//! for the resource version it was made from.

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use vkube_crds::{VirtualCluster, VirtualClusterPolicy};

use crate::apply::Host;
use crate::error::{Error, has_code};
use crate::names::FIELD_MANAGER;

/// How often a removal is repeated when others write meanwhile.
const ATTEMPTS: u32 = 5;

/// Adds the finalizer unless it is there; returns the object with it.
pub async fn add(host: &Host, cluster: &VirtualCluster, finalizer: &str) -> Result<VirtualCluster, Error> {
    let api =
        Api::<VirtualCluster>::namespaced(host.client().clone(), &cluster.namespace().unwrap_or_default());
    add_in(&api, cluster, finalizer).await
}

/// Removes the finalizer from a cluster; one that is gone needs no removal.
pub async fn remove(host: &Host, cluster: &VirtualCluster, finalizer: &str) -> Result<(), Error> {
    let api =
        Api::<VirtualCluster>::namespaced(host.client().clone(), &cluster.namespace().unwrap_or_default());
    remove_in(&api, cluster.clone(), finalizer).await
}

/// [`add`] for a policy.
pub async fn add_to_policy(host: &Host, policy: &VirtualClusterPolicy, finalizer: &str) -> Result<(), Error> {
    add_in(&Api::all(host.client().clone()), policy, finalizer).await.map(drop)
}

/// [`remove`] for a policy.
pub async fn remove_from_policy(
    host: &Host,
    policy: &VirtualClusterPolicy,
    finalizer: &str,
) -> Result<(), Error> {
    remove_in(&Api::all(host.client().clone()), policy.clone(), finalizer).await
}

/// [`add`] for any object.
pub async fn add_in<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    if object.finalizers().iter().any(|present| present == finalizer) {
        return Ok(object.clone());
    }
    let mut all = object.finalizers().to_vec();
    all.push(finalizer.to_owned());
    write(api, object, &all).await.map_err(|source| Error::Apply { what: describe(object), source })
}

/// [`remove`] for any object.
pub async fn remove_in<K>(api: &Api<K>, mut object: K, finalizer: &str) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let what = describe(&object);
    let uid = object.uid();
    for _ in 0..ATTEMPTS {
        let others: Vec<_> =
            object.finalizers().iter().filter(|present| *present != finalizer).cloned().collect();
        if others.len() == object.finalizers().len() {
            return Ok(());
        }
        match write(api, &object, &others).await {
            Ok(_) => return Ok(()),
            Err(error) if has_code(&error, 404) => return Ok(()),
            Err(error) if has_code(&error, 409) => {}
            Err(source) => return Err(Error::Apply { what, source }),
        }
        match api.get_opt(&object.name_any()).await {
            Ok(Some(fresh)) if fresh.uid() == uid => object = fresh,
            Ok(_) => return Ok(()),
            Err(source) => return Err(Error::Read { what, source }),
        }
    }
    Err(Error::Conflict { what })
}

async fn write<K>(api: &Api<K>, object: &K, finalizers: &[String]) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let patch = json!({"metadata": {"resourceVersion": object.resource_version(), "finalizers": finalizers}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    api.patch(&object.name_any(), &params, &Patch::Merge(patch)).await
}

fn describe<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}", K::kind(&()), object.name_any())
}
