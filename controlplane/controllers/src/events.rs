//! Events: what controllers tell users about their objects.

use std::collections::VecDeque;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde_json::json;
use tokio::sync::mpsc;

use crate::api::{self, Api, Error};
use crate::clock::{Clock, time};

/// Events waiting to be sent; more are dropped, as they are hints and must never hold up a controller.
const BACKLOG: usize = 256;
/// Recent events that are counted up instead of repeated.
const REMEMBERED: usize = 128;

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Note {
    /// Whether users should worry.
    pub warning: bool,
    /// CamelCase, for programs.
    pub reason: &'static str,
    /// A sentence, for people.
    pub message: String,
}

impl Note {
    /// Something went as it should.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: false, reason, message: message.into() }
    }

    /// Something did not.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, reason, message: message.into() }
    }
}

struct Posted {
    note: Note,
    component: &'static str,
    about: ObjectReference,
}

/// Tells events in the name of one component.
#[derive(Clone)]
pub(crate) struct Recorder {
    outbox: mpsc::Sender<Posted>,
    component: &'static str,
}

impl Recorder {
    /// A recorder, and the task that sends what it and its [`Self::named`] clones record.
    pub fn new(api: Api, clock: Clock) -> (Self, impl Future<Output = ()>) {
        let (outbox, inbox) = mpsc::channel(BACKLOG);
        (Self { outbox, component: api::FIELD_MANAGER }, send(api, clock, inbox))
    }

    /// The same, in the name of `component`.
    pub fn named(&self, component: &'static str) -> Self {
        Self { outbox: self.outbox.clone(), component }
    }

    /// Tells `note` about `object`.
    pub fn tell(&self, object: &impl Resource<DynamicType = ()>, note: Note) {
        self.tell_about(reference(object), note);
    }

    /// Tells `note` about the object that `about` names.
    pub fn tell_about(&self, about: ObjectReference, note: Note) {
        tracing::debug!(component = self.component, reason = note.reason, message = note.message);
        // A full or closed outbox loses the event: see `BACKLOG`.
        let _ = self.outbox.try_send(Posted { note, component: self.component, about });
    }
}

fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference { resource_version: object.meta().resource_version.clone(), ..object.object_ref(&()) }
}

/// An event that is in the API already.
struct Sent {
    about: ObjectReference,
    note: Note,
    component: &'static str,
    name: String,
    count: i32,
}

async fn send(api: Api, clock: Clock, mut inbox: mpsc::Receiver<Posted>) {
    let mut sent: VecDeque<Sent> = VecDeque::new();
    while let Some(posted) = inbox.recv().await {
        let same = |old: &Sent| {
            old.note == posted.note && old.component == posted.component && old.about.uid == posted.about.uid
        };
        let known = sent.iter().position(same).and_then(|index| sent.remove(index));
        match publish(&api, clock.now(), posted, known).await {
            Ok(now_known) => {
                sent.push_back(now_known);
                if sent.len() > REMEMBERED {
                    sent.pop_front();
                }
            }
            Err(error) => tracing::debug!(%error, "an event was lost"),
        }
    }
}

async fn publish(api: &Api, now: Timestamp, posted: Posted, known: Option<Sent>) -> Result<Sent, Error> {
    let namespace = posted.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
    if let Some(mut sent) = known {
        sent.count += 1;
        let patch = json!({"count": sent.count, "lastTimestamp": time(now)});
        let url = format!("{}/{}", Event::url_path(&(), Some(&namespace)), sent.name);
        match api.patch::<serde_json::Value>(&url, &patch).await {
            Ok(_) => return Ok(sent),
            // Events expire; then the next one starts a new count.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }

    let Posted { note, component, about } = posted;
    let event = build(namespace, &note, component, &about, now);
    let name = event.metadata.name.clone().unwrap_or_default();
    let path = Event::url_path(&(), event.metadata.namespace.as_deref());
    let _: serde_json::Value = api.create(&path, &event).await?;
    Ok(Sent { about, note, component, name, count: 1 })
}

fn build(namespace: String, note: &Note, component: &str, about: &ObjectReference, now: Timestamp) -> Event {
    let subject = about.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{subject}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        reason: Some(note.reason.to_owned()),
        message: Some(note.message.clone()),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(String::new()),
        count: Some(1),
        first_timestamp: Some(time(now)),
        last_timestamp: Some(time(now)),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_subject_source_and_time() {
        let about = ObjectReference { name: Some("web".into()), uid: Some("1".into()), ..Default::default() };
        let note = Note::normal("ScalingReplicaSet", "Scaled up replica set web-1 from 0 to 3");
        let at = Timestamp::from_second(255).unwrap();
        let event = build("shop".into(), &note, "deployment-controller", &about, at);
        assert_eq!(event.metadata.name.as_deref(), Some("web.3b5f2f3600"));
        assert_eq!(event.type_.as_deref(), Some("Normal"));
        assert_eq!(event.source.unwrap().component.as_deref(), Some("deployment-controller"));
        assert_eq!((event.count, event.first_timestamp), (Some(1), Some(time(at))));
    }
}
