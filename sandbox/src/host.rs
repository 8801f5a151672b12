//! A whole host cluster in one process: API server, controllers, scheduler, a process node, Services.
//!
//! Everything is kept in one directory, and starting again with the same directory goes on where the last
//! run stopped.

pub mod install;
mod kubeconfig;
mod ranges;

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{Api, Client, runtime::wait::await_condition};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vkube_apiserver::{
    admission::policy::typing,
    instance::{self, Instance},
    pki::{self, Authority},
    registry::resource::selection,
    user::User,
};

use ranges::Ranges;

use crate::{
    node::{Node, NodeOptions, address::Pool},
    provisioner, services,
    streams::Streams,
};

/// The node's name.
pub const NODE: &str = "sandbox-node";
/// The node's address, which is also where node ports are.
const NODE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long the parts may take to become ready.
const READY: Duration = Duration::from_secs(60);

/// How a sandbox is started.
pub struct Options {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the API server listens. It must be an address of its own, not "everywhere".
    pub listen: SocketAddr,
    /// The image that stands for the executable: its containers are real processes.
    pub image: String,
    /// The executable, normally the running one. See [`crate::exec`].
    pub executable: PathBuf,
    /// Whether processes get mounts of their own, if the machine lets them. Otherwise they see the real
    /// directories, to which paths in their arguments and environment are rewritten.
    pub isolate: bool,
    /// Whether to install vkube into the host.
    pub install: bool,
    /// Told of each step.
    pub progress: Box<dyn Fn(Step) + Send + Sync>,
}

impl Options {
    /// A sandbox of the running executable in `data_dir` that tells nothing of its progress.
    pub fn new(data_dir: PathBuf) -> io::Result<Self> {
        Ok(Self {
            data_dir,
            listen: SocketAddr::new(NODE_ADDRESS, 6443),
            image: vkube_operator::install::DEFAULT_IMAGE.into(),
            executable: std::env::current_exe()?,
            isolate: true,
            install: true,
            progress: Box::new(|_| {}),
        })
    }
}

/// A step of the start that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The API server answers.
    ApiServer {
        /// Where.
        address: SocketAddr,
    },
    /// The kubeconfig is written.
    Kubeconfig {
        /// Where.
        path: PathBuf,
    },
    /// The node takes pods.
    Node {
        /// Its name.
        name: String,
        /// Whether its processes get mounts of their own.
        isolated: bool,
    },
    /// The operator runs.
    Operator,
}

