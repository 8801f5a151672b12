//! Brings a cluster back to the state of a snapshot while it serves.
//!
//! What the snapshot lacks goes, what it holds is there again, with the same UIDs, and what is so already stays untouched.
//! Revisions go on: watchers see it as changes like any other, so nothing has to start anew. Definitions of custom
//! resources and namespaces come first, then all else in one transaction, which also remembers the restoring's word: whoever
//! asks again after a crash does not undo what happened since.
//!
//! What a moment, or the host, gave an object does not come back with it: pods are as they were created, claims are without
//! a volume, Services without node ports, tokens of service accounts are issued anew. A pod or claim that is still there under
//! its UID stays as it is.

use std::{collections::HashMap, time::Duration};

use bytes::{Buf, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::{Value, json};
use vkube_store::{Change, Document, Entry, Expect, Write};

use super::archive::{self, Item};
use crate::{
    body::Body,
    metadata,
    server::{Server, builtin},
    status::ApiError,
    stored,
};

/// The largest snapshot that is taken in, packed: it is held in memory while it is brought back.
const MOST_BYTES: usize = 256 << 20;
/// The word of the last restoring.
const MARK: &str = "/vkube/restored";
/// How long definitions of custom resources may take to be served.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

const DEFINITIONS: &str = "/registry/customresourcedefinitions/";
const NAMESPACES: &str = "/registry/namespaces/";

/// What a restoring did.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub(super) struct Summary {
    /// Objects that were written.
    pub(super) restored: usize,
    /// Objects that were so already, or that stay as they are.
    pub(super) unchanged: usize,
    /// Objects that the snapshot does not have.
    pub(super) removed: usize,
    /// Whether it had been done before, under the same word.
    pub(super) repeated: bool,
}

/// Brings the cluster back to the state of the snapshot in `body`, unless that was done under the word `once`.
pub(super) async fn restore(server: &Server, body: Body, once: &str) -> Result<Summary, ApiError> {
    let store = server.store();
    let mark = store.get(MARK, None).await?;
    if !once.is_empty() && mark.is_some_and(|mark| mark.value == once.as_bytes()) {
        return Ok(Summary { repeated: true, ..Summary::default() });
    }
    let packed = read(body).await?;
    let items = tokio::task::spawn_blocking(move || archive::unpack(packed.reader()))
        .await
        .map_err(ApiError::internal)?
        .map_err(|error| ApiError::bad_request(format!("not a snapshot: {}", chain(&error))))?;

    let present = archive::present(store).await?;
    let mut present: HashMap<String, Entry> =
        present.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
    let mut summary = Summary::default();
    let is_first = |key: &str| key.starts_with(DEFINITIONS) || key.starts_with(NAMESPACES);
    let (first, rest): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| is_first(&item.key));

    let definitions: Vec<Value> = first
        .iter()
        .filter(|item| item.key.starts_with(DEFINITIONS))
        .filter_map(|item| serde_json::from_slice(&item.document.bytes).ok())
        .collect();
    let mut writes = Vec::new();
    for item in first {
        let before = present.remove(&item.key);
        put(server, item, before, &mut writes, &mut summary).await?;
    }
    commit(server, writes).await?;
    served(server, &definitions).await;

    let mut puts = Vec::new();
    for item in rest {
        let before = present.remove(&item.key);
        put(server, item, before, &mut puts, &mut summary).await?;
    }
    let mut writes: Vec<Write> = Vec::with_capacity(present.len() + puts.len() + 1);
    for entry in present.values() {
        release(server, entry).await;
        writes.push(deletion(entry.key.clone()));
    }
    summary.removed = writes.len();
    writes.append(&mut puts);
    let word = Document { bytes: once.to_owned().into(), revision_at: None, index: bytes::Bytes::new() };
    writes.push(write(MARK.into(), Change::Put { document: word, ttl: None }));
    commit(server, writes).await?;
    tracing::info!(?summary, "a snapshot was restored");
    Ok(summary)
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

async fn read(mut body: Body) -> Result<bytes::Bytes, ApiError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}")))?;
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data);
        }
        if read.len() > MOST_BYTES {
            let message = format!("the snapshot is larger than {MOST_BYTES} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message));
        }
    }
    Ok(read.freeze())
}

async fn commit(server: &Server, writes: Vec<Write>) -> Result<(), ApiError> {
    if !writes.is_empty() {
        server.store().commit(writes).await?;
    }
    Ok(())
}

fn write(key: String, change: Change) -> Write {
    Write { key, expect: Expect::Any, change }
}

fn deletion(key: String) -> Write {
    write(key, Change::Delete { last: None })
}

