//! Requests to the API server: plain verbs over paths, and the smallest patch from one object to another.

use http::{Method, Request, header};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Preconditions};
use kube::core::Status;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The name under which all controllers own fields, as upstream's do.
pub(crate) const FIELD_MANAGER: &str = "kube-controller-manager";

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The object could not be encoded.
    #[error("failed to encode the object for {path}")]
    Encode {
        /// Where it was to be sent.
        path: String,
        /// What the encoder said.
        source: serde_json::Error,
    },
    /// The server refused, or could not be reached.
    #[error("{source}")]
    Request {
        /// The URL.
        path: String,
        /// What the client said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The observed state does not allow the next step yet; the message says why.
    #[error("{0}")]
    NotYet(String),
}

impl Error {
    /// What the server answered, if it did.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    fn has_reason(&self, reason: &str) -> bool {
        self.status().is_some_and(|status| status.reason == reason)
    }

    /// Whether the object, or its kind, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// Whether an object of that name exists already.
    pub fn is_already_exists(&self) -> bool {
        self.has_reason("AlreadyExists")
    }

    /// Whether the object changed since it was observed.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409) && !self.is_already_exists()
    }

    /// Whether the object was refused because its namespace is going away.
    pub fn is_namespace_terminating(&self) -> bool {
        self.status().is_some_and(|status| {
            status
                .details
                .iter()
                .flat_map(|details| &details.causes)
                .any(|c| c.reason == "NamespaceTerminating")
                || (status.code == 403 && status.message.contains("because it is being terminated"))
        })
    }

    /// Whether this is an everyday race rather than a fault.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NotYet(_)) || self.is_conflict() || self.is_namespace_terminating()
    }

    /// The server's words for users' eyes.
    pub fn message(&self) -> String {
        self.status().map_or_else(|| self.to_string(), |status| status.message.clone())
    }
}

/// What is left after a delete.
pub(crate) enum Deleted<K> {
    /// Nothing.
    Gone,
    /// The object as the server last knew it; it still exists if it carries a deletion timestamp.
    Last(Box<K>),
}

/// The API server, as seen through `kube::Client`.
#[derive(Clone)]
pub(crate) struct Api {
    /// The client itself, for watches.
    pub client: Client,
}

impl Api {
    /// Requests through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads `path`; `None` if there is nothing.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        match self.send(Method::GET, path, "application/json", "application/json", Vec::new()).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads `path` as the metadata-only form of whatever is there; `None` if there is nothing.
    pub async fn get_metadata<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        match self.send(Method::GET, path, METADATA, "application/json", Vec::new()).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the collection at `path`.
    pub async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.send(Method::GET, path, "application/json", "application/json", Vec::new()).await
    }

    /// Reads the collection at `path`, metadata only.
    pub async fn list_metadata<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.send(Method::GET, path, METADATA_LIST, "application/json", Vec::new()).await
    }

    /// Posts `body` to the collection or subresource at `path`.
    pub async fn create<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        let body = encode(path, body)?;
        let target = format!("{path}?fieldManager={FIELD_MANAGER}");
        self.send(Method::POST, &target, "application/json", "application/json", body).await
    }

    /// Replaces what is at `path`.
    pub async fn replace<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        let body = encode(path, body)?;
        let target = format!("{path}?fieldManager={FIELD_MANAGER}");
        self.send(Method::PUT, &target, "application/json", "application/json", body).await
    }

    /// Merges `change` into what is at `path`.
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, change: &Value) -> Result<T, Error> {
        let body = encode(path, change)?;
        let target = format!("{path}?fieldManager={FIELD_MANAGER}");
        self.send(Method::PATCH, &target, "application/json", "application/merge-patch+json", body).await
    }

    /// Applies `body`, in the name of `manager`, to what is at `path`.
    pub async fn apply<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        manager: &str,
    ) -> Result<T, Error> {
        let body = encode(path, body)?;
        let target = format!("{path}?fieldManager={manager}&force=true");
        self.send(Method::PATCH, &target, "application/json", "application/apply-patch+yaml", body).await
    }

    /// Merges `change` into what is at `path` and returns metadata only.
    pub async fn patch_metadata<T: DeserializeOwned>(&self, path: &str, change: &Value) -> Result<T, Error> {
        let body = encode(path, change)?;
        let target = format!("{path}?fieldManager={FIELD_MANAGER}");
        self.send(Method::PATCH, &target, METADATA, "application/merge-patch+json", body).await
    }

    /// Deletes what is at `path`.
    pub async fn delete<K: DeserializeOwned>(
        &self,
        path: &str,
        params: &DeleteParams,
    ) -> Result<Deleted<K>, Error> {
        let request =
            request(Method::DELETE, path, "application/json", "application/json", encode(path, params)?)?;
        match self.client.request_status::<K>(request).await {
            Ok(answer) => Ok(answer.either(|last| Deleted::Last(Box::new(last)), |_| Deleted::Gone)),
            Err(source) => Err(Error::Request { path: path.to_owned(), source: Box::new(source) }),
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        content: &str,
        body: Vec<u8>,
    ) -> Result<T, Error> {
        let request = request(method, path, accept, content, body)?;
        self.client
            .request(request)
            .await
            .map_err(|source| Error::Request { path: path.to_owned(), source: Box::new(source) })
    }
}

