//! Which watch feeds which cache, and what a change asks to be looked at.

use std::pin::Pin;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::join;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::{Api, Resource};
use tokio::sync::mpsc;

use super::Syncer;
use super::by_rule::namespace_appeared;
use super::copies::{copies, further_copies};
use crate::config::NodeSync;
use crate::context::{Context, Kind, Task};
use crate::labels::ObjectKey;
use crate::resources::{endpoint_slice, event, export, ingress, persistent_volume_claim, pod, service};
use crate::spaces;
use crate::watch::{Scope, cached, followed};

/// Host events waiting to be told in the virtual cluster. When full, the watch waits, which costs nothing.
const EVENTS: usize = 64;

/// A watch at work; it ends only with the syncer.
pub(super) type Job<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Syncer {
    /// The watches that names and streams depend on. Sets the number of caches that have to fill first.
    pub(super) fn watches(&self) -> Vec<Job<'_>> {
        let cx = &*self.context;
        let mut jobs = self.virtual_watches();
        jobs.extend(self.host_watches());
        self.outstanding.send_replace(jobs.len());
        if cx.translator.config.namespaces.is_some() {
            jobs.push(spaces::listen(cx).boxed());
            jobs.push(self.mapped().boxed());
        }
        jobs
    }

    fn virtual_watches(&self) -> Vec<Job<'_>> {
        let cx = &*self.context;
        let seen = &cx.virtual_side;
        let all = || cx.virtual_client.clone();
        let outstanding = &self.outstanding;
        vec![
            cached(
                Api::all(all()),
                Scope::default().metadata(),
                &seen.namespaces,
                outstanding,
                move |change| {
                    if let Some(object) = change.object() {
                        let name = object.metadata.name.as_deref().unwrap_or_default();
                        relabel(cx, name);
                        if cx.translator.mapped(name).is_some() {
                            cx.spaces.ask();
                            cx.enqueue(Kind::Namespace, ObjectKey::new("", name));
                        }
                        if change.old.is_none() {
                            namespace_appeared(cx, name);
                        }
                    }
                },
            )
            .boxed(),
            cached(Api::all(all()), Scope::default(), &seen.pods, outstanding, move |change| {
                let Some(object) = change.object() else { return };
                let key = ObjectKey::of(&object.metadata);
                let needs = change.new.as_ref().map(|pod| pod::needs(pod)).unwrap_or_default();
                refer(cx, Task { kind: Kind::Pod, key: key.clone() }, needs);
                cx.enqueue(Kind::Pod, key);
            })
            .boxed(),
            cached(Api::all(all()), Scope::default(), &seen.services, outstanding, move |change| {
                let Some(object) = change.object() else { return };
                let key = ObjectKey::of(&object.metadata);
                if change.new.is_some() {
                    cx.pending.forget(&key);
                }
                cx.enqueue(Kind::Endpoints, key.clone());
                if export::is_wanted(cx, &key) {
                    cx.enqueue(Kind::Export, key.clone());
                }
                for slice in endpoint_slice::of_service(cx, &key) {
                    cx.enqueue(Kind::EndpointSlice, slice);
                }
                cx.enqueue(
                    if service::is_hosts(&key) { Kind::KubernetesService } else { Kind::Service },
                    key,
                );
            })
            .boxed(),
            cached(Api::all(all()), Scope::default(), &seen.endpoint_slices, outstanding, move |change| {
                if let Some(object) = change.object() {
                    cx.enqueue(Kind::EndpointSlice, ObjectKey::of(&object.metadata));
                }
            })
            .boxed(),
            cached(Api::all(all()), Scope::default().metadata(), &seen.nodes, outstanding, move |change| {
                if let Some(object) = change.object() {
                    cx.enqueue(Kind::Node, ObjectKey::of(&object.metadata));
                }
            })
            .boxed(),
            cached(
                Api::all(all()),
                Scope::default().metadata(),
                &seen.persistent_volumes,
                outstanding,
                |change| {
                    let Some(object) = change.object() else { return };
                    let claim = object
                        .metadata
                        .annotations
                        .as_ref()
                        .and_then(|a| a.get(persistent_volume_claim::CLAIM));
                    if let Some((namespace, name)) = claim.and_then(|claim| claim.split_once('/')) {
                        cx.enqueue(Kind::PersistentVolumeClaim, ObjectKey::new(namespace, name));
                    }
                },
            )
            .boxed(),
        ]
    }

    fn host_watches(&self) -> Vec<Job<'_>> {
        let cx = &*self.context;
        let host = &cx.host_side;
        let config = &cx.translator.config;
        let outstanding = &self.outstanding;
        let mut jobs = copies(cx, &config.host_namespace, outstanding);
        jobs.extend([
            cached(
                cx.own_api(),
                Scope::fields(format!("metadata.name={}", config.api_service)),
                &host.api_service,
                outstanding,
                move |_| refresh_api(cx),
            )
            .boxed(),
            cached(
                cx.own_api(),
                Scope::labels(format!("kubernetes.io/service-name={}", config.api_service)),
                &host.api_endpoints,
                outstanding,
                move |_| refresh_api(cx),
            )
            .boxed(),
        ]);
        if matches!(config.nodes, NodeSync::Used | NodeSync::Selected(_)) {
            let nodes = Api::all(cx.host_client.clone());
            jobs.push(
                cached(nodes, Scope::default(), &host.nodes, outstanding, move |change| {
                    if let Some(object) = change.object() {
                        cx.enqueue(Kind::Node, ObjectKey::of(&object.metadata));
                    }
                })
                .boxed(),
            );
        }
        jobs
    }

    /// Watches that names and streams do not depend on, only what is brought in step; that one of them is forbidden must
    /// not keep the rest waiting.
    pub(super) fn optional_watches(&self) -> Vec<Job<'_>> {
        use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, PersistentVolumeClaim, Secret};
        use k8s_openapi::api::networking::v1::Ingress;
        use k8s_openapi::api::policy::v1::PodDisruptionBudget;

        let cx = &*self.context;
        let host = &cx.host_side;
        let config = &cx.translator.config;
        let mut jobs: Vec<Job> = vec![
            follow::<ConfigMap>(cx, Kind::ConfigMap, || metadata_of(&host.config_maps.all())),
            follow::<Secret>(cx, Kind::Secret, || metadata_of(&host.secrets.all())),
            follow::<Endpoints>(cx, Kind::Endpoints, || metadata_of(&host.endpoints.all())),
            follow::<PersistentVolumeClaim>(cx, Kind::PersistentVolumeClaim, || {
                host.claims.all().iter().map(|object| object.metadata.clone()).collect()
            }),
        ];
        jobs.extend(further_copies(cx, &config.host_namespace));
        if config.syncs(Kind::Ingress) {
            jobs.push(
                followed(Api::<Ingress>::all(cx.virtual_client.clone()), Scope::default(), move |seen| {
                    match seen {
                        Some((object, exists)) => {
                            let key = ObjectKey::of(&object.metadata);
                            let needs = if exists { ingress::needs(object) } else { Vec::new() };
                            refer(cx, Task { kind: Kind::Ingress, key: key.clone() }, needs);
                            cx.enqueue(Kind::Ingress, key);
                        }
                        None => sweep(cx, Kind::Ingress, metadata_of(&host.ingresses.all())),
                    }
                })
                .boxed(),
            );
        }
        if config.syncs(Kind::NetworkPolicy) {
            jobs.push(self.network_policies());
        }
        if config.syncs(Kind::PodDisruptionBudget) {
            jobs.push(follow::<PodDisruptionBudget>(cx, Kind::PodDisruptionBudget, || {
                metadata_of(&host.disruption_budgets.all())
            }));
        }
        jobs.extend(self.by_rule());
        jobs
    }

    /// Tells the events of all namespaces on the host that hold objects of the virtual cluster.
    pub(super) async fn all_events(&self) {
        let cx = &*self.context;
        let config = &cx.translator.config;
        let mapped = async {
            if config.namespaces.is_some() {
                spaces::each(cx, |_, place| self.events(&place), |_, _| {}).await;
            }
        };
        join(self.events(&config.host_namespace), mapped).await;
    }

    /// Policies go to the host, and the pods that they isolate carry it in their labels.
    fn network_policies(&self) -> Job<'_> {
        use k8s_openapi::api::networking::v1::NetworkPolicy;

        let cx = &*self.context;
        async move {
            let all: Api<NetworkPolicy> = Api::all(cx.virtual_client.clone());
            let cache = &cx.virtual_side.network_policies;
            cached(all, Scope::default(), cache, None, move |change| {
                let Some(object) = change.object() else { return };
                let key = ObjectKey::of(&object.metadata);
                relabel(cx, &key.namespace);
                cx.enqueue(Kind::NetworkPolicy, key);
            })
            .await;
        }
        .boxed()
    }

    /// Tells host events in the virtual cluster, one after the other: their order is part of what they tell.
    pub(super) fn events(&self, namespace: &str) -> Job<'_> {
        let cx = &*self.context;
        let api = cx.api_in::<Event>(namespace);
        let (sender, mut receiver) = mpsc::channel::<Event>(EVENTS);
        let tell = async move {
            self.ready().await;
            while let Some(event) = receiver.recv().await {
                if let Err(error) = event::forward(cx, &event).await {
                    tracing::debug!(event = ?event.metadata.name, %error, "cannot tell an event");
                }
            }
        };
        join(crate::watch::sent(api, sender), tell).map(drop).boxed()
    }
}

