//! A host in this process, with the operator on it.

#![allow(missing_docs, reason = "each test uses a part of it")]

use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Service;
use vkube_apiserver::body::Response;
use vkube_apiserver::custom::{compile::compile, validation};
use vkube_apiserver::instance::{self, Instance};
use vkube_apiserver::server::InProcess;
use vkube_apiserver::user::User;
use vkube_crds::{VirtualCluster, virtual_cluster_crd};
use vkube_operator::{Error, Inwards, Options, Refusal};

use crate::faults::{Faults, Verdict, refusal};

/// Longer than anything takes on the slowest machine; a guard against waiting for ever.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// In the requests of who mirrors quotas.
const MIRROR: &str = "fieldManager=vkube-quota";

/// The namespace of the clusters.
pub const TENANTS: &str = "tenants";

pub struct World {
    pub admin: Client,
    pub faults: Arc<Faults>,
    instance: Instance,
    log: Arc<Log>,
    options: Options,
    shutdown: CancellationToken,
    operator: Option<Operator>,
    node: Option<JoinHandle<()>>,
    inside: Option<Inside>,
}

/// What the API server of every virtual cluster here is.
struct Inside {
    instance: Instance,
    /// Where it keeps its objects and snapshots.
    _directory: TempDir,
}

impl Inside {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = instance::Options {
            data_dir: Some(directory.path().to_owned()),
            authorization_modes: vec!["AlwaysAllow".into()],
            ..instance::Options::default()
        };
        Self { instance: Instance::start(options).await.unwrap(), _directory: directory }
    }
}

struct Operator {
    shutdown: CancellationToken,
    /// Whether the host hears it.
    alive: Arc<AtomicBool>,
    running: JoinHandle<Result<(), Error>>,
}

impl World {
    /// A host with everything installed and the operator running.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// [`World::start`] with an API server in virtual clusters.
    pub async fn with_inside() -> Self {
        let mut world = Self::start().await;
        world.stop_operator().await;
        world.empty_inside().await;
        world.start_operator();
        world
    }

