//! The `scale` subresource: how many replicas anything has, whatever its kind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::autoscaling::v1::Scale;
use serde_json::{Value, json};

use crate::api::{self, Api};
use crate::discovery::{ServedResource, discover};

/// Why a scale could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No resource has this kind.
    #[error("no matches for kind {kind:?} in version {version:?}")]
    NoMatch {
        /// The kind.
        kind: String,
        /// Group and version, as in `apiVersion`.
        version: String,
    },
    /// Objects of this resource have no number of replicas.
    #[error("{0} does not implement the scale subresource")]
    NotScalable(String),
    /// The server refused, or could not be reached.
    #[error(transparent)]
    Request(#[from] api::Error),
}

impl Error {
    /// The server's words for users' eyes.
    pub fn message(&self) -> String {
        match self {
            Self::Request(error) => error.message(),
            other => other.to_string(),
        }
    }
}

/// What is scaled: its kind as some object refers to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// Group and version.
    pub api_version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// Where it lives.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Reads and writes scales.
#[derive(Clone)]
pub(crate) struct Scales {
    api: Api,
    /// Resources by group and kind; what is served does not change its name.
    known: Arc<Mutex<HashMap<(String, String), ServedResource>>>,
}

impl Scales {
    /// Scales of what `api` serves.
    pub fn new(api: Api) -> Self {
        Self { api, known: Arc::default() }
    }

    /// The resource whose objects have the target's kind.
    pub async fn resource(&self, target: Target<'_>) -> Result<ServedResource, Error> {
        let group = target.api_version.split_once('/').map_or("", |(group, _)| group);
        let key = (group.to_owned(), target.kind.to_owned());
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let mut resources = discover(&self.api).await?.resources.into_iter();
        let found = resources.find(|one| one.group == key.0 && one.kind == key.1);
        let found = found.ok_or_else(|| Error::NoMatch {
            kind: target.kind.to_owned(),
            version: target.api_version.to_owned(),
        })?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }

    /// The scale of the target; `None` if there is no such object.
    pub async fn get(&self, target: Target<'_>) -> Result<Option<Scale>, Error> {
        let resource = self.resource(target).await?;
        match self.api.get(&path(&resource, target)).await? {
            Some(scale) => Ok(Some(scale)),
            None if resource.subresources.iter().any(|one| one == "scale") => Ok(None),
            None => Err(Error::NotScalable(resource.group_resource())),
        }
    }

    /// Asks for this many replicas, if the scale is still as it was read.
    pub async fn set(&self, target: Target<'_>, scale: &Scale, replicas: i32) -> Result<(), Error> {
        let resource = self.resource(target).await?;
        let mut updated = scale.clone();
        updated.spec.get_or_insert_default().replicas = Some(replicas);
        let mut body = json!(updated);
        // Whoever reads a scale with 0 replicas reads none; the server must not.
        body["spec"]["replicas"] = json!(replicas);
        self.api.replace::<Value>(&path(&resource, target), &body).await?;
        Ok(())
    }
}

fn path(resource: &ServedResource, target: Target<'_>) -> String {
    format!("{}/{}/scale", resource.path(target.namespace), target.name)
}
