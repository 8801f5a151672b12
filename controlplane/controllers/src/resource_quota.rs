//! The resource quota controller: `status.used` is what the objects of the namespace use.
//!
//! Admission books usage when objects come; this controller counts it anew when they change or go. Pods,
//! services and claims are measured; of all others only their number matters, so those are watched, metadata
//! only, just as long as a quota names them. So are claims for devices, which are read when they are counted.

mod counts;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join4;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::Resource as _;
use vkube_usage::quota::{Resource, belongs};

use crate::Context;
use crate::api::{Error, Page};
use crate::clock::Clock;
use crate::informers::{Change, Informer, Object};
use crate::pods;
use crate::queue::{Key, Queue};
use counts::Counts;

/// What admission has booked is checked after this time: the object that it was booked for may not have been
/// created after all. Sooner, the object may not have been seen yet.
const CHECK: Duration = Duration::from_secs(300);
/// How often at least a kind is looked for that a quota names and that is not served.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Changes that arrive within this time are counted together.
const GATHER: Duration = Duration::from_millis(100);
/// And this longer for each pod that is there: to count it takes some hundredths of that, so while pods come
/// by the thousand, counting them takes a small share of the time. Nobody is refused on account of an old
/// figure.
const GATHER_PER_POD: Duration = Duration::from_millis(1);

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let quotas: Informer<ResourceQuota> = context.informers.of();
    let queue = context.queue("resourcequota_primary").with_last_retry(LAST_RETRY);
    let all_pods: Informer<Pod> = context.informers.of();
    let wake = {
        let (quotas, queue, pods) = (quotas.clone(), queue.clone(), all_pods.clone());
        move |resource: Resource<'_>, namespace: &str| {
            for quota in quotas.list(namespace).iter().filter(|quota| plan::limits(quota, resource)) {
                let count = u32::try_from(pods.count(namespace)).unwrap_or(u32::MAX);
                queue.add_after(Key::of(&**quota), GATHER + GATHER_PER_POD.saturating_mul(count));
            }
        }
    };
    let controller = Controller {
        pods: all_pods,
        services: context.informers.of(),
        claims: context.informers.of(),
        counts: Counts::new(context.informers.clone(), Arc::new(wake.clone())),
        clock: context.clock.clone(),
        queue: queue.clone(),
        quotas,
    };
    wake_on(&controller.pods, Resource::PODS, &wake, |old: &Pod, new: &Pod| {
        old.spec == new.spec
            && pods::is_finished(old) == pods::is_finished(new)
            && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp
    });
    wake_on(&controller.services, Resource::SERVICES, &wake, |old: &Service, new: &Service| {
        old.spec == new.spec
    });
    wake_on(
        &controller.claims,
        Resource::VOLUME_CLAIMS,
        &wake,
        |old: &PersistentVolumeClaim, new: &PersistentVolumeClaim| {
            old.spec == new.spec && old.metadata.annotations == new.metadata.annotations
        },
    );
    controller.quotas.subscribe({
        let queue = queue.clone();
        move |Change { old, new }| {
            let Some(quota) = new.as_ref().or(old.as_ref()) else { return };
            let booked = old.as_ref().is_some_and(|old| old.spec == quota.spec) && new.is_some();
            let delay = if booked { CHECK } else { Duration::ZERO };
            queue.add_after(Key::of(&**quota), delay);
        }
    });

    let shutdown = context.shutdown.clone();
    async move {
        let synced = join4(
            controller.quotas.synced(),
            controller.pods.synced(),
            controller.services.synced(),
            controller.claims.synced(),
        );
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = synced => {}
        }
        queue.run(5, &shutdown, |key| controller.reconcile(key)).await;
    }
}

/// Calls `wake` when an object comes, goes, or changes in more than what `same` overlooks.
fn wake_on<K: Object>(
    informer: &Informer<K>,
    resource: Resource<'static>,
    wake: &(impl Fn(Resource<'_>, &str) + Clone + Send + Sync + 'static),
    same: impl Fn(&K, &K) -> bool + Send + Sync + 'static,
) {
    let wake = wake.clone();
    informer.subscribe(move |Change { old, new }| {
        if let (Some(old), Some(new)) = (old, new)
            && same(old, new)
        {
            return;
        }
        if let Some(object) = new.as_ref().or(old.as_ref()) {
            wake(resource, object.meta().namespace.as_deref().unwrap_or_default());
        }
    });
}

struct Controller {
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    claims: Informer<PersistentVolumeClaim>,
    counts: Counts,
    clock: Clock,
    queue: Queue<Key>,
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(quota) = self.quotas.get(&key.namespace, &key.name) else {
            self.counts.keep_only(&self.counted());
            return Ok(());
        };
        let hard = plan::hard(&quota);
        let needs = |resource| hard.keys().any(|name| belongs(resource, name));
        let mut objects = Vec::new();
        let mut next = None;
        if needs(Resource::PODS) {
            let (documents, wait) = plan::pods(&self.pods.list(&key.namespace), self.clock.now());
            objects.extend(documents.into_iter().map(|document| (Resource::PODS, document)));
            next = wait;
        }
        if needs(Resource::SERVICES) {
            objects
                .extend(documents(&self.services.list(&key.namespace)).map(|one| (Resource::SERVICES, one)));
        }
        if needs(Resource::VOLUME_CLAIMS) {
            objects.extend(
                documents(&self.claims.list(&key.namespace)).map(|one| (Resource::VOLUME_CLAIMS, one)),
            );
        }
        if needs(Resource::DEVICE_CLAIMS) {
            // No claim changes what it asks for: to be told of their number is enough, and few clusters have any.
            let path = ResourceClaim::url_path(&(), Some(&key.namespace));
            let page: Page<serde_json::Value> = self.quotas.api().list(&path).await?;
            objects.extend(page.items.into_iter().map(|claim| (Resource::DEVICE_CLAIMS, claim)));
        }
        let wanted = self.counted();
        self.counts.keep_only(&wanted);
        let counted = self.counts.count(&wanted, &hard, &key.namespace).await;

        let updated = plan::plan(&quota, &hard, &objects, &counted.amounts);
        self.quotas.update_status(&quota, &updated).await?;
        if let Some(wait) = next {
            self.queue.add_after(key, wait);
        }
        match counted.missing {
            None => Ok(()),
            Some(name) => Err(Error::NotYet(format!("{name} is not served"))),
        }
    }

    /// The resources that quotas count, whatever their namespace.
    fn counted(&self) -> counts::Wanted {
        self.quotas.all().iter().flat_map(|quota| plan::counted(quota)).collect()
    }
}

fn documents<K: Object>(objects: &[Arc<K>]) -> impl Iterator<Item = serde_json::Value> {
    objects.iter().filter_map(|object| serde_json::to_value(&**object).ok())
}
