//! What the parts of a node share, and what a pod's containers share.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod};
use kube::{Client, ResourceExt};
use tokio::{process::ChildStdin, sync::watch};

use super::{
    downward::Facts,
    env::{self, EnvError},
    image,
    launch::{self, Prepared},
    logs::write::Log,
    process::{Launch, Spawner},
    sources::Sources,
};
use vkube_scheduler::events::{self, Recorder};

/// Where the in-cluster credentials of a pod are.
const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What all pods of a node share.
pub(crate) struct NodeContext {
    /// The host cluster.
    pub client: Client,
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub address: IpAddr,
    /// Where pods find the API server.
    pub api: SocketAddr,
    /// The image whose containers are real processes.
    pub image: String,
    /// The executable that stands for the image.
    pub executable: PathBuf,
    /// Where the node keeps the pods' files.
    pub directory: PathBuf,
    /// Whether processes get mounts of their own.
    pub isolated: bool,
    /// Starts processes.
    pub spawner: Spawner,
    /// Writes events.
    pub recorder: Recorder,
    /// What pods refer to.
    pub sources: Arc<Sources>,
}

impl NodeContext {
    /// Whether a container runs as a real process.
    pub fn is_real(&self, container: &Container) -> bool {
        container.image.as_deref().is_some_and(|image| image::same_repository(image, &self.image))
    }
}

/// What the containers of a pod share.
pub(crate) struct PodContext {
    /// The node.
    pub node: Arc<NodeContext>,
    /// The newest state of the pod's object.
    pub pod: watch::Receiver<Arc<Pod>>,
    /// The pod's address.
    pub ip: IpAddr,
    /// What the downward API adds.
    pub facts: Facts,
    /// The pod's directory.
    pub directory: PathBuf,
    /// The directories of its volumes; set before any container is started.
    pub volumes: Mutex<BTreeMap<String, PathBuf>>,
    /// The current run of each container, for logs, exec and attach.
    pub runs: Mutex<BTreeMap<String, Run>>,
}

/// A run of a container as others may reach it.
#[derive(Clone)]
pub(crate) struct Run {
    /// Its log.
    pub log: Log,
    /// Its process; `None` for one that is simulated or has ended.
    pub live: Option<Live>,
    /// Whether it is only simulated.
    pub simulated: bool,
}

/// A running process of a container.
#[derive(Clone)]
pub(crate) struct Live {
    /// Its id.
    pub pid: i32,
    /// How it was started.
    pub launch: Arc<Launch>,
    /// Its standard input, if it has one.
    pub stdin: Option<Stdin>,
}

/// The standard input of a container, until it is closed.
#[derive(Clone)]
pub(crate) struct Stdin {
    /// What is written to; nothing once it is closed.
    pub pipe: Arc<tokio::sync::Mutex<Option<ChildStdin>>>,
    /// Whether it is closed when the first client that attached to it is done.
    pub once: bool,
}

impl PodContext {
    /// The newest state of the pod's object.
    pub fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.pod.borrow())
    }

    /// What events about a container refer to.
    pub fn container_reference(&self, container: &str) -> ObjectReference {
        ObjectReference {
            field_path: Some(format!("spec.containers{{{container}}}")),
            ..events::reference(&*self.pod())
        }
    }

    /// What events about the pod refer to.
    pub fn reference(&self) -> ObjectReference {
        events::reference(&*self.pod())
    }

    /// The log of a container.
    pub fn log_path(&self, container: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{container}.log"))
    }

    /// What to start for a container, with its environment resolved.
    pub fn plan(&self, container: &Container) -> Result<Launch, EnvError> {
        let pod = self.pod();
        let env = self.environment(container, &pod)?;
        let volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let prepared = Prepared {
            executable: &self.node.executable,
            isolated: self.node.isolated,
            directory: &self.directory,
            volumes: &volumes,
            ip: self.ip,
        };
        Ok(launch::plan(container, &pod, env, &prepared))
    }

    /// The environment of a container.
    pub fn environment(
        &self,
        container: &Container,
        pod: &Pod,
    ) -> Result<BTreeMap<String, String>, EnvError> {
        let sources = &self.node.sources;
        let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
        let mut base = BTreeMap::new();
        if links {
            base = sources.service_links(&pod.namespace().unwrap_or_default());
        }
        let (host, port) = (self.node.api.ip().to_string(), self.node.api.port().to_string());
        base.insert("KUBERNETES_SERVICE_HOST".into(), host);
        base.insert("KUBERNETES_SERVICE_PORT".into(), port.clone());
        base.insert("KUBERNETES_SERVICE_PORT_HTTPS".into(), port);
        let credentials =
            container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == CREDENTIALS);
        if credentials && !self.node.isolated {
            // The fixed path of in-cluster credentials cannot be rewritten inside a process.
            base.insert("KUBECONFIG".into(), self.directory.join("kubeconfig").display().to_string());
        }
        env::resolve(container, pod, &self.facts, base, &**sources)
    }

    /// The kubeconfig for processes that cannot see the in-cluster credentials at their usual path.
    pub fn kubeconfig(&self) -> Option<String> {
        let volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        let pod = self.pod();
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
        let credentials = volumes.get(&mounts.find(|mount| mount.mount_path == CREDENTIALS)?.name)?;
        let file = |name: &str| credentials.join(name);
        Some(
            serde_json::json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "pod",
                "clusters": [{"name": "pod", "cluster": {
                    "server": format!("https://{}", self.node.api),
                    "certificate-authority": file("ca.crt"),
                }}],
                "users": [{"name": "pod", "user": {"tokenFile": file("token")}}],
                "contexts": [{"name": "pod", "context": {
                    "cluster": "pod", "user": "pod", "namespace": pod.namespace(),
                }}],
            })
            .to_string(),
        )
    }

    /// Publishes a container's run.
    pub fn set_run(&self, container: &str, run: Run) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(container.into(), run);
    }

    /// Says that a container's process has ended; its log stays.
    pub fn end_run(&self, container: &str) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = runs.get_mut(container) {
            run.live = None;
            run.log.close();
        }
    }

    /// A container's run.
    pub fn run(&self, container: &str) -> Option<Run> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).get(container).cloned()
    }
}