pub(crate) const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
pub(crate) const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

pub(crate) fn request(
    method: Method,
    path: &str,
    accept: &str,
    content: &str,
    body: Vec<u8>,
) -> Result<Request<Vec<u8>>, Error> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, accept)
        .header(header::CONTENT_TYPE, content)
        .header(header::USER_AGENT, FIELD_MANAGER)
        .body(body)
        .map_err(|source| Error::Request {
            path: path.to_owned(),
            source: Box::new(kube::Error::HttpError(source)),
        })
}

fn encode(path: &str, body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|source| Error::Encode { path: path.to_owned(), source })
}

/// The URL of `meta`'s object.
pub(crate) fn path_of<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> String {
    let name = meta.name.as_deref().unwrap_or_default();
    format!("{}/{name}", K::url_path(&(), meta.namespace.as_deref()))
}

/// Delete exactly the object that was observed, not a namesake.
pub(crate) fn this_one(meta: &ObjectMeta) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid: meta.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    }
}

/// The merge patch that turns `old` into `new`; `None` if they are equal.
///
/// Unlike a replace, it cannot undo what others wrote into fields that this side does not look at.
pub(crate) fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for (name, value) in new {
                match old.get(name) {
                    None => drop(patch.insert(name.clone(), value.clone())),
                    Some(was) => {
                        if let Some(change) = merge_patch(was, value) {
                            patch.insert(name.clone(), change);
                        }
                    }
                }
            }
            for name in old.keys().filter(|name| !new.contains_key(*name)) {
                patch.insert(name.clone(), Value::Null);
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => (old != new).then(|| new.clone()),
    }
}

/// The merge patch from `old` to `new`, bound to the version of `old` that was observed.
pub(crate) fn change<K: Serialize + Resource>(old: &K, new: &K) -> Result<Option<Value>, Error> {
    let value = |object: &K| {
        serde_json::to_value(object)
            .map_err(|source| Error::Encode { path: object.meta().name.clone().unwrap_or_default(), source })
    };
    let Some(mut patch) = merge_patch(&value(old)?, &value(new)?) else { return Ok(None) };
    if let Some(version) = &old.meta().resource_version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    Ok(Some(patch))
}

/// A whole collection.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    /// The objects.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_need_no_patch() {
        assert_eq!(merge_patch(&json!({"a": {"b": [1]}}), &json!({"a": {"b": [1]}})), None);
    }

    #[test]
    fn a_patch_names_only_what_changed() {
        let old = json!({"keep": 1, "gone": 2, "deep": {"same": true, "other": 1}, "list": [1, 2]});
        let new = json!({"keep": 1, "new": 3, "deep": {"same": true, "other": 2}, "list": [2]});
        let patch = json!({"gone": null, "new": 3, "deep": {"other": 2}, "list": [2]});
        assert_eq!(merge_patch(&old, &new), Some(patch));
    }
}
