//! The process node: the kubelet's role on a machine without containers.
//!
//! Containers of vkube's own image run as child processes of this one's executable, each in a mount
//! namespace where the pod's volumes lie at their paths; all other containers are brought to the state
//! they are meant to reach without executing anything, plainly marked as simulated. Each pod has a
//! loopback address of its own. User and group ids of security contexts are not applied: the sandbox
//! separates nothing from its user.

pub(crate) mod address;
mod backoff;
mod container;
pub(crate) mod context;
mod downward;
mod env;
mod image;
mod launch;
pub(crate) mod logs;
mod machine;
mod mounted;
mod probe;
pub(crate) mod probing;
pub(crate) mod process;
mod registration;
mod reporter;
mod sources;
mod status;
mod volumes;
mod worker;

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use vkube_scheduler::events::{Recorder, Writer};
use vkube_watch::feed::{self, Change, Key};

use address::{Lease, Pool};
use context::{NodeContext, PodContext};
use downward::Facts;
use process::Spawner;
use registration::Registration;
use sources::Sources;
use worker::{Ending, Worker};

/// How long to wait before another attempt to register.
const RETRY: Duration = Duration::from_millis(200);

/// What a node is made from.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its name.
    pub name: String,
    /// Its address, which is also the host address of its pods.
    pub address: IpAddr,
    /// Where it keeps the pods' files.
    pub data_dir: PathBuf,
    /// The image whose containers run as real processes, compared by repository.
    pub image: String,
    /// The executable that stands for the image. It must answer [`crate::exec::SUBCOMMAND`] by calling
    /// [`crate::exec::exec_main`].
    pub executable: PathBuf,
    /// Where pods find the API server.
    pub api: SocketAddr,
    /// Whether processes get mounts of their own, if the machine lets them.
    pub isolate: bool,
}

/// A process node.
pub struct Node {
    context: Arc<NodeContext>,
    registration: Registration,
    addresses: Pool,
    pods: Mutex<BTreeMap<Key, Handle>>,
    events: tokio::sync::Mutex<Writer>,
    stop: CancellationToken,
}

/// The pods' workers; each ends with the key and uid of its pod.
type Workers = JoinSet<(Key, Option<String>)>;

/// A pod's worker, from outside.
struct Handle {
    uid: Option<String>,
    context: Arc<PodContext>,
    object: watch::Sender<Arc<Pod>>,
    ending: watch::Sender<Option<Ending>>,
}

impl Node {
    /// A node that does nothing until [`Self::run`] is polled. `addresses` is the pool for its pods,
    /// shared by all nodes of a sandbox.
    pub(crate) async fn new(client: Client, options: NodeOptions, addresses: Pool) -> io::Result<Self> {
        let directory = options.data_dir.join("pods");
        fs::create_dir_all(&directory)?;
        let spawner = Spawner::new()?;
        let scratch = options.data_dir.join("rehearsal");
        let isolated = options.isolate && process::can_isolate(&spawner, &options.executable, &scratch).await;
        let registration = Registration {
            name: options.name.clone(),
            address: options.address,
            capacity: machine::capacity(&options.data_dir),
        };
        let (recorder, events) = Recorder::new(client.clone(), "kubelet", Some(options.name.clone()));
        let context = NodeContext {
            recorder,
            client,
            name: options.name,
            address: options.address,
            api: options.api,
            image: options.image,
            executable: options.executable,
            directory,
            isolated,
            spawner,
            sources: Arc::new(Sources::new()),
        };
        Ok(Self {
            context: Arc::new(context),
            registration,
            addresses,
            pods: Mutex::default(),
            events: events.into(),
            stop: CancellationToken::new(),
        })
    }

    /// Whether its processes get mounts of their own.
    pub fn is_isolated(&self) -> bool {
        self.context.isolated
    }

