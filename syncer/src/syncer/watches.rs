//! Which watch feeds which cache, and what a change asks to be looked at.

use std::pin::Pin;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{join, join_all};
use k8s_openapi::api::core::v1::{Event, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::{Api, Resource};
use tokio::sync::{mpsc, watch};

use super::Syncer;
use super::by_rule::namespace_appeared;
use crate::cache::Change;
use crate::config::NodeSync;
use crate::context::{Context, Kind, Task};
use crate::labels::ObjectKey;
use crate::resources::pod::{self, TOKEN_KIND};
use crate::resources::{endpoint_slice, event, export, ingress, node, persistent_volume_claim, service};
use crate::spaces;
use crate::watch::{Outstanding, Scope, cached, cached_slim, followed};

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
            follow_needed::<ConfigMap>(cx, Kind::ConfigMap, || metadata_of(&host.config_maps.all())),
            follow_needed::<Secret>(cx, Kind::Secret, || metadata_of(&host.secrets.all())),
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

    /// The watches of namespaces on the host that virtual ones have for themselves.
    async fn mapped(&self) {
        let (cx, host) = (&*self.context, &self.context.host_side);
        self.ready().await;
        let work = |namespace: String, place: String| async move {
            let outstanding = watch::channel(usize::MAX).0;
            let mut jobs = copies(cx, &place, &outstanding);
            outstanding.send_replace(jobs.len());
            jobs.extend(further_copies(cx, &place));
            let mut filled = outstanding.subscribe();
            let open = async {
                // The sender lives as long as we do, so waiting cannot fail.
                let _ = filled.wait_for(|outstanding| *outstanding == 0).await;
                cx.spaces.open(cx, &namespace);
            };
            join(join_all(jobs), open).await;
        };
        spaces::each(cx, work, |namespace, place| {
            cx.spaces.close(namespace);
            host.forget(place);
        })
        .await;
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
            let (nobody, _) = watch::channel(1);
            let all: Api<NetworkPolicy> = Api::all(cx.virtual_client.clone());
            let cache = &cx.virtual_side.network_policies;
            cached(all, Scope::default(), cache, &nobody, move |change| {
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

/// Watches of the copies in one namespace of the host of what pods and DNS depend on.
fn copies<'a>(cx: &'a Context, namespace: &str, outstanding: &'a Outstanding) -> Vec<Job<'a>> {
    let host = &cx.host_side;
    let ours = || Scope::labels(cx.translator.host_selector());
    vec![
        cached_slim(cx.api_in(namespace), ours(), pod::slim_host, &host.pods, outstanding, move |change| {
            let Some(object) = change.object() else { return };
            enqueue_origin(cx, Kind::Pod, &object.metadata);
            if let Some(name) = node::of(object) {
                cx.enqueue(Kind::Node, ObjectKey::new("", name));
            }
        })
        .boxed(),
        cached(cx.api_in(namespace), ours(), &host.services, outstanding, move |change| {
            protect_reserved(cx, change);
            enqueue_host(cx, Kind::Service)(change);
        })
        .boxed(),
        cached(
            cx.api_in(namespace),
            ours(),
            &host.claims,
            outstanding,
            enqueue_host(cx, Kind::PersistentVolumeClaim),
        )
        .boxed(),
        cached(
            cx.api_in(namespace),
            ours().metadata(),
            &host.config_maps,
            outstanding,
            enqueue_host(cx, Kind::ConfigMap),
        )
        .boxed(),
        cached(cx.api_in(namespace), ours().metadata(), &host.secrets, outstanding, move |change| {
            if let Some(object) = change.object() {
                enqueue_origin(cx, Kind::Secret, &object.metadata);
                enqueue_token(cx, &object.metadata);
            }
        })
        .boxed(),
        cached(
            cx.api_in(namespace),
            ours().metadata(),
            &host.endpoints,
            outstanding,
            enqueue_host(cx, Kind::Endpoints),
        )
        .boxed(),
        cached(
            cx.api_in(namespace),
            ours().metadata(),
            &host.endpoint_slices,
            outstanding,
            enqueue_host(cx, Kind::EndpointSlice),
        )
        .boxed(),
    ]
}

/// Watches of the other copies in one namespace of the host.
fn further_copies<'a>(cx: &'a Context, namespace: &str) -> Vec<Job<'a>> {
    let (host, config) = (&cx.host_side, &cx.translator.config);
    let mut jobs = Vec::new();
    if config.syncs(Kind::Ingress) {
        jobs.push(optional(cx, namespace, &host.ingresses, Kind::Ingress));
    }
    if config.syncs(Kind::NetworkPolicy) {
        jobs.push(optional(cx, namespace, &host.network_policies, Kind::NetworkPolicy));
    }
    if config.syncs(Kind::PodDisruptionBudget) {
        jobs.push(optional(cx, namespace, &host.disruption_budgets, Kind::PodDisruptionBudget));
    }
    jobs
}

/// A host cache that nothing waits for.
fn optional<'a, K>(
    cx: &'a Context,
    namespace: &str,
    cache: &'a crate::context::Meta<K>,
    kind: Kind,
) -> Job<'a>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let api = cx.api_in(namespace);
    async move {
        let (nobody, _) = watch::channel(usize::MAX);
        let scope = Scope::labels(cx.translator.host_selector()).metadata();
        cached(api, scope, cache, &nobody, enqueue_host(cx, kind)).await;
    }
    .boxed()
}

