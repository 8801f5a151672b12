//! Custom objects at their versions: the strategy `Webhook`, which asks a webhook for the object at another version
//! (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#webhook-conversion>).
//!
//! A webhook may change labels and annotations, and no other metadata. What comes of it is pruned and defaulted by the
//! schema of the version that it was brought to.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use vkube_store::Entry;

use super::CustomResource;
use crate::{
    admission::webhook::client::{self, Client},
    handlers::call::Call,
    metadata,
    registry::access::{at, get, str_at, strs_at},
    resource::Definition,
    schema::{decode, defaults, types::Type},
    server::Server,
    status::ApiError,
    stored,
};

/// How long a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why objects were not converted, in the words of the real server.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The webhook was not reached or refused.
    #[error("failed: {0}")]
    Call(#[from] client::Error),
    /// What it answered is no answer to the review.
    #[error("failed: {0}")]
    Answer(String),
    /// It answered with more or fewer objects.
    #[error("returned {got} objects, expected {expected}")]
    Count {
        /// How many came.
        got: usize,
        /// How many were sent.
        expected: usize,
    },
    /// An object is not what was asked for.
    #[error("returned invalid object: {0}")]
    Object(String),
    /// The metadata of an object cannot be used.
    #[error("returned invalid metadata: {0}")]
    Metadata(String),
}

/// The webhook of a definition.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    /// The version of the review that it understands.
    review: String,
}

impl Webhook {
    /// Reads `spec.conversion` of a definition; nothing unless a webhook converts.
    pub fn read(conversion: &Value) -> Option<Self> {
        if str_at(conversion, "/strategy") != "Webhook" {
            return None;
        }
        let webhook = at(conversion, "/webhook");
        let known = |version: &&str| matches!(*version, "v1" | "v1beta1");
        let review = strs_at(webhook, "/conversionReviewVersions").find(known).unwrap_or("v1");
        Some(Self { client: Client::read(get(webhook, "/clientConfig")?), review: review.to_owned() })
    }

    /// Brings objects to a version; those that are there already are not sent.
    async fn convert(
        &self,
        server: &Server,
        objects: &mut [Value],
        wanted: &CustomResource,
    ) -> Result<(), ApiError> {
        let version = crate::resource::api_version(&wanted.group, &wanted.version);
        let mut others: Vec<&mut Value> =
            objects.iter_mut().filter(|object| str_at(object, "/apiVersion") != version).collect();
        let Some(first) = others.first() else { return Ok(()) };
        let of = format!("{}, Kind={}", str_at(first, "/apiVersion"), str_at(first, "/kind"));
        let converted = self.ask(server, &others, &version).await.and_then(|converted| {
            if converted.len() != others.len() {
                return Err(Error::Count { got: converted.len(), expected: others.len() });
            }
            others.iter().zip(converted).map(|(original, made)| checked(original, made, &version)).collect()
        });
        let converted: Vec<Value> =
            converted.map_err(|why| ApiError::unknown(format!("conversion webhook for {of} {why}")))?;
        let ty = Type::Custom(wanted.schema.structure());
        for (place, object) in others.iter_mut().zip(converted) {
            let (mut object, _) = decode::decode(object, ty).map_err(|why| {
                ApiError::unknown(format!("conversion webhook for {of} returned invalid object: {why}"))
            })?;
            defaults::apply_defaults(&mut object, ty);
            **place = object;
        }
        Ok(())
    }

    async fn ask(&self, server: &Server, objects: &[&mut Value], version: &str) -> Result<Vec<Value>, Error> {
        let api_version = format!("apiextensions.k8s.io/{}", self.review);
        let uid = uuid::Uuid::new_v4().to_string();
        let review = json!({
            "kind": "ConversionReview",
            "apiVersion": api_version,
            "request": {"uid": uid, "desiredAPIVersion": version, "objects": objects},
        });
        let answer = self.client.send(server, "?timeout=30s", review.to_string().into(), TIMEOUT).await?;
        let mut answer: Value =
            serde_json::from_slice(&answer).map_err(|why| Error::Answer(why.to_string()))?;
        let shown = |version: &str, kind: &str| format!("{version}, Kind={kind}");
        let (got_version, got_kind) = (str_at(&answer, "/apiVersion"), str_at(&answer, "/kind"));
        let response = at(&answer, "/response");
        if self.review == "v1" && (got_version, got_kind) != (&*api_version, "ConversionReview") {
            let (wanted, got) = (shown(&api_version, "ConversionReview"), shown(got_version, got_kind));
            return Err(Error::Answer(format!("expected webhook response of {wanted}, got {got}")));
        }
        if response.is_null() {
            return Err(Error::Answer("no response provided".into()));
        }
        let got = str_at(response, "/uid");
        if self.review == "v1" && got != uid {
            return Err(Error::Answer(format!("expected response.uid={uid:?}, got {got:?}")));
        }
        match (str_at(response, "/result/status"), str_at(response, "/result/message")) {
            ("Success", _) => {}
            (status, "") => {
                return Err(Error::Answer(format!("response.result.status was '{status}', not 'Success'")));
            }
            (_, message) => return Err(Error::Answer(message.to_owned())),
        }
        match answer.pointer_mut("/response/convertedObjects").map(Value::take) {
            Some(Value::Array(objects)) => Ok(objects),
            _ => Ok(Vec::new()),
        }
    }
}

