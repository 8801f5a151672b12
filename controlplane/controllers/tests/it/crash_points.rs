//! The process dies after each single write of a rollout in turn, and what comes of it is always the same.
//!
//! Each crash point has a namespace of its own on one API server. The controllers' clock stands still, so that no
//! deadline can pass and no test depends on how fast the machine is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::pin::pin;

use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::select_all;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, selector, template};

/// Something that users do.
enum Action {
    Create(ApiResource, Value),
    Patch(ApiResource, &'static str, Value),
    Delete(ApiResource, &'static str, DeleteParams),
    DeleteNamespace,
}

/// What users do at once, and when the controllers have followed.
struct Step(Vec<Action>, fn(&State) -> bool);

/// What there is in a namespace, by kind and name, and which pods there ever were.
#[derive(Default)]
struct State {
    objects: BTreeMap<(String, String), Value>,
    pods: BTreeSet<String>,
    namespace: bool,
}

impl State {
    fn status<'a>(&'a self, kind: &str, name: &str, field: &str) -> &'a Value {
        let found = self.objects.get(&(kind.to_owned(), name.to_owned()));
        found.map_or(&Value::Null, |object| &object["status"][field])
    }

    /// Whether the status tells of the specification as it is.
    fn is_seen(&self, kind: &str, name: &str) -> bool {
        let found = self.objects.get(&(kind.to_owned(), name.to_owned()));
        found.is_some_and(|one| one["metadata"]["generation"] == one["status"]["observedGeneration"])
    }

    /// Whether nothing is on its way out.
    fn is_at_rest(&self) -> bool {
        self.objects.values().all(|object| object["metadata"]["deletionTimestamp"].is_null())
    }

    fn count(&self, kind: &str) -> usize {
        self.objects.keys().filter(|(of, _)| of == kind).count()
    }

    /// What two runs of the same must agree on, a line for each object.
    fn essence(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for ((kind, name), object) in &self.objects {
            let prefix = object["metadata"]["generateName"].as_str().unwrap_or(name).to_owned();
            let seen = self.is_seen(kind, name);
            let mut object = object.clone();
            // The items of a list do not repeat these.
            object.as_object_mut().unwrap().retain(|name, _| name != "kind" && name != "apiVersion");
            let mut line = format!("{kind} {prefix} seen={seen} {}", essence(object));
            // Equal pods are told apart by their number.
            while lines.contains(&line) {
                line.push('+');
            }
            lines.insert(line);
        }
        lines
    }
}

/// An object without what differs from run to run: identities, times, addresses, and how many steps it took.
fn essence(mut value: Value) -> Value {
    const VARIES: [&str; 12] = [
        "annotations.kubernetes.io",
        "creationTimestamp",
        "generation",
        "hostIP",
        "hostIPs",
        "managedFields",
        "name",
        "namespace",
        "observedGeneration",
        "podIP",
        "podIPs",
        "resourceVersion",
    ];
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                let identity = name.ends_with("uid") || name.ends_with("Time") || name.starts_with("volume");
                !identity && !VARIES.contains(&name.as_str())
            });
            for field in fields.values_mut() {
                *field = essence(field.take());
            }
        }
        Value::Array(items) => {
            for item in items.iter_mut() {
                *item = essence(item.take());
            }
            items.sort_by_key(|item| item["type"].as_str().map(str::to_owned));
        }
        _ => {}
    }
    value
}

