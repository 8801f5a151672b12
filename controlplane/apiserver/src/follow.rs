//! Keeping what parts of the server know of the store's objects up to date.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream, stream::SelectAll};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vkube_store::{Range, Signal, Store, Watch};

use crate::{server::builtin, status::ApiError, stored};

/// How long to wait after the store has failed.
const RETRY: Duration = Duration::from_secs(1);

/// Who wants to know the objects of some resources.
pub trait Follower: Send + Sync + 'static {
    /// The group of the resources.
    fn group(&self) -> &'static str;

    /// The plural names of the resources.
    fn resources(&self) -> &'static [&'static str];

    /// These are all objects of a resource.
    fn reset(&self, resource: &'static str, objects: Vec<Value>);

    /// An object is new or has changed.
    fn put(&self, resource: &'static str, object: &Value);

    /// An object is gone.
    fn remove(&self, resource: &'static str, object: &Value);
}

/// What happens to a resource; nothing is the end of its watch.
type Changes = SelectAll<stream::BoxStream<'static, (&'static str, Option<Signal>)>>;

/// Tells `follower` of the present objects, and of their changes until `shutdown`.
pub async fn follow(
    store: Arc<dyn Store>,
    follower: Arc<dyn Follower>,
    shutdown: CancellationToken,
) -> Result<(), ApiError> {
    let mut changes = open(&*store, &*follower).await?;
    tokio::spawn(async move {
        loop {
            let change = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                change = changes.next() => change,
            };
            let result = match change {
                Some((resource, Some(Signal::Event(event)))) => stored::decode(&event.entry).map(|object| {
                    if event.deleted {
                        follower.remove(resource, &object);
                    } else {
                        follower.put(resource, &object);
                    }
                }),
                Some((_, Some(Signal::Progress(_)))) => Ok(()),
                // A watch that falls behind ends, and nobody knows what it has missed.
                Some((_, None)) | None => open(&*store, &*follower).await.map(|opened| changes = opened),
            };
            if let Err(error) = result {
                changes = SelectAll::new();
                if !shutdown.is_cancelled() {
                    tracing::error!(%error, resources = ?follower.resources(), "cannot follow; trying again");
                }
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    });
    Ok(())
}

async fn open(store: &dyn Store, follower: &dyn Follower) -> Result<Changes, ApiError> {
    let mut changes = SelectAll::new();
    for resource in follower.resources().iter().copied() {
        let prefix = builtin(follower.group(), resource)?.prefix();
        let page = store.list(Range { prefix: prefix.clone(), ..Range::default() }).await?;
        follower.reset(resource, page.entries.iter().map(stored::decode).collect::<Result<_, _>>()?);
        let watch: Watch = store.watch(&prefix, page.revision).await?;
        let signals = watch.map(Some).chain(stream::once(std::future::ready(None)));
        changes.push(signals.map(move |signal| (resource, signal)).boxed());
    }
    Ok(changes)
}