/// Adds what brings one object back. One of another UID goes first, so that watchers do not take the one for the other.
async fn put(
    server: &Server,
    item: Item,
    before: Option<Entry>,
    writes: &mut Vec<Write>,
    summary: &mut Summary,
) -> Result<(), ApiError> {
    let Item { key, uid, mut document } = item;
    let found = before.as_ref().map(archive::identity).transpose().map_err(ApiError::internal)?;
    let is_same = found.as_ref().is_some_and(|(present, _)| *present == uid);
    let stays = is_same
        && ["/registry/pods/", "/registry/persistentvolumeclaims/"].iter().any(|p| key.starts_with(p));
    if stays || found.is_some_and(|(_, bytes)| is_same && document.bytes == bytes) {
        summary.unchanged += 1;
        return Ok(());
    }
    if let Some(before) = before.filter(|_| !is_same) {
        release(server, &before).await;
        writes.push(deletion(key.clone()));
    }
    if !is_same && let Some(plural) = fresh_plural(&key) {
        let mut object = serde_json::from_slice(&document.bytes).map_err(ApiError::internal)?;
        freshen(plural, &mut object);
        if plural == "services" && server.parts.own_services {
            allocate(server, &mut object).await?;
        }
        document = stored::encode(&mut object, &builtin("", plural)?)?;
    }
    summary.restored += 1;
    writes.push(write(key, Change::Put { document, ttl: None }));
    Ok(())
}

/// Kinds whose objects do not come back as they were, by their plural.
fn fresh_plural(key: &str) -> Option<&'static str> {
    let tail = key.strip_prefix(archive::OBJECTS)?;
    ["pods", "persistentvolumeclaims", "services", "secrets"]
        .into_iter()
        .find(|plural| tail.strip_prefix(plural).is_some_and(|rest| rest.starts_with('/')))
}

/// Takes from an object what a moment or the host gave it.
fn freshen(plural: &str, object: &mut Value) {
    match plural {
        "pods" => {
            forget(object, "/spec", &["nodeName"]);
            object["status"] = json!({"phase": "Pending"});
        }
        "persistentvolumeclaims" => {
            forget(object, "/spec", &["volumeName"]);
            forget(object, "/metadata/annotations", &BINDING);
            object["status"] = json!({"phase": "Pending"});
        }
        "services" => {
            forget(object, "/spec", &["healthCheckNodePort"]);
            let ports = object.pointer("/spec/ports").and_then(Value::as_array).map_or(0, Vec::len);
            for port in 0..ports {
                forget(object, &format!("/spec/ports/{port}"), &["nodePort"]);
            }
            object["status"] = json!({"loadBalancer": {}});
        }
        "secrets" if object["type"] == "kubernetes.io/service-account-token" => {
            forget(object, "/data", &["token", "ca.crt"]);
        }
        _ => {}
    }
}

/// Annotations of a claim that speak of its volume.
const BINDING: [&str; 3] = [
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.kubernetes.io/selected-node",
];

fn forget(object: &mut Value, path: &str, fields: &[&str]) {
    if let Some(map) = object.pointer_mut(path).and_then(Value::as_object_mut) {
        map.retain(|field, _| !fields.contains(&field.as_str()));
    }
}

/// Gives a Service addresses of this server's range: its own if they are free.
async fn allocate(server: &Server, service: &mut Value) -> Result<(), ApiError> {
    let allocator = &server.parts.allocator;
    if allocator.allocate(service, None, false).await.is_ok() {
        return Ok(());
    }
    if let Some(spec) = service["spec"].as_object_mut() {
        spec.retain(|field, _| field != "clusterIP" && field != "clusterIPs");
    }
    allocator.allocate(service, None, false).await
}

/// Gives back what a Service that goes has of this server's range. In a virtual cluster the syncer sees to it.
async fn release(server: &Server, entry: &Entry) {
    if server.parts.own_services
        && fresh_plural(&entry.key) == Some("services")
        && let Ok(service) = stored::decode(entry)
    {
        server.parts.allocator.release(&service, None).await;
    }
}

/// Waits until custom resources are served: whoever looks for the owner of an object must find its kind.
async fn served(server: &Server, definitions: &[Value]) {
    let all_are = || {
        definitions.iter().all(|definition| {
            let text = |path: &str| definition.pointer(path).and_then(Value::as_str).unwrap_or_default();
            let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
            let mut established =
                definition.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
            !established.any(|condition| condition["type"] == "Established" && condition["status"] == "True")
                || versions.into_iter().flatten().filter(|version| version["served"] == true).all(|version| {
                    let version = version["name"].as_str().unwrap_or_default();
                    server.catalog.find(text("/spec/group"), version, text("/spec/names/plural")).is_some()
                })
        })
    };
    let wait = async {
        while !all_are() {
            tokio::time::sleep(POLL).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        let names: Vec<&str> = definitions.iter().map(metadata::name).collect();
        tracing::warn!(?names, "custom resources of a snapshot are not served yet");
    }
}