fn metadata_of<K>(objects: &[Arc<PartialObjectMeta<K>>]) -> Vec<ObjectMeta> {
    objects.iter().map(|object| object.metadata.clone()).collect()
}

/// Looks again at the virtual object behind a host object.
fn enqueue_origin(cx: &Context, kind: Kind, metadata: &ObjectMeta) {
    if let Some(key) = cx.translator.origin(kind.name(), metadata) {
        cx.enqueue(kind, key);
    }
}

fn enqueue_host<K: Resource>(cx: &Context, kind: Kind) -> impl Fn(&Change<K>) + Send {
    move |change| {
        if let Some(object) = change.object() {
            enqueue_origin(cx, kind, object.meta());
        }
    }
}

/// Another replica may have made a host Service for a virtual one that it is about to store.
fn protect_reserved(cx: &Context, change: &Change<Service>) {
    let (None, Some(host), true) = (&change.old, &change.new, cx.translator.config.is_replicated) else {
        return;
    };
    let key = cx.translator.origin(Kind::Service.name(), &host.metadata);
    if let Some(key) = key.filter(|key| cx.virtual_side.services.get(key).is_none()) {
        cx.pending.hold(&key).keep();
    }
}

/// A token Secret is looked after together with its pod.
fn enqueue_token(cx: &Context, metadata: &ObjectMeta) {
    use crate::labels::{OBJECT_KIND, OBJECT_NAME, OBJECT_NAMESPACE};

    let Some(annotations) = &metadata.annotations else { return };
    let is_token = annotations.get(OBJECT_KIND).is_some_and(|kind| kind == TOKEN_KIND);
    if let (true, Some(namespace), Some(name)) =
        (is_token, annotations.get(OBJECT_NAMESPACE), annotations.get(OBJECT_NAME))
    {
        cx.enqueue(Kind::Pod, ObjectKey::new(namespace, name));
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

fn follow<'a, K>(cx: &'a Context, kind: Kind, hosts: impl Fn() -> Vec<ObjectMeta> + Send + 'a) -> Job<'a>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(cx.virtual_client.clone());
    followed(api, Scope::default().metadata(), move |seen| match seen {
        Some((object, _)) => {
            let key = ObjectKey::of(&object.metadata);
            if kind == Kind::Endpoints && export::is_wanted(cx, &key) {
                cx.enqueue(Kind::Export, key.clone());
            }
            cx.enqueue(kind, key);
        }
        None => sweep(cx, kind, hosts()),
    })
    .boxed()
}

/// Like [`follow`], for kinds of which only referenced objects are synced.
fn follow_needed<'a, K>(
    cx: &'a Context,
    kind: Kind,
    hosts: impl Fn() -> Vec<ObjectMeta> + Send + 'a,
) -> Job<'a>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(cx.virtual_client.clone());
    followed(api, Scope::default().metadata(), move |seen| match seen {
        Some((object, _)) => {
            let key = ObjectKey::of(&object.metadata);
            if cx.translator.config.syncs_all(kind) || cx.references().needs(kind, &key) {
                cx.enqueue(kind, key);
            }
        }
        None => sweep(cx, kind, hosts()),
    })
    .boxed()
}