fn kind<K: kube::Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// Does the steps in `namespace`; the final state must be `expected`, if that is known already.
async fn play(cluster: &Cluster, namespace: &str, steps: &[Step], expected: Option<&State>) -> State {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let object = json!({"metadata": {"name": namespace}});
    namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();

    let api = |resource: &ApiResource| -> Api<DynamicObject> {
        Api::namespaced_with(cluster.client.clone(), namespace, resource)
    };
    let kinds = [
        kind::<Deployment>(),
        kind::<ReplicaSet>(),
        kind::<StatefulSet>(),
        kind::<ControllerRevision>(),
        kind::<Job>(),
        kind::<PersistentVolumeClaim>(),
        kind::<Pod>(),
    ];
    let of_namespace = watcher::Config::default().fields(&format!("metadata.name={namespace}"));
    let all: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &kind::<Namespace>());
    let own = watcher(all, of_namespace).map(|event| ("Namespace".to_owned(), event)).boxed();
    let others = kinds.iter().map(|resource| {
        let kind = resource.kind.clone();
        watcher(api(resource), watcher::Config::default()).map(move |event| (kind.clone(), event)).boxed()
    });
    let mut events = select_all(others.chain([own]));

    let mut state = State::default();
    for (index, Step(actions, done)) in steps.iter().enumerate() {
        for action in actions {
            match action {
                Action::Create(resource, object) => {
                    let object = serde_json::from_value(object.clone()).unwrap();
                    api(resource).create(&PostParams::default(), &object).await.unwrap();
                }
                Action::Patch(resource, name, patch) => {
                    let patch = Patch::Merge(patch);
                    api(resource).patch(name, &PatchParams::default(), &patch).await.unwrap();
                }
                Action::Delete(resource, name, params) => {
                    api(resource).delete(name, params).await.unwrap();
                }
                Action::DeleteNamespace => {
                    namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
                }
            }
        }
        let wanted = expected.filter(|_| index + 1 == steps.len()).map(State::essence);
        let has_ended = |state: &State| {
            state.is_at_rest()
                && done(state)
                && wanted.as_ref().is_none_or(|wanted| *wanted == state.essence())
        };
        let following = async {
            while let Some((kind, event)) = events.next().await {
                state.observe(kind, event.unwrap());
                if !has_ended(&state) {
                    continue;
                }
                // The watches are not in step: one may still owe what was written before the last event of another.
                for resource in &kinds {
                    let all = api(resource).list(&ListParams::default()).await.unwrap();
                    state.replace(&resource.kind, all.items);
                }
                if has_ended(&state) {
                    return;
                }
            }
        };
        let ended = tokio::time::timeout(PATIENCE, following).await.is_ok();
        assert!(ended, "step {index} in {namespace} came to no end:\n{}", difference(&state, wanted));
    }
    state
}

impl State {
    /// Takes `objects` for all that there is of a kind.
    fn replace(&mut self, kind: &str, objects: Vec<DynamicObject>) {
        self.objects.retain(|(of, _), _| of != kind);
        for object in objects {
            self.observe(kind.to_owned(), watcher::Event::Apply(object));
        }
    }

    fn observe(&mut self, kind: String, event: watcher::Event<DynamicObject>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                if kind == "Pod" {
                    self.pods.insert(object.uid().unwrap());
                }
                self.namespace |= kind == "Namespace";
                if kind != "Namespace" {
                    let value = serde_json::to_value(&object).unwrap();
                    self.objects.insert((kind, object.name_any()), value);
                }
            }
            watcher::Event::Delete(object) => {
                self.namespace &= kind != "Namespace";
                self.objects.remove(&(kind, object.name_any()));
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }
}

fn difference(state: &State, wanted: Option<BTreeSet<String>>) -> String {
    let (found, wanted) = (state.essence(), wanted.unwrap_or_default());
    let mut text = String::new();
    for line in found.difference(&wanted) {
        writeln!(text, "  found  {line}").unwrap();
    }
    for line in wanted.difference(&found) {
        writeln!(text, "  wanted {line}").unwrap();
    }
    text
}

/// Plays the steps once undisturbed, then once for each write of the controllers with a crash after it.
async fn survives_a_crash_after_each_write(steps: Vec<Step>) {
    let mut cluster = Cluster::without_controllers().await;
    let now = jiff::Timestamp::now();
    cluster.clock = vkube_controllers::Clock::from_fn(move || now);
    let mut controllers = cluster.controllers(None);
    let expected = play(&cluster, "undisturbed", &steps, None).await;

    for point in 1.. {
        let namespace = format!("crash-{point}");
        controllers.crash_after(point, &format!("/{namespace}"));
        let mut playing = pin!(play(&cluster, &namespace, &steps, Some(&expected)));
        let early = match select(pin!(controllers.crashed()), playing.as_mut()).await {
            Either::Left(_) => None,
            Either::Right((state, _)) => Some(state),
        };
        let last = controllers.writes().pop();
        // The last write may have been the end of the play too.
        let crashed = controllers.spare();
        if crashed {
            if early.is_some() {
                controllers.crashed().await;
            }
            controllers = cluster.controllers(None);
        }
        let state = match early {
            Some(state) => state,
            None => playing.await,
        };
        assert_eq!(state.pods.len(), expected.pods.len(), "pods there ever were, crash after {last:?}");
        if !crashed {
            assert!(point > 5, "there were too few writes to learn anything from");
            break;
        }
    }
    controllers.stop().await;
    cluster.stop().await;
}