/// What a webhook made of an object, with the metadata of the original but for labels and annotations.
fn checked(original: &Value, mut made: Value, version: &str) -> Result<Value, Error> {
    let got = str_at(&made, "/apiVersion");
    if got != version {
        return Err(Error::Object(format!("invalid groupVersion (expected {version}, received {got})")));
    }
    for (name, pointer) in [
        ("kind", "/kind"),
        ("name", "/metadata/name"),
        ("namespace", "/metadata/namespace"),
        ("UID", "/metadata/uid"),
    ] {
        let (expected, got) = (str_at(original, pointer), str_at(&made, pointer));
        if expected != got {
            return Err(Error::Object(format!("must have the same {name}: {expected} != {got}")));
        }
    }
    let given = match made.get_mut("metadata").map(Value::take) {
        Some(Value::Object(given)) => given,
        Some(_) => return Err(Error::Metadata("invalid metadata in converted object".into())),
        None => return Err(Error::Metadata("missing metadata in converted object".into())),
    };
    let mut restored = at(original, "/metadata").clone();
    for field in ["labels", "annotations"] {
        let texts = given.get(field).filter(|value| !value.is_null()).map(|value| {
            let texts: Result<BTreeMap<String, String>, _> = serde_json::from_value(value.clone());
            texts.map_err(|_| Error::Metadata(format!("invalid metadata.{field} in converted object")))
        });
        if let Some(map) = restored.as_object_mut() {
            match texts.transpose()? {
                Some(texts) => drop(map.insert(field.to_owned(), json!(texts))),
                None => drop(map.remove(field)),
            }
        }
    }
    metadata::set_top(&mut made, "metadata", Some(restored));
    Ok(made)
}

/// Brings an object to another version of its resource.
pub async fn convert(
    server: &Server,
    object: Value,
    from: &Definition,
    to: &Definition,
) -> Result<Value, ApiError> {
    let mut objects = [object];
    bring(server, &mut objects, to).await?;
    let [object] = objects;
    Ok(from.convert(object, to))
}

/// Brings objects to the version of a definition, where a webhook does it.
pub async fn bring(server: &Server, objects: &mut [Value], to: &Definition) -> Result<(), ApiError> {
    let Definition::Custom(wanted) = to else { return Ok(()) };
    match &wanted.webhook {
        Some(webhook) => webhook.convert(server, objects, wanted).await,
        None => Ok(()),
    }
}

/// What webhooks have made of objects in the course of one request. Who owns which fields is found out without waiting,
/// so what is missing there is noted, fetched, and the question asked again.
#[derive(Default)]
pub struct Conversions(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    /// Objects, what they were brought to, and what came of it; nothing if they cannot be brought there.
    known: Vec<(Value, String, Option<Value>)>,
    missing: Vec<(Value, Definition, Definition)>,
}

impl Conversions {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object at another version; nothing as long as it is not known.
    pub fn convert(&self, object: &Value, from: &Definition, to: &Definition) -> Option<Value> {
        let version = to.api_version();
        if !is_asked(to) || str_at(object, "/apiVersion") == version {
            return Some(from.convert(object.clone(), to));
        }
        let mut noted = self.noted();
        if let Some((.., made)) = noted.known.iter().find(|(of, to, _)| *to == version && of == object) {
            return made.clone();
        }
        noted.missing.push((object.clone(), from.clone(), to.clone()));
        None
    }

    /// Fetches what was missing; whether there was anything.
    pub async fn fetch(&self, server: &Server) -> bool {
        let missing = std::mem::take(&mut self.noted().missing);
        for (object, from, to) in &missing {
            let made = convert(server, object.clone(), from, to).await.ok();
            self.noted().known.push((object.clone(), to.api_version(), made));
        }
        !missing.is_empty()
    }
}

/// Brings what was read to the version that the call asks for, where a webhook does it.
pub async fn bring_entries(call: &Call, entries: &mut [Entry]) -> Result<(), ApiError> {
    if !is_asked(&call.definition) || entries.is_empty() {
        return Ok(());
    }
    let mut objects = entries.iter().map(stored::decode).collect::<Result<Vec<_>, _>>()?;
    bring(&call.server, &mut objects, &call.definition).await?;
    for (entry, object) in entries.iter_mut().zip(objects) {
        entry.value = object.to_string().into();
    }
    Ok(())
}

/// Whether a webhook brings objects to the version of a definition.
pub fn is_asked(definition: &Definition) -> bool {
    matches!(definition, Definition::Custom(custom) if custom.webhook.is_some())
}