    /// The running pod of a name.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<PodContext>> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.get(&(namespace.to_owned(), name.to_owned())).map(|handle| Arc::clone(&handle.context))
    }

    /// Asks the node to end its processes; [`Self::run`] returns when they are gone. The pods' objects
    /// stay, and a later node of the same name starts them again.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Registers the node and runs its pods until [`Self::stop`].
    pub async fn run(&self) {
        let mut workers = Workers::new();
        let work = async {
            let mut events = self.events.lock().await;
            let node = self.register().await;
            tokio::join!(
                events.run(),
                self.registration.renew(&self.context.client, &node),
                self.context.sources.run(self.context.client.clone()),
                self.serve(&mut workers),
            );
        };
        tokio::select! {
            () = work => {}
            () = self.stop.cancelled() => {}
        }
        for handle in self.pods.lock().unwrap_or_else(PoisonError::into_inner).values() {
            handle.ending.send_if_modified(|ending| ending.replace(Ending::Shutdown).is_none());
        }
        while let Some(ended) = workers.join_next().await {
            self.worker_ended(ended);
        }
    }

    async fn register(&self) -> k8s_openapi::api::core::v1::Node {
        loop {
            match self.registration.register(&self.context.client).await {
                Ok(node) => return node,
                Err(error) => tracing::warn!(%error, node = self.context.name, "node not registered"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn serve(&self, workers: &mut Workers) {
        // A pod is only resolved against complete sources: a missing one is then really missing.
        let mut version = self.context.sources.version();
        if version.wait_for(|version| *version > 0).await.is_err() {
            return;
        }
        let api: Api<Pod> = Api::all(self.context.client.clone());
        let own = format!("spec.nodeName={}", self.context.name);
        let mut changes = feed::changes(api, &own);
        loop {
            tokio::select! {
                Some(change) = changes.next() => self.take(change, workers),
                Some(ended) = workers.join_next() => self.worker_ended(ended),
            }
        }
    }

    fn take(&self, change: Change<Pod>, workers: &mut Workers) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Applied(pod) => {
                let key = feed::key(&*pod);
                if let Some(handle) = pods.get(&key) {
                    if handle.uid == pod.uid() {
                        handle.object.send_replace(pod);
                        return;
                    }
                    handle.ending.send_replace(Some(Ending::Gone));
                }
                if let Some(handle) = self.start(pod, workers) {
                    pods.insert(key, handle);
                }
            }
            Change::Deleted(pod) => {
                let handle = pods.get(&feed::key(&*pod)).filter(|handle| handle.uid == pod.uid());
                if let Some(handle) = handle {
                    handle.ending.send_replace(Some(Ending::Gone));
                }
            }
            Change::Synced => {}
        }
    }

    fn start(&self, pod: Arc<Pod>, workers: &mut Workers) -> Option<Handle> {
        let (key, uid) = (feed::key(&*pod), pod.uid());
        let directory = self.context.directory.join(uid.as_deref()?);
        let before = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()?.parse().ok());
        let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
        let lease = if host_network {
            None
        } else {
            let kept = before.and_then(|address| self.addresses.lease_exactly(address));
            let Some(lease) = kept.or_else(|| self.addresses.lease()) else {
                tracing::error!(pod = pod.name_any(), "no address left for the pod");
                return None;
            };
            Some(lease)
        };
        let ip = lease.as_ref().map_or(self.context.address, Lease::address);
        let (object, objects) = watch::channel(pod);
        let (ending, endings) = watch::channel(None);
        let context = Arc::new(PodContext {
            node: Arc::clone(&self.context),
            pod: objects,
            ip,
            facts: Facts {
                pod_ip: ip,
                host_ip: self.context.address,
                allocatable: self.registration.capacity.clone(),
            },
            directory,
            volumes: Mutex::default(),
            runs: Mutex::default(),
        });
        let worker = Worker::new(Arc::clone(&context), endings);
        let ended = (key, uid.clone());
        workers.spawn(async move {
            worker.run().await;
            drop(lease);
            ended
        });
        Some(Handle { uid, context, object, ending })
    }

    fn worker_ended(&self, ended: Result<(Key, Option<String>), tokio::task::JoinError>) {
        match ended {
            Ok((key, uid)) => {
                let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
                if pods.get(&key).is_some_and(|handle| handle.uid == uid) {
                    pods.remove(&key);
                }
            }
            Err(error) => tracing::error!(%error, "a pod's worker ended early"),
        }
    }
}