fn is_rolled_out(state: &State, replicas: usize) -> bool {
    let count = |field: &str| state.status("Deployment", "web", field).as_u64().unwrap_or(0) as usize;
    state.is_seen("Deployment", "web")
        && ["replicas", "updatedReplicas", "availableReplicas"].map(count) == [replicas; 3]
        && count("terminatingReplicas") == 0
        && state.count("Pod") == replicas
}

fn deployment(image: &str) -> Value {
    let spec = json!({"replicas": 1, "selector": selector("web"), "template": template("web", image)});
    json!({"metadata": {"name": "web"}, "spec": spec})
}

#[tokio::test]
async fn the_rollout_and_end_of_a_deployment_are_the_same_wherever_the_process_dies() {
    let image = json!({"spec": {"template": template("web", "pause:2")}});
    survives_a_crash_after_each_write(vec![
        Step(vec![Action::Create(kind::<Deployment>(), deployment("pause"))], |state| {
            is_rolled_out(state, 1)
        }),
        Step(vec![Action::Patch(kind::<Deployment>(), "web", image)], |state| {
            is_rolled_out(state, 1) && state.count("ReplicaSet") == 2
        }),
        Step(vec![Action::Delete(kind::<Deployment>(), "web", DeleteParams::foreground())], |state| {
            state.objects.is_empty()
        }),
    ])
    .await;
}

#[tokio::test]
async fn the_update_of_a_stateful_set_ends_the_same_wherever_the_process_dies() {
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let retention = json!({"whenScaled": "Delete", "whenDeleted": "Retain"});
    let spec = json!({
        "replicas": 2, "serviceName": "db", "selector": selector("db"), "template": template("db", "pause"),
        "volumeClaimTemplates": [claim], "persistentVolumeClaimRetentionPolicy": retention,
    });
    fn is_updated(state: &State, replicas: u64) -> bool {
        let count = |field: &str| state.status("StatefulSet", "db", field).as_u64().unwrap_or(0);
        state.is_seen("StatefulSet", "db")
            && ["replicas", "currentReplicas", "availableReplicas"].map(count) == [replicas; 3]
            && state.status("StatefulSet", "db", "currentRevision")
                == state.status("StatefulSet", "db", "updateRevision")
    }
    let change = json!({"spec": {"template": template("db", "pause:2")}});
    survives_a_crash_after_each_write(vec![
        Step(
            vec![Action::Create(kind::<StatefulSet>(), json!({"metadata": {"name": "db"}, "spec": spec}))],
            |state| is_updated(state, 2),
        ),
        Step(vec![Action::Patch(kind::<StatefulSet>(), "db", change)], |state| {
            is_updated(state, 2) && state.count("ControllerRevision") == 2
        }),
        Step(vec![Action::Patch(kind::<StatefulSet>(), "db", json!({"spec": {"replicas": 1}}))], |state| {
            is_updated(state, 1) && state.count("PersistentVolumeClaim") == 1
        }),
    ])
    .await;
}

#[tokio::test]
async fn a_job_is_counted_the_same_wherever_the_process_dies() {
    let pod = |image: &str| json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}});
    let good =
        json!({"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": pod("true")});
    let bad = json!({"completions": 1, "backoffLimit": 0, "template": pod("false")});
    fn has_ended(state: &State, name: &str, condition: &str) -> bool {
        let conditions = state.status("Job", name, "conditions").as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == condition && one["status"] == "True")
    }
    survives_a_crash_after_each_write(vec![Step(
        vec![
            Action::Create(kind::<Job>(), json!({"metadata": {"name": "good"}, "spec": good})),
            Action::Create(kind::<Job>(), json!({"metadata": {"name": "bad"}, "spec": bad})),
        ],
        |state| has_ended(state, "good", "Complete") && has_ended(state, "bad", "Failed"),
    )])
    .await;
}

#[tokio::test]
async fn the_deletion_of_a_namespace_ends_the_same_wherever_the_process_dies() {
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    survives_a_crash_after_each_write(vec![
        Step(
            vec![
                Action::Create(kind::<ReplicaSet>(), deployment("pause")),
                Action::Create(
                    kind::<PersistentVolumeClaim>(),
                    json!({"metadata": {"name": "data"}, "spec": claim}),
                ),
            ],
            |state| state.status("ReplicaSet", "web", "availableReplicas") == 1,
        ),
        Step(vec![Action::DeleteNamespace], |state| !state.namespace && state.objects.is_empty()),
    ])
    .await;
}
