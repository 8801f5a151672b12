//! What the watches tell, and which pods it may help.

use std::{collections::BTreeMap, sync::Arc};

use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll},
};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod},
    policy::v1::PodDisruptionBudget,
    resource::v1::{DeviceClass, ResourceClaim, ResourceSlice},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass},
};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use vkube_watch::feed::{self, Change, Key};

use crate::Volumes;

/// What the watches tell.
pub(crate) enum News {
    Node(Change<Node>),
    Pod(Change<Pod>),
    Budget(Change<PodDisruptionBudget>),
    Namespace(Change<Namespace>),
    Claim(Change<PersistentVolumeClaim>),
    Volume(Change<PersistentVolume>),
    Class(Change<StorageClass>),
    Limits(Change<CSINode>),
    Driver(Change<CSIDriver>),
    Capacity(Change<CSIStorageCapacity>),
    DeviceClaim(Change<ResourceClaim>),
    Slice(Change<ResourceSlice>),
    DeviceClass(Change<DeviceClass>),
}

pub(crate) type Feed = SelectAll<BoxStream<'static, News>>;

/// All that there is to follow.
pub(crate) fn watch(client: &Client, volumes: Volumes, devices: bool) -> Feed {
    let mut feed = Feed::new();
    feed.push(follow(Api::all(client.clone()), News::Node));
    feed.push(follow(Api::all(client.clone()), News::Pod));
    feed.push(follow(Api::all(client.clone()), News::Budget));
    feed.push(follow(Api::all(client.clone()), News::Namespace));
    feed.push(follow(Api::all(client.clone()), News::Claim));
    if volumes == Volumes::Own {
        feed.push(follow(Api::all(client.clone()), News::Volume));
        feed.push(follow(Api::all(client.clone()), News::Class));
        feed.push(follow(Api::all(client.clone()), News::Limits));
        feed.push(follow(Api::all(client.clone()), News::Driver));
        feed.push(follow(Api::all(client.clone()), News::Capacity));
    }
    if devices {
        feed.push(follow(Api::all(client.clone()), News::DeviceClaim));
        feed.push(follow(Api::all(client.clone()), News::Slice));
        feed.push(follow(Api::all(client.clone()), News::DeviceClass));
    }
    feed
}

fn follow<K>(api: Api<K>, tell: fn(Change<K>) -> News) -> BoxStream<'static, News>
where
    K: Resource + DeserializeOwned + Send + Sync + 'static,
{
    feed::changes(api, "").map(tell).boxed()
}

/// Which of the pods that fit nowhere an event may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    /// None.
    Nobody,
    /// Those that look at where other pods are.
    Related,
    /// Those with claims of any sort, and those that look at other pods.
    Claiming,
    /// All.
    Everybody,
}

/// Whom to wake, if there is news.
pub(crate) fn wake_if(news: bool, wake: Wake) -> Wake {
    if news { wake } else { Wake::Nobody }
}

/// Takes in what pods with claims may wait for; what is older than what is known is no news.
pub(crate) fn keep<K: Resource>(known: &mut BTreeMap<Key, Arc<K>>, change: Change<K>) -> Wake {
    match change {
        Change::Applied(object) => {
            let key = feed::key(&*object);
            if known.get(&key).is_some_and(|known| is_older(&*object, &**known)) {
                return Wake::Nobody;
            }
            known.insert(key, object);
            Wake::Claiming
        }
        Change::Deleted(object) => {
            known.remove(&feed::key(&*object));
            Wake::Claiming
        }
        Change::Synced => Wake::Nobody,
    }
}

fn is_older<K: Resource>(object: &K, known: &K) -> bool {
    let version = |object: &K| object.meta().resource_version.as_deref()?.parse::<u64>().ok();
    object.meta().uid == known.meta().uid && version(object) < version(known)
}
