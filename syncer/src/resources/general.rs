//! Kinds that are synchronised by rule: one engine for all of them, on documents instead of types.

mod definition;
mod from_host;
mod grants;
mod services;
mod to_host;

use std::sync::{Arc, OnceLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cache::Cache;
use crate::context::{Context, Kind, MANAGER, Task, delete_params, gone};
use crate::error::{Error, Result, is_conflict, is_not_found};
use crate::labels::ObjectKey;
use crate::queue::Outcome;
use crate::rules::catalogue::{Place, Served};
use crate::rules::{Direction, Rule};

pub(crate) use self::definition::{follow as follow_definition, is_wanted as wants_definition};
pub(crate) use self::from_host::targets;
pub(crate) use self::to_host::needs;

/// A rule at work.
pub(crate) struct General {
    pub rule: Rule,
    /// Known from the start for built-in kinds, otherwise as soon as the definition is.
    pub shape: OnceLock<Shape>,
    /// To the host: what tenants wrote. From the host: what we wrote.
    pub virtual_side: Cache<DynamicObject>,
    /// To the host: what we wrote. From the host: what there is, for each namespace that is looked at.
    pub host_sides: Vec<HostSide>,
}

/// A part of the host that a rule looks at.
#[derive(Debug, Default)]
pub(crate) struct HostSide {
    /// Empty = all that the rule may see: everything cluster-scoped, or the namespace of the virtual cluster.
    pub namespace: String,
    /// The one object that is looked at; rights on the host can then be limited to it.
    pub name: Option<String>,
    pub objects: Cache<DynamicObject>,
}

/// What has to be known of a kind to speak of its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub api: ApiResource,
    pub place: Place,
    pub has_status: bool,
}

impl Shape {
    pub fn is_namespaced(&self) -> bool {
        self.place == Place::Namespaced
    }
}

impl General {
    /// A rule of the virtual cluster whose namespace on the host is `own`.
    pub fn new(rule: Rule, own: &str) -> Self {
        let shape = OnceLock::new();
        if let Some(known) =
            rule.known.filter(|known| known.served == Served::BuiltIn || known.code().is_some())
        {
            let (plural, group) = known.names();
            let api =
                api_resource(group, rule.version.as_deref().unwrap_or(known.version), known.kind, plural);
            let _ = shape.set(Shape { api, place: known.place, has_status: known.status });
        }
        let mut host_sides: Vec<HostSide> = Vec::new();
        for mapping in &rule.mappings {
            let namespace = mapping.host_namespace(own);
            match host_sides.iter_mut().find(|side| side.namespace == namespace) {
                Some(side) => side.name = side.name.take().filter(|name| mapping.host_name() == Some(name)),
                None => host_sides.push(HostSide {
                    namespace: namespace.to_owned(),
                    name: mapping.host_name().map(ToOwned::to_owned),
                    objects: Cache::default(),
                }),
            }
        }
        if host_sides.is_empty() {
            host_sides.push(HostSide::default());
        }
        Self { rule, shape, virtual_side: Cache::default(), host_sides }
    }

    /// An object of the host.
    pub fn host(&self, key: &ObjectKey) -> Option<Arc<DynamicObject>> {
        let sees = |side: &&HostSide| side.namespace.is_empty() || side.namespace == key.namespace;
        self.host_sides.iter().find(sees)?.objects.get(key)
    }

    /// Forgets the copies in a namespace that is not watched any more.
    pub fn forget(&self, namespace: &str) {
        for side in &self.host_sides {
            side.objects.forget(namespace);
        }
    }

    /// Whether everything on the host has been seen.
    pub fn is_host_filled(&self) -> bool {
        self.host_sides.iter().all(|side| side.objects.is_filled())
    }

    /// The object of the host that the virtual object `key` shows.
    pub fn source(&self, own: &str, key: &ObjectKey) -> Option<ObjectKey> {
        let places = self.rule.mappings.iter().filter_map(|mapping| mapping.source(own, key));
        places.into_iter().find(|place| self.host(place).is_some())
    }

    /// The objects of a side.
    pub fn api(&self, client: &Client, namespace: &str) -> Result<Api<DynamicObject>> {
        let shape = self.shape()?;
        Ok(if shape.place == Place::Cluster || namespace.is_empty() {
            Api::all_with(client.clone(), &shape.api)
        } else {
            Api::namespaced_with(client.clone(), namespace, &shape.api)
        })
    }

    pub fn shape(&self) -> Result<&Shape> {
        self.shape.get().ok_or(Error::Waiting("the definition of a resource"))
    }
}

/// The coordinates of a kind.
fn api_resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Brings one object of a rule in step; `key` is the virtual one's.
pub(crate) async fn reconcile(cx: &Context, number: u16, key: &ObjectKey) -> Result<Outcome> {
    let Some(general) = cx.rules.get(usize::from(number)) else { return Ok(Outcome::Done) };
    // What is not listed yet would look as if it had vanished.
    if !general.virtual_side.is_filled() || !general.is_host_filled() {
        return Err(Error::Waiting("the objects of a rule"));
    }
    match general.rule.direction {
        Direction::ToHost => {
            let source = Task { kind: Kind::Rule(number), key: key.clone() };
            to_host::reconcile(cx, general, &source).await
        }
        Direction::FromHost => from_host::reconcile(cx, general, key).await,
    }
}

/// An object as one document.
fn document(object: &DynamicObject) -> Value {
    let mut document = object.data.clone();
    if let (Value::Object(fields), Ok(metadata)) = (&mut document, serde_json::to_value(&object.metadata)) {
        fields.insert("metadata".into(), metadata);
    }
    document
}

/// Whether everything that `wanted` says stands in `live` too: the server may have filled in more.
pub(super) fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(field, wanted)| {
            live.get(field).map_or_else(|| wanted.is_null(), |live| holds(live, wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| holds(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

/// Writes a status; that the object is gone or changed meanwhile is told by its next event.
async fn write_status(api: &Api<DynamicObject>, name: &str, status: &Value) -> kube::Result<()> {
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match api.patch_status(name, &params, &Patch::Merge(json!({ "status": status }))).await {
        Err(error) if !is_conflict(&error) && !is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Deletes exactly this object; that it is gone already is success.
async fn delete(api: &Api<DynamicObject>, metadata: &ObjectMeta) -> kube::Result<()> {
    let name = metadata.name.clone().unwrap_or_default();
    gone(api.delete(&name, &delete_params(metadata.uid.clone(), None)).await.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_fills_in_is_no_difference() {
        let live = json!({ "a": 1, "b": [{ "c": 1, "default": true }], "more": {} });
        assert!(holds(&live, &json!({ "a": 1, "b": [{ "c": 1 }] })));
        assert!(holds(&live, &json!({ "missing": null })));
        assert!(!holds(&live, &json!({ "a": 2 })));
        assert!(!holds(&live, &json!({ "b": [] })));
        assert!(!holds(&live, &json!({ "missing": 1 })));
    }
}
