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

use crate::profile;

/// How many events may wait to be written; more are dropped, since events are best effort everywhere.
const QUEUE: usize = 1024;
/// How many distinct events are remembered for counting.
const REMEMBERED: usize = 512;

/// Writes events from one component.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Note>,
}

/// An event to write.
struct Note {
    about: ObjectReference,
    warning: bool,
    reason: String,
    message: String,
    form: Form,
}

/// How components tell events.
enum Form {
    /// Counted, by a component of a host.
    Core,
    /// In series, by a controller that did something: `events.k8s.io`.
    Series { controller: String, action: &'static str, related: Option<Box<ObjectReference>> },
}

/// Where the notes of recorders go; nothing is written while [`Writer::run`] is not polled.
pub struct Writer {
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

    /// A recorder for the schedulers of this process, and what writes its notes.
    pub(crate) fn scheduling(client: Client) -> (Self, Writer) {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self::new(client, profile::DEFAULT, Some(host.trim().to_owned()))
    }

    /// A pod has a node.
    pub(crate) fn scheduled(&self, pod: ObjectReference, scheduler: &str, message: String) {
        let form = Form::Series { controller: scheduler.to_owned(), action: "Binding", related: None };
        self.send(Note { about: pod, warning: false, reason: "Scheduled".into(), message, form });
    }

    /// A pod fits nowhere.
    pub(crate) fn unscheduled(&self, pod: ObjectReference, scheduler: &str, message: impl Into<String>) {
        let form = Form::Series { controller: scheduler.to_owned(), action: "Scheduling", related: None };
        let message = message.into();
        self.send(Note { about: pod, warning: true, reason: "FailedScheduling".into(), message, form });
    }

    /// A pod has to leave for another.
    pub(crate) fn preempted(
        &self,
        victim: ObjectReference,
        pod: ObjectReference,
        scheduler: &str,
        message: String,
    ) {
        let form = Form::Series {
            controller: scheduler.to_owned(),
            action: "Preempting",
            related: Some(Box::new(pod)),
        };
        self.send(Note { about: victim, warning: false, reason: "Preempted".into(), message, form });
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
        self.send(Note { about, warning, reason: reason.into(), message, form: Form::Core });
    }

    fn send(&self, note: Note) {
        if let Err(lost) = self.queue.try_send(note) {
            tracing::debug!(reason = lost.into_inner().reason, "event dropped: too many are waiting");
        }
    }
}

/// The reference to an object that an event is about.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
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
                let repeat = match note.form {
                    Form::Core => json!({"count": *count, "lastTimestamp": Time(now())}),
                    Form::Series { .. } => {
                        json!({"series": {"count": *count, "lastObservedTime": MicroTime(Timestamp::now())}})
                    }
                };
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
    let name = note.about.name.clone().unwrap_or_default();
    let host = host.unwrap_or_default();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", Timestamp::now().as_nanosecond())),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        involved_object: note.about,
        type_: Some(if note.warning { "Warning" } else { "Normal" }.into()),
        reason: Some(note.reason),
        message: Some(note.message),
        ..Event::default()
    };
    match note.form {
        Form::Core => Event {
            count: Some(1),
            first_timestamp: Some(Time(now())),
            last_timestamp: Some(Time(now())),
            source: Some(EventSource {
                component: Some(component.into()),
                host: Some(host.to_owned()).filter(|host| !host.is_empty()),
            }),
            reporting_component: Some(component.into()),
            reporting_instance: Some(host.into()),
            ..event
        },
        Form::Series { controller, action, related } => Event {
            event_time: Some(MicroTime(Timestamp::now())),
            action: Some(action.into()),
            related: related.map(|related| *related),
            reporting_instance: Some(format!("{controller}-{host}")),
            reporting_component: Some(controller),
            ..event
        },
    }
}

/// The current time in whole seconds, the precision of Kubernetes' timestamps.
pub fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH)
}