fn metadata_of<K>(objects: &[Arc<PartialObjectMeta<K>>]) -> Vec<ObjectMeta> {
    objects.iter().map(|object| object.metadata.clone()).collect()
}

/// Looks again at the virtual object behind a host object.
pub(super) fn enqueue_origin(cx: &Context, kind: Kind, metadata: &ObjectMeta) {
    if let Some(key) = cx.translator.origin(kind.name(), metadata) {
        cx.enqueue(kind, key);
    }
}

/// The host pods of a namespace carry its labels.
fn relabel(cx: &Context, namespace: &str) {
    for pod in cx.virtual_side.pods.namespace(namespace) {
        cx.enqueue(Kind::Pod, ObjectKey::of(&pod.metadata));
    }
}

/// Records what an object refers to and looks at what became needed or unneeded.
pub(super) fn refer(cx: &Context, source: Task, targets: Vec<Task>) {
    let changed = cx.references().set(source, targets);
    for task in changed {
        cx.queue.add(task);
    }
}

/// The API server's address changed, or became known: pods may have waited for it.
fn refresh_api(cx: &Context) {
    cx.enqueue(Kind::KubernetesService, ObjectKey::new("default", "kubernetes"));
    if cx.api_endpoint().is_ok() {
        for pod in cx.virtual_side.pods.all() {
            cx.enqueue(Kind::Pod, ObjectKey::of(&pod.metadata));
        }
    }
}

/// Looks again at every host object of a kind: its virtual object may have vanished unseen.
fn sweep(cx: &Context, kind: Kind, hosts: Vec<ObjectMeta>) {
    for metadata in hosts {
        enqueue_origin(cx, kind, &metadata);
    }
}

/// Looks at every virtual object of a kind; of those of which only what is referred to is copied, at what is.
fn follow<'a, K>(cx: &'a Context, kind: Kind, hosts: impl Fn() -> Vec<ObjectMeta> + Send + 'a) -> Job<'a>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + 'static,
{
    let is_by_need = matches!(kind, Kind::ConfigMap | Kind::Secret) && !cx.translator.config.syncs_all(kind);
    let api: Api<PartialObjectMeta<K>> = Api::all(cx.virtual_client.clone());
    followed(api, Scope::default().metadata(), move |seen| match seen {
        Some((object, _)) => {
            let key = ObjectKey::of(&object.metadata);
            if kind == Kind::Endpoints && export::is_wanted(cx, &key) {
                cx.enqueue(Kind::Export, key.clone());
            }
            if !is_by_need || cx.references().needs(kind, &key) {
                cx.enqueue(kind, key);
            }
        }
        None => sweep(cx, kind, hosts()),
    })
    .boxed()
}
