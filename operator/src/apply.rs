//! Reading, applying and removing host objects.
//!
//! Applying is server-side apply under one field manager, forced, and only when the live object differs: a second
//! reconcile writes nothing. What is applied always returns as the host has it.

use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::Value;
use vkube_crds::labels;

use crate::build::{Key, Object};
use crate::equality::{covers, stamp};
use crate::error::{Error, has_code, is_forbidden, is_terminating};
use crate::metrics::Metrics;
use crate::names::{FIELD_MANAGER, Identity};

/// How often and how long a write waits for rights granted, or a quota made, a moment ago to reach every part of the
/// host: 5 + 10 + … + 320 ms.
const GRANT_RETRIES: u32 = 7;
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// What came of applying.
#[derive(Debug)]
pub enum Applied {
    /// The object as the host has it, and whether it was written.
    Ours {
        /// The live object.
        live: Box<DynamicObject>,
        /// Whether it had to be written.
        written: bool,
    },
    /// An object of that name belongs to someone else.
    Foreign(Key),
    /// Its namespace is going away.
    Terminating,
}

/// Access to host objects.
#[derive(Clone)]
pub struct Host {
    client: Client,
    metrics: Metrics,
}

impl Host {
    /// Access through `client`.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self { client, metrics }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads an object.
    pub async fn get(&self, key: &Key) -> Result<Option<DynamicObject>, Error> {
        let read = |source| Error::Read { what: key.describe(), source };
        let mut wait = FIRST_WAIT;
        for _ in 0..GRANT_RETRIES {
            match self.api(key).get_opt(&key.name).await {
                Err(error) if is_forbidden(&error) => sleep(&mut wait).await,
                other => return other.map_err(read),
            }
        }
        self.api(key).get_opt(&key.name).await.map_err(read)
    }

    /// Applies an object unless `live`, which was just read, already is as desired. Refuses objects of others.
    pub async fn apply_over(
        &self,
        live: Option<DynamicObject>,
        mut object: Object,
        identity: &Identity,
    ) -> Result<Applied, Error> {
        stamp(&mut object);
        let key = object.key;
        if live.as_ref().is_some_and(|live| !is_ours(&key, live, identity)) {
            return Ok(Applied::Foreign(key));
        }
        if let Some(live) = live
            && serde_json::to_value(&live).is_ok_and(|value| covers(&value, &object.body))
        {
            return Ok(Applied::Ours { live: Box::new(live), written: false });
        }
        match self.patch(&key, &object.body).await {
            Ok(live) => Ok(Applied::Ours { live: Box::new(live), written: true }),
            Err(error) if is_terminating(&error) => Ok(Applied::Terminating),
            Err(source) => Err(Error::Apply { what: key.describe(), source }),
        }
    }

    /// Writes without comparing.
    pub async fn patch(&self, key: &Key, body: &Value) -> Result<DynamicObject, kube::Error> {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let mut wait = FIRST_WAIT;
        for _ in 0..GRANT_RETRIES {
            match self.api(key).patch(&key.name, &params, &Patch::Apply(body)).await {
                Err(error) if is_settling(&error) => sleep(&mut wait).await,
                other => {
                    self.metrics.applied(&key.resource.kind, other.is_ok());
                    return other;
                }
            }
        }
        let last = self.api(key).patch(&key.name, &params, &Patch::Apply(body)).await;
        self.metrics.applied(&key.resource.kind, last.is_ok());
        last
    }

    /// Deletes an object that is ours; others and missing ones are left alone.
    pub async fn remove(&self, key: &Key, identity: &Identity) -> Result<(), Error> {
        match self.get(key).await? {
            Some(live) if is_managed(&live) && is_ours(key, &live, identity) => {
                self.delete(key, live.uid()).await
            }
            _ => Ok(()),
        }
    }

    /// Deletes the object of this UID, if it still is there.
    pub async fn delete(&self, key: &Key, uid: Option<String>) -> Result<(), Error> {
        let params = DeleteParams::background().preconditions(Preconditions { uid, resource_version: None });
        match self.api(key).delete(&key.name, &params).await {
            // Gone, replaced by another, or on its way out.
            Err(error) if has_code(&error, 404) || has_code(&error, 409) => Ok(()),
            Err(source) => Err(Error::Delete { what: key.describe(), source }),
            Ok(_) => Ok(()),
        }
    }

    /// Objects of the key's kind and namespace with these labels.
    pub async fn list(&self, key: &Key, selector: &str) -> Result<Vec<DynamicObject>, Error> {
        let params = ListParams::default().labels(selector);
        let list = self.api(key).list(&params).await;
        list.map(|list| list.items)
            .map_err(|source| Error::Read { what: format!("{} list", key.resource.kind), source })
    }

    /// The version in which the host serves a resource: the preferred one of its group that has it.
    pub async fn served_version(&self, group: &str, plural: &str) -> Result<Option<String>, Error> {
        let read = |source| Error::Read { what: format!("versions of {group}"), source };
        let groups = self.client.list_api_groups().await.map_err(read)?.groups;
        let Some(group) = groups.into_iter().find(|known| known.name == group) else { return Ok(None) };
        for version in group.preferred_version.into_iter().chain(group.versions) {
            let list = self.client.list_api_group_resources(&version.group_version).await.map_err(read)?;
            if list.resources.iter().any(|resource| resource.name == plural) {
                return Ok(Some(version.version));
            }
        }
        Ok(None)
    }

    fn api(&self, key: &Key) -> Api<DynamicObject> {
        match &key.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &key.resource),
            None => Api::all_with(self.client.clone(), &key.resource),
        }
    }
}

/// What is in the host namespace is ours, whoever made it; elsewhere the UID decides.
fn is_ours(key: &Key, live: &DynamicObject, identity: &Identity) -> bool {
    key.namespace.as_ref() == Some(&identity.host_namespace) || identity.owns(live.metadata.labels.as_ref())
}

fn is_managed(live: &DynamicObject) -> bool {
    live.labels().get(labels::MANAGED).is_some_and(|value| value == "true")
}

/// Whether a refusal may come from the host not having caught up with what was just written.
fn is_settling(error: &kube::Error) -> bool {
    is_forbidden(error) && !is_terminating(error) && {
        let text = error.to_string();
        // Exceeded quotas and Pod Security are refusals for good.
        text.contains("status unknown for quota") || text.contains("cannot ")
    }
}

async fn sleep(wait: &mut Duration) {
    tokio::time::sleep(*wait).await;
    *wait *= 2;
}