    /// [`World::start`] with other options.
    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let instance = Instance::start(instance::Options::default()).await.unwrap();
        let admin = Client::new(instance.server.service(User::component("test")), "default");
        let mut options = Options {
            leader_election: false,
            probe: false,
            next_time: vkube_controllers::next_time,
            admit: refusals,
            ..Options::new("vkube:test")
        };
        change(&mut options);
        let mut world = Self {
            admin,
            faults: Arc::default(),
            instance,
            log: Arc::default(),
            options,
            shutdown: CancellationToken::new(),
            operator: None,
            node: None,
            inside: None,
        };
        let controllers = world.admin.clone();
        let shutdown = world.shutdown.clone();
        tokio::spawn(async move {
            vkube_controllers::run(controllers, vkube_controllers::Options::default(), shutdown)
                .await
                .unwrap();
        });
        world.install().await;
        world.start_node();
        world.start_operator();
        world
    }

    /// From now on virtual clusters have an API server to be asked, an empty one; the operator knows of it once it is started
    /// anew.
    pub async fn empty_inside(&mut self) {
        self.inside = Some(Inside::start().await);
    }

    /// A client of the virtual clusters' API server.
    pub fn inside(&self) -> Client {
        let instance = &self.inside.as_ref().unwrap().instance;
        Client::new(instance.server.service(User::component("test")), "default")
    }

    async fn install(&self) {
        for object in vkube_operator::install_manifests("vkube:test") {
            let types = object.types.clone().unwrap();
            // The operator runs in this process.
            if types.kind == "Deployment" {
                continue;
            }
            self.apply(object).await;
        }
        self.create_namespace(TENANTS, json!({"tier": "dev"})).await;
    }

    /// Applies an object of any kind; a field that does not exist is an error.
    pub async fn apply(&self, object: DynamicObject) {
        let kind = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.admin.clone(), &namespace, &resource),
            None => Api::all_with(self.admin.clone(), &resource),
        };
        let params = PatchParams::apply("test").force().validation_strict();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.unwrap();
    }

    pub async fn create_namespace(&self, name: &str, labels: Value) {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        self.all::<Namespace>()
            .create(&PostParams::default(), &serde_json::from_value(namespace).unwrap())
            .await
            .unwrap();
    }

    /// Creates a service account unless a controller was faster.
    pub async fn create_account(&self, namespace: &str, name: &str) {
        let account = json!({"metadata": {"name": name}});
        let account: ServiceAccount = serde_json::from_value(account).unwrap();
        let created = self.within::<ServiceAccount>(namespace).create(&PostParams::default(), &account).await;
        assert!(matches!(&created, Ok(_) | Err(kube::Error::Api(_))), "{created:?}");
    }

    /// Starts an operator without any memory of another.
    pub fn start_operator(&mut self) {
        let user = User::service_account("vkube-system", "vkube-operator", "");
        let inner = self.instance.server.service(user);
        let alive = Arc::new(AtomicBool::new(true));
        let recorded =
            |inner, log| Recorded { inner, log, faults: self.faults.clone(), alive: alive.clone() };
        let service = recorded(inner, self.log.clone());
        let mut options = self.options.clone();
        if let Some(inside) = &self.inside {
            let inner = inside.instance.server.service(User::component("operator"));
            let service = recorded(inner, Arc::default());
            options.inwards = Some(Inwards(Arc::new(move |_| Client::new(service.clone(), "default"))));
        }
        let shutdown = CancellationToken::new();
        let running = vkube_operator::run(Client::new(service, "default"), options, shutdown.clone());
        self.operator = Some(Operator { shutdown, alive, running: tokio::spawn(running) });
    }

    pub async fn stop_operator(&mut self) {
        let Operator { shutdown, running, .. } = self.operator.take().unwrap();
        shutdown.cancel();
        running.await.unwrap().unwrap();
    }

    /// Ends the operator as a lost node would.
    pub async fn kill_operator(&mut self) {
        let Operator { alive, running, .. } = self.operator.take().unwrap();
        // What it has spawned may go on for a moment; nothing of that reaches the host.
        alive.store(false, Ordering::SeqCst);
        running.abort();
        let _ = running.await;
    }

    /// Makes pods ready, and lets them go.
    pub fn start_node(&mut self) {
        let pods: Api<Pod> = Api::all(self.admin.clone());
        let admin = self.admin.clone();
        self.node = Some(tokio::spawn(async move {
            let mut events =
                watcher(pods, watcher::Config::default()).default_backoff().touched_objects().boxed();
            while let Ok(Some(pod)) = events.try_next().await {
                let pods: Api<Pod> = Api::namespaced(admin.clone(), &pod.namespace().unwrap());
                let name = pod.name_any();
                if pod.metadata.deletion_timestamp.is_some() {
                    let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
                } else if pod.status.and_then(|status| status.phase).as_deref() != Some("Running") {
                    let running = json!({"status": {"phase": "Running", "podIP": "10.1.2.3",
                        "conditions": [{"type": "Ready", "status": "True"}]}});
                    let _ = pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(running)).await;
                }
            }
        }));
    }

    /// From now on pods neither become ready nor go.
    pub fn stop_node(&mut self) {
        self.node.take().unwrap().abort();
    }

    pub async fn stop(mut self) {
        if self.operator.is_some() {
            self.stop_operator().await;
        }
        self.shutdown.cancel();
        if let Some(node) = self.node {
            node.abort();
        }
    }

    /// A client with the rights of a service account.
    pub fn account(&self, namespace: &str, name: &str) -> Client {
        let user = User::service_account(namespace, name, "");
        Client::new(self.instance.server.service(user), namespace)
    }

    pub fn all<K: Resource<Scope = ClusterResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.admin.clone())
    }

    pub fn within<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), namespace)
    }

    pub fn clusters(&self) -> Api<VirtualCluster> {
        self.within(TENANTS)
    }

    pub async fn create(&self, name: &str, spec: Value) -> VirtualCluster {
        let cluster = VirtualCluster::new(name, serde_json::from_value(spec).unwrap());
        self.clusters().create(&PostParams::default(), &cluster).await.unwrap()
    }

    pub async fn merge<K>(&self, api: &Api<K>, name: &str, patch: Value) -> K
    where
        K: Clone + DeserializeOwned + Debug,
    {
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// Waits until the cluster's condition has this status and reason, of the present generation.
    pub async fn condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> VirtualCluster {
        let wanted = format!("{type_}={status}/{reason}");
        let seen = Arc::new(Mutex::new(String::new()));
        let latest = seen.clone();
        let (type_, status, reason) = (type_.to_owned(), status.to_owned(), reason.to_owned());
        let condition = move |cluster: Option<&VirtualCluster>| {
            let Some(cluster) = cluster else { return false };
            *latest.lock().unwrap() = format!("{:#?}", cluster.status);
            let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| {
                condition.type_ == type_
                    && condition.status == status
                    && condition.reason == reason
                    && condition.observed_generation == cluster.metadata.generation
            })
        };
        let waiting = await_condition(self.clusters(), name, condition);
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let asked = self.log.since(self.log.len().saturating_sub(40));
            panic!("{name} never came to {wanted}: {}\nasked last: {asked:#?}", seen.lock().unwrap())
        });
        outcome.unwrap().unwrap()
    }

    pub async fn ready(&self, name: &str) -> VirtualCluster {
        self.condition(name, "Ready", "True", "Running").await
    }

    /// Waits until the object is as wanted.
    pub async fn until<K>(
        &self,
        api: Api<K>,
        name: &str,
        what: &str,
        wanted: impl Fn(Option<&K>) -> bool + Send + Sync,
    ) where
        K: Clone + Debug + Send + DeserializeOwned + Resource + 'static,
    {
        let waiting = await_condition(api, name, wanted);
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        outcome.unwrap_or_else(|_| panic!("{name} was never {what}")).unwrap();
    }

    pub async fn gone<K>(&self, api: Api<K>, name: &str)
    where
        K: Clone + Debug + Send + DeserializeOwned + Resource + 'static,
    {
        self.until(api, name, "gone", |object| object.is_none()).await;
    }

    pub async fn secret(&self, namespace: &str, name: &str) -> Secret {
        self.within::<Secret>(namespace).get(name).await.unwrap()
    }

    /// Makes the operator look at the cluster again, and waits until it has; returns what it wrote meanwhile.
    ///
    /// Each attempt at a settled cluster ends by listing the kubeconfig Secrets. The next attempt begins only when that
    /// one has ended. So of three attempts the first clears what was still under way, the second is the one to look at,
    /// and when the third lists, every write of the second is known.
    pub async fn reconciled(&self, name: &str) -> Vec<String> {
        let mut begin = 0;
        for round in 1..=3 {
            let before = self.log.len();
            if round == 2 {
                begin = before;
            }
            let touch = json!({"metadata": {"annotations": {"touched": format!("{before}-{round}")}}});
            self.merge(&self.clusters(), name, touch).await;
            let last = format!("GET /api/v1/namespaces/{TENANTS}/secrets?");
            self.log.until(before, |line| line.starts_with(&last) && line.contains("cluster-uid")).await;
        }
        let is_write = |line: &String| !line.starts_with("GET ") && !line.contains(MIRROR);
        self.log.since(begin).into_iter().filter(is_write).collect()
    }

    /// How often a quota was written into a status. That goes on beside what is reconciled, in a pace of its own.
    pub fn mirrored(&self) -> usize {
        self.log.since(0).iter().filter(|line| line.contains(MIRROR)).count()
    }
}