/// Why a sandbox could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory or file could not be made.
    #[error("failed to use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another sandbox uses the directory.
    #[error("{path} is in use by another sandbox")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The sandbox cannot tell its pods one address to find the API server at.
    #[error("the sandbox needs one address to listen at, not {0}")]
    Everywhere(SocketAddr),
    /// Other sandboxes have taken the addresses.
    #[error("the addresses {range} are in use; is it another sandbox?")]
    Addresses {
        /// The addresses.
        range: Ipv4Net,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Certificates could not be made.
    #[error("failed to make certificates")]
    Certificates(#[from] pki::Error),
    /// The API server did not start.
    #[error("failed to start the API server")]
    ApiServer(#[from] instance::Error),
    /// The API server did not take something.
    #[error("failed to {what}")]
    Api {
        /// What was attempted.
        what: String,
        /// Why it failed.
        #[source]
        source: kube::Error,
    },
    /// Something did not become ready.
    #[error("{0} did not become ready within {seconds} seconds", seconds = READY.as_secs())]
    NotReady(&'static str),
}

/// A running host cluster.
pub struct Sandbox {
    instance: Instance,
    client: Client,
    kubeconfig: PathBuf,
    address: SocketAddr,
    node: Arc<Node>,
    /// Ends the controllers and everything else that works for the node's pods.
    shutdown: CancellationToken,
    work: TaskTracker,
    pods: TaskTracker,
    ranges: Ranges,
    /// Held for as long as the directory is in use.
    _lock: File,
}

impl Sandbox {
    /// Starts a host cluster. When this returns everything is ready.
    pub async fn start(options: Options) -> Result<Self, Error> {
        if options.listen.ip().is_unspecified() {
            return Err(Error::Everywhere(options.listen));
        }
        make_directory(&options.data_dir)?;
        // Paths are handed to processes that work elsewhere.
        let data_dir =
            fs::canonicalize(&options.data_dir).map_err(|source| file(&options.data_dir, source))?;
        let lock = lock(&data_dir.join("lock"))?;
        let ranges = ranges::claim(&data_dir)?;
        let authority = Authority::open(&data_dir.join("pki"))?;
        let streams = Streams::default();
        let instance =
            start_server(&options, &data_dir, ranges.services, &authority, streams.clone()).await?;
        let address = instance.address.unwrap_or(options.listen);
        (options.progress)(Step::ApiServer { address });

        let kubeconfig = data_dir.join("kubeconfig");
        kubeconfig::write(&kubeconfig, address, &authority)?;
        (options.progress)(Step::Kubeconfig { path: kubeconfig.clone() });

        let node = NodeOptions {
            name: NODE.into(),
            address: NODE_ADDRESS,
            data_dir: data_dir.clone(),
            image: options.image.clone(),
            executable: options.executable.clone(),
            api: address,
            isolate: options.isolate,
        };
        let kubelet = client(&instance, &format!("system:node:{NODE}"));
        let node = Node::new(kubelet, node, Pool::new(ranges.pods)).await;
        let node = Arc::new(node.map_err(|source| file(&data_dir, source))?);
        streams.set_nodes(vec![Arc::clone(&node)]);

        let sandbox = Self {
            client: client(&instance, "sandbox"),
            kubeconfig,
            address,
            node,
            shutdown: CancellationToken::new(),
            work: TaskTracker::new(),
            pods: TaskTracker::new(),
            instance,
            ranges,
            _lock: lock,
        };
        sandbox.start_parts(&data_dir, authority.certificate.clone());
        match Box::pin(sandbox.make_ready(&options)).await {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                sandbox.stop().await;
                Err(error)
            }
        }
    }

    fn start_parts(&self, data_dir: &Path, root_ca: String) {
        let client = |component: &str| client(&self.instance, component);
        let node = Arc::clone(&self.node);
        self.pods.spawn(async move { node.run().await });
        self.pods.close();

        let devices = vkube_scheduler::DeviceSelector::new(|expression, driver, device| {
            let device = serde_json::to_value(device).map_err(|why| why.to_string())?;
            selection::selects(expression, driver, &device)
        });
        let options = vkube_scheduler::Options { devices: Some(devices), ..Default::default() };
        let metrics = options.metrics.clone();
        self.instance.server.counters.expose(move || Box::new(metrics.clone()));
        self.spawn(vkube_scheduler::run(client("system:kube-scheduler"), options));
        self.spawn(services::run(client("system:kube-proxy"), Pool::new(self.ranges.balancers)));
        self.spawn(provisioner::run(client("system:persistent-volume-binder"), data_dir.join("volumes")));
        let server = self.instance.server.clone();
        let type_checker =
            vkube_controllers::TypeChecker::new(move |policy| typing::warnings(&server, policy));
        let options = vkube_controllers::Options {
            root_ca: Some(root_ca),
            authority: signer(&data_dir.join("pki")),
            type_checker: Some(type_checker),
            ..Default::default()
        };
        let (client, shutdown) = (client("system:kube-controller-manager"), self.shutdown.clone());
        self.work.spawn(async move {
            if let Err(error) = vkube_controllers::run(client, options, shutdown).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the controllers ended");
            }
        });
    }

    fn spawn(&self, part: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.work.spawn(async move {
            shutdown.run_until_cancelled(part).await;
        });
    }

    async fn make_ready(&self, options: &Options) -> Result<(), Error> {
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        let ready = await_condition(nodes, NODE, node_is_ready);
        within(ready, "the node").await?;
        let isolated = self.node.is_isolated();
        (options.progress)(Step::Node { name: NODE.into(), isolated });
        if options.install {
            install::apply(&self.client, &options.image, install::Operator::Pod).await?;
            Box::pin(within(install::await_operator(&self.client), "the operator")).await?;
            (options.progress)(Step::Operator);
        }
        Ok(())
    }

    /// A client with every permission, which needs no socket.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where the API server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every process and part. Objects stay, and a later start goes on with them.
    pub async fn stop(self) {
        self.node.stop();
        self.pods.wait().await;
        self.shutdown.cancel();
        self.work.close();
        self.work.wait().await;
        drop(self.client);
        drop(self.node);
        self.instance.stop().await;
    }
}

async fn start_server(
    options: &Options,
    data_dir: &Path,
    services: Ipv4Net,
    authority: &Authority,
    streams: Streams,
) -> Result<Instance, Error> {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    let addresses = instance::serving_addresses(options.listen.ip(), services.into());
    let server = instance::Options {
        data_dir: Some(data_dir.join("store")),
        listen: Some(options.listen),
        tls: Some(authority.serving(&names, &addresses)?),
        service_range: services.into(),
        connector: Some(Arc::new(streams)),
        ..instance::Options::default()
    };
    Ok(Instance::start(server).await?)
}

/// What signs certificate signing requests: the authority that [`Authority::open`] keeps in `directory`.
fn signer(directory: &Path) -> Option<Arc<vkube_controllers::Authority>> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let authority = vkube_controllers::Authority::new(&read("ca.crt")?, &read("ca.key")?);
    authority.inspect_err(|error| tracing::warn!(%error, "no certificates will be signed")).ok().map(Arc::new)
}

fn client(instance: &Instance, component: &str) -> Client {
    Client::new(instance.server.service(User::component(component)), "default")
}

async fn within<T, E: std::fmt::Display>(
    ready: impl Future<Output = Result<T, E>>,
    what: &'static str,
) -> Result<(), Error> {
    match tokio::time::timeout(READY, ready).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, what, "could not be watched");
            Err(Error::NotReady(what))
        }
        Err(_) => Err(Error::NotReady(what)),
    }
}

fn node_is_ready(node: Option<&NodeObject>) -> bool {
    let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| file(path, source))
}

fn file(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}

/// Takes the directory for this process.
fn lock(path: &Path) -> Result<File, Error> {
    let lock = File::options().create(true).truncate(false).write(true).open(path);
    let lock = lock.map_err(|source| file(path, source))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.parent().unwrap_or(path).to_owned() }),
        Err(TryLockError::Error(source)) => Err(file(path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sandboxes_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = lock(&path).unwrap();
        assert!(matches!(lock(&path), Err(Error::InUse { .. })));
        drop(first);
        assert!(lock(&path).is_ok());
    }

    #[test]
    fn a_node_is_ready_when_its_condition_says_so() {
        let node: NodeObject = serde_json::from_value(serde_json::json!({
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap();
        assert!(node_is_ready(Some(&node)));
        assert!(!node_is_ready(None));
    }
}
