//! The watches of what has been copied to the host: in the cluster's own namespace there, and in those that virtual
//! namespaces have for themselves.

use futures::FutureExt;
use futures::future::{join, join_all};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use tokio::sync::watch;

use super::Syncer;
use super::watches::{Job, enqueue_origin};
use crate::cache::Change;
use crate::context::{Context, Kind, Meta};
use crate::labels::{OBJECT_KIND, OBJECT_NAME, OBJECT_NAMESPACE, ObjectKey};
use crate::resources::node;
use crate::resources::pod::{self, TOKEN_KIND};
use crate::spaces;
use crate::watch::{Outstanding, Scope, cached, cached_slim};

impl Syncer {
    /// The watches of namespaces on the host that virtual ones have for themselves.
    pub(super) async fn mapped(&self) {
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
}

/// Watches of the copies in one namespace of the host of what pods and DNS depend on.
pub(super) fn copies<'a>(cx: &'a Context, namespace: &str, outstanding: &'a Outstanding) -> Vec<Job<'a>> {
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
        cached(cx.api_in(namespace), ours().metadata(), &host.secrets, outstanding, move |change| {
            if let Some(object) = change.object() {
                enqueue_origin(cx, Kind::Secret, &object.metadata);
                enqueue_token(cx, &object.metadata);
            }
        })
        .boxed(),
        metadata(cx, namespace, &host.config_maps, Kind::ConfigMap, Some(outstanding)),
        metadata(cx, namespace, &host.endpoints, Kind::Endpoints, Some(outstanding)),
        metadata(cx, namespace, &host.endpoint_slices, Kind::EndpointSlice, Some(outstanding)),
    ]
}

/// Watches of the other copies in one namespace of the host, which nothing waits for.
pub(super) fn further_copies<'a>(cx: &'a Context, namespace: &str) -> Vec<Job<'a>> {
    let (host, config) = (&cx.host_side, &cx.translator.config);
    let mut jobs = Vec::new();
    if config.syncs(Kind::Ingress) {
        jobs.push(metadata(cx, namespace, &host.ingresses, Kind::Ingress, None));
    }
    if config.syncs(Kind::NetworkPolicy) {
        jobs.push(metadata(cx, namespace, &host.network_policies, Kind::NetworkPolicy, None));
    }
    if config.syncs(Kind::PodDisruptionBudget) {
        jobs.push(metadata(cx, namespace, &host.disruption_budgets, Kind::PodDisruptionBudget, None));
    }
    jobs
}

/// A watch of copies of which only the metadata is kept.
fn metadata<'a, K>(
    cx: &'a Context,
    namespace: &str,
    cache: &'a Meta<K>,
    kind: Kind,
    outstanding: Option<&'a Outstanding>,
) -> Job<'a>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let scope = Scope::labels(cx.translator.host_selector()).metadata();
    cached(cx.api_in(namespace), scope, cache, outstanding, enqueue_host(cx, kind)).boxed()
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
    let Some(annotations) = &metadata.annotations else { return };
    let is_token = annotations.get(OBJECT_KIND).is_some_and(|kind| kind == TOKEN_KIND);
    if let (true, Some(namespace), Some(name)) =
        (is_token, annotations.get(OBJECT_NAMESPACE), annotations.get(OBJECT_NAME))
    {
        cx.enqueue(Kind::Pod, ObjectKey::new(namespace, name));
    }
}
