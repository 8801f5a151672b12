//! Core events as the components of a host cluster write them: repeated ones counted, never blocking.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

/// How many events may wait to be written; more are dropped, since events are best effort everywhere.
const QUEUE: usize = 1024;
/// How many distinct events are remembered for counting.
const REMEMBERED: usize = 512;

/// Writes events from one component.
#[derive(Clone)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<Note>,
}

/// An event to write.
struct Note {
    about: ObjectReference,
    warning: bool,
    reason: String,
    message: String,
}

/// Where the notes of recorders go; nothing is written while [`Writer::run`] is not polled.
pub(crate) struct Writer {
    client: Client,
    component: &'static str,
    host: Option<String>,
    notes: mpsc::Receiver<Note>,
}

impl Recorder {
    /// A recorder for `component` on `host`, and what writes its notes.
    pub fn new(client: Client, component: &'static str, host: Option<String>) -> (Self, Writer) {
        let (queue, notes) = mpsc::channel(QUEUE);
        (Self { queue }, Writer { client, component, host, notes })
    }

    /// Notes something normal.
    pub fn normal(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.note(about, false, reason, message.into());
    }

    /// Notes something that needs attention.
    pub fn warning(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.note(about, true, reason, message.into());
    }

    fn note(&self, about: ObjectReference, warning: bool, reason: &str, message: String) {
        let note = Note { about, warning, reason: reason.into(), message };
        if self.queue.try_send(note).is_err() {
            tracing::debug!(reason, "event dropped: too many are waiting");
        }
    }
}

/// The reference to an object that an event is about.
pub(crate) fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

impl Writer {
    /// Writes notes until the last recorder is dropped.
    pub async fn run(&mut self) {
        let mut written: HashMap<[String; 3], (String, i32)> = HashMap::new();
        while let Some(note) = self.notes.recv().await {
            let namespace = note.about.namespace.clone().unwrap_or_else(|| "default".into());
            let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
            let identity =
                [note.about.uid.clone().unwrap_or_default(), note.reason.clone(), note.message.clone()];

            if let Some((name, count)) = written.get_mut(&identity) {
                *count += 1;
                let repeat = json!({"count": *count, "lastTimestamp": Time(now())});
                if api.patch(name, &PatchParams::default(), &Patch::Merge(repeat)).await.is_ok() {
                    continue;
                }
            }
            if written.len() >= REMEMBERED {
                written.clear();
            }
            let event = build(note, &namespace, self.component, self.host.as_deref());
            match api.create(&PostParams::default(), &event).await {
                Ok(event) => {
                    written.insert(identity, (event.name_any(), 1));
                }
                Err(error) => tracing::debug!(%error, "event not written"),
            }
        }
    }
}

fn build(note: Note, namespace: &str, component: &str, host: Option<&str>) -> Event {
    let at = now();
    let name = note.about.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", Timestamp::now().as_nanosecond())),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        involved_object: note.about,
        type_: Some(if note.warning { "Warning" } else { "Normal" }.into()),
        reason: Some(note.reason),
        message: Some(note.message),
        count: Some(1),
        first_timestamp: Some(Time(at)),
        last_timestamp: Some(Time(at)),
        event_time: None::<MicroTime>,
        source: Some(EventSource { component: Some(component.into()), host: host.map(Into::into) }),
        reporting_component: Some(component.into()),
        reporting_instance: Some(host.unwrap_or_default().into()),
        ..Event::default()
    }
}

/// The current time in whole seconds, the precision of Kubernetes' timestamps.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH)
}