/// What the CRD has against a cluster.
fn refusals(cluster: &Value) -> Vec<Refusal> {
    let crd = serde_json::to_value(virtual_cluster_crd()).unwrap();
    let compiled = compile(&crd, &crd["spec"]["names"], 0).remove(0);
    let errors = validation::create(&compiled, cluster).0;
    errors.into_iter().map(|error| Refusal { field: error.field, why: error.detail }).collect()
}

pub fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
}

pub fn host_namespace(cluster: &VirtualCluster) -> String {
    cluster.status.as_ref().unwrap().host_namespace.clone().unwrap()
}

/// What the operator asked of the host.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Notify,
}

impl Log {
    fn len(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    fn since(&self, begin: usize) -> Vec<String> {
        self.lines.lock().unwrap()[begin..].to_vec()
    }

    fn add(&self, line: String) {
        self.lines.lock().unwrap().push(line);
        self.grown.notify_waiters();
    }

    async fn until(&self, begin: usize, wanted: impl Fn(&str) -> bool) {
        let waiting = async {
            loop {
                let grown = self.grown.notified();
                let mut grown = std::pin::pin!(grown);
                Pin::as_mut(&mut grown).enable();
                if self.since(begin).iter().any(|line| wanted(line)) {
                    return;
                }
                grown.await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        outcome.unwrap_or_else(|_| panic!("the operator never asked: {:#?}", self.since(begin)));
    }
}

/// The server, with a log of what is asked.
#[derive(Clone)]
struct Recorded {
    inner: InProcess,
    log: Arc<Log>,
    faults: Arc<Faults>,
    alive: Arc<AtomicBool>,
}

impl<B> Service<http::Request<B>> for Recorded
where
    InProcess: Service<http::Request<B>, Response = Response, Error = Infallible>,
    <InProcess as Service<http::Request<B>>>::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.log.add(format!("{} {}", request.method(), request.uri()));
        if !self.alive.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        match self.faults.judge(request.method() != http::Method::GET) {
            Verdict::Pass => Box::pin(self.inner.call(request)),
            Verdict::Refused(code) => Box::pin(std::future::ready(Ok(refusal(code)))),
            Verdict::Lost => Box::pin(std::future::pending()),
            Verdict::Unheard => {
                let answer = self.inner.call(request);
                let (faults, alive) = (self.faults.clone(), self.alive.clone());
                Box::pin(async move {
                    let _ = answer.await;
                    if alive.load(Ordering::SeqCst) {
                        faults.strike();
                    }
                    std::future::pending().await
                })
            }
        }
    }
}
