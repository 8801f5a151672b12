//! An object of any kind, ready to be applied.

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::ApiResource;
use serde::Serialize;
use serde_json::Value;

/// Which object.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its kind.
    pub resource: ApiResource,
    /// Its namespace, if it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object of kind `K`.
    pub fn new<K: Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> Self {
        Self {
            resource: ApiResource::erase::<K>(&()),
            namespace: namespace.map(ToOwned::to_owned),
            name: name.to_owned(),
        }
    }

    /// Kind and name, for people.
    pub fn describe(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.resource.kind, self.name),
            None => format!("{} {}", self.resource.kind, self.name),
        }
    }
}

/// An object of any kind, ready to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Which object.
    pub key: Key,
    /// All of it, as JSON.
    pub body: Value,
}

impl Object {
    /// Erases the type of a built object.
    #[allow(clippy::needless_pass_by_value, reason = "a built object has no other use")]
    pub fn of<K>(object: K) -> Self
    where
        K: Resource<DynamicType = ()> + Metadata<Ty = ObjectMeta> + Serialize,
    {
        let metadata = object.metadata();
        let key = Key::new::<K>(metadata.namespace.as_deref(), metadata.name.as_deref().unwrap_or_default());
        // Kubernetes types hold only maps with string keys, so they always have a JSON form.
        Self { key, body: serde_json::to_value(&object).unwrap_or_default() }
    }
}
