//! Two API servers in this process, one in the role of the host, and a syncer between them.

#![allow(dead_code, missing_docs, reason = "each test uses a part of it")]

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;
use vkube_apiserver::body::Response;
use vkube_apiserver::cel::{self, Budget, Program, Variables};
use vkube_apiserver::instance::{Instance, Options};
use vkube_apiserver::server::InProcess;
use vkube_apiserver::user::User;
use vkube_syncer::{Config, Direction, Expression, Names, RuleSpec, Rules, Syncer};

use super::link::HostLink;

/// The namespace of the host that belongs to the virtual cluster.
pub const HOST_NAMESPACE: &str = "tenant-demo";

/// Longer than anything takes on the slowest machine; a guard against waiting for ever.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub host: Client,
    pub tenant: Client,
    pub syncer: Arc<Syncer>,
    pub names: Names,
    /// While set, the host refuses to create pods, Services and claims.
    pub refuses: Arc<AtomicBool>,
    /// Writes to the host by anybody.
    pub writes: Arc<AtomicUsize>,
    /// What the syncer has listed, side by side: `host` or `tenant`, the collection, and the selectors.
    pub lists: Lists,
    /// The syncer's own clients of the virtual cluster and of the host.
    sides: (Client, Client),
    config: Config,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
    host_instance: Option<Instance>,
    tenant_instance: Option<Instance>,
}

/// Kinds that live in namespaces.
pub trait Namespaced:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Namespaced for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

impl World {
    /// Starts everything; the virtual namespace `shop` with a service account `robot` is there.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts everything with changed settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("demo", HOST_NAMESPACE);
        change(&mut config);
        let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::INFO).try_init();
        let link = Arc::new(HostLink::default());
        let host_instance = Instance::start(options()).await.unwrap();
        let tenant_instance = Instance::start(Options {
            allocator: Some(link.clone()),
            connector: Some(link.clone()),
            ..options()
        })
        .await
        .unwrap();
        let (refuses, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let host_service = host_instance.server.service(User::component("host"));
        let gate = Gate { inner: host_service, refuses: refuses.clone(), writes: writes.clone() };
        let tenant_service = tenant_instance.server.service(User::component("tenant"));
        let lists = Lists::default();
        let noted = |side: &'static str| {
            let lists = lists.clone();
            move |request: http::Request<kube::client::Body>| {
                lists.lock().unwrap().extend(listed(side, request.uri()));
                request
            }
        };
        let sides = (
            Client::new(MapRequest::new(tenant_service.clone(), noted("tenant")), "default"),
            Client::new(MapRequest::new(gate.clone(), noted("host")), "default"),
        );
        let (host, tenant) = (Client::new(gate, "default"), Client::new(tenant_service, "default"));

        let world = Self {
            syncer: Arc::new(Syncer::new(sides.0.clone(), sides.1.clone(), config.clone())),
            sides,
            lists,
            config,
            host,
            tenant,
            names: Names::new("demo"),
            refuses,
            writes,
            stop: CancellationToken::new(),
            running: None,
            host_instance: Some(host_instance),
            tenant_instance: Some(tenant_instance),
        };
        link.tie(&world.syncer);
        world.prepare().await;
        world.resume().await
    }

    async fn prepare(&self) {
        for (client, name) in [(&self.host, HOST_NAMESPACE), (&self.tenant, "shop")] {
            let namespace = json!({ "metadata": { "name": name, "labels": { "team": "a" } } });
            let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
            api.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
        }
        self.tenant_create::<k8s_openapi::api::core::v1::ServiceAccount>(
            json!({ "metadata": { "name": "robot" } }),
        )
        .await;
        self.host_create::<k8s_openapi::api::core::v1::Service>(json!({
            "metadata": { "name": "demo" },
            "spec": { "ports": [{ "name": "https", "port": 443, "targetPort": 8443 }] },
        }))
        .await;
        self.host_create::<k8s_openapi::api::discovery::v1::EndpointSlice>(json!({
            "metadata": { "name": "demo-1", "labels": { "kubernetes.io/service-name": "demo" } },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.9.8.7"], "conditions": { "ready": true } }],
            "ports": [{ "name": "https", "port": 8443, "protocol": "TCP" }],
        }))
        .await;
    }

    /// Starts a syncer (again), as after a restart of the process.
    pub async fn resume(mut self) -> Self {
        let stop = CancellationToken::new();
        let (syncer, token) = (self.syncer.clone(), stop.clone());
        self.running = Some(tokio::spawn(async move { syncer.run(token).await }));
        self.stop = stop;
        tokio::time::timeout(PATIENCE, self.syncer.ready()).await.expect("caches fill");
        self
    }

    /// Stops the syncer and makes a new one without any memory of the old.
    pub async fn pause(mut self) -> Self {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
        let config = self.config.clone();
        self.syncer = Arc::new(Syncer::new(self.sides.0.clone(), self.sides.1.clone(), config));
        self
    }

    /// Changes the settings; they count from the next start.
    pub fn reconfigure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        let (tenant, host) = self.sides.clone();
        self.syncer = Arc::new(Syncer::new(tenant, host, self.config.clone()));
        self
    }

    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
        for instance in [self.tenant_instance.take(), self.host_instance.take()].into_iter().flatten() {
            instance.stop().await;
        }
    }

    pub fn host_api<K: Namespaced>(&self) -> Api<K> {
        Api::namespaced(self.host.clone(), HOST_NAMESPACE)
    }

    pub fn tenant_api<K: Namespaced>(&self) -> Api<K> {
        Api::namespaced(self.tenant.clone(), "shop")
    }

    pub async fn tenant_create<K: Namespaced>(&self, document: Value) -> K {
        let object = serde_json::from_value(document).unwrap();
        self.tenant_api().create(&PostParams::default(), &object).await.unwrap()
    }

    pub async fn host_create<K: Namespaced>(&self, document: Value) -> K {
        let object = serde_json::from_value(document).unwrap();
        self.host_api().create(&PostParams::default(), &object).await.unwrap()
    }

    /// The host name of an object in `shop`.
    pub fn name(&self, name: &str) -> String {
        self.names.host("shop", name)
    }

    /// The host name of an object in `shop` that cannot keep its own where `shop` is mapped.
    pub fn host_name_in_mapped(&self, name: &str) -> String {
        let pairs = [("shop".to_owned(), "any".to_owned())].into();
        let map = vkube_crds::NamespaceMap::parse("demo", &pairs).unwrap();
        self.names.clone().with_namespaces(map).host("shop", name)
    }

    /// Waits until the host object of `name` satisfies `test`.
    pub async fn host_has<K: Namespaced>(&self, name: &str, test: impl Fn(&K) -> bool) -> K {
        eventually(self.host_api(), &self.name(name), test).await
    }

    /// Waits until the virtual object `name` satisfies `test`.
    pub async fn tenant_has<K: Namespaced>(&self, name: &str, test: impl Fn(&K) -> bool) -> K {
        eventually(self.tenant_api(), name, test).await
    }

    /// Waits until the host object of `name` is gone.
    pub async fn host_lacks<K: Namespaced>(&self, name: &str) {
        gone(self.host_api::<K>(), &self.name(name)).await;
    }

    /// Waits until the virtual object `name` is gone.
    pub async fn tenant_lacks<K: Namespaced>(&self, name: &str) {
        gone(self.tenant_api::<K>(), name).await;
    }

    /// Plays scheduler and kubelet for a host pod: binds it and sets its status.
    pub async fn run_pod(&self, name: &str, node: &str, status: Value) {
        let host_name = self.name(name);
        let api: Api<k8s_openapi::api::core::v1::Pod> = self.host_api();
        if api.get(&host_name).await.unwrap().spec.unwrap().node_name.is_none() {
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": { "name": host_name },
                "target": { "kind": "Node", "name": node },
            });
            let _: Value = api
                .create_subresource("binding", &host_name, &PostParams::default(), &binding)
                .await
                .unwrap();
        }
        self.set_status(name, status).await;
    }

    pub async fn set_status(&self, name: &str, status: Value) {
        let api: Api<k8s_openapi::api::core::v1::Pod> = self.host_api();
        let patch = Patch::Merge(json!({ "status": status }));
        api.patch_status(&self.name(name), &PatchParams::default(), &patch).await.unwrap();
    }

    /// Plays the kubelet's last act: the containers have stopped.
    pub async fn end_pod(&self, name: &str) {
        let api: Api<k8s_openapi::api::core::v1::Pod> = self.host_api();
        api.delete(&self.name(name), &DeleteParams::default().grace_period(0)).await.unwrap();
    }
}

/// What has been listed.
pub type Lists = Arc<Mutex<Vec<String>>>;

/// The collection that a request lists, by a watch that begins with what is there or page by page.
fn listed(side: &str, uri: &http::Uri) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let begins = query.contains("sendInitialEvents=true") || query.contains("limit=");
    let is_first = begins && !query.contains("continue=");
    let selects = |pair: &&str| pair.starts_with("labelSelector=") || pair.starts_with("fieldSelector=");
    let selectors: Vec<&str> = query.split('&').filter(selects).collect();
    is_first.then(|| format!("{side} {} {}", uri.path(), selectors.join(" ")))
}

/// The host, with an admission that can be closed.
#[derive(Clone)]
struct Gate {
    inner: InProcess,
    refuses: Arc<AtomicBool>,
    writes: Arc<AtomicUsize>,
}

impl tower::Service<http::Request<kube::client::Body>> for Gate {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<kube::client::Body>) -> Self::Future {
        let path = request.uri().path();
        if request.method() != http::Method::GET {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        let creates_pod = request.method() == http::Method::POST && path.ends_with("/pods");
        let applies = |kind: &str| request.method() == http::Method::PATCH && path.contains(kind);
        let is_counted = creates_pod || applies("/services/") || applies("/persistentvolumeclaims/");
        if !is_counted || !self.refuses.load(Ordering::SeqCst) {
            return self.inner.call(request);
        }
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "pods \"web-0-x-shop-x-demo\" is forbidden: exceeded quota in tenant-demo",
        });
        let mut response = Response::new(vkube_apiserver::body::full(status.to_string()));
        *response.status_mut() = http::StatusCode::FORBIDDEN;
        Box::pin(async move { Ok(response) })
    }
}

/// Rules from their settings, with the API server's expressions.
pub fn rules(specs: &[RuleSpec]) -> Rules {
    Rules::compile(specs, &expression).unwrap()
}

/// A rule about all objects of a resource.
pub fn rule(direction: Direction, resource: &str) -> RuleSpec {
    RuleSpec::new(direction, resource)
}

fn expression(text: &str) -> Result<Expression, String> {
    let program = Program::parse(text).map_err(|error| error.to_string())?;
    Ok(Expression::new(move |inputs| {
        let mut variables = Variables::default();
        variables.set("source", cel::json::value(inputs.source, None));
        variables.set("object", cel::json::value(inputs.object, None));
        variables.set("value", cel::json::value(inputs.value, None));
        let value = program.evaluate(&variables, &mut Budget::new(10_000)).map_err(|e| e.to_string())?;
        cel::json::document(&value).map_err(|error| error.to_string())
    }))
}

/// Waits until an object satisfies `test`.
pub async fn eventually<K>(api: Api<K>, name: &str, test: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let found = await_condition(api, name, |object: Option<&K>| object.is_some_and(&test));
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("{name} does not get there")).unwrap().unwrap()
}

/// Waits until the syncer itself knows something; no watch of ours can tell.
pub async fn until<A: Future<Output = bool>>(mut test: impl FnMut() -> A) {
    let known = async {
        while !test().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("the syncer gets to know it");
}

/// Waits until an object is gone.
pub async fn gone<K>(api: Api<K>, name: &str)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let lacking = await_condition(api, name, |object: Option<&K>| object.is_none());
    tokio::time::timeout(PATIENCE, lacking).await.unwrap_or_else(|_| panic!("{name} does not go")).unwrap();
}

/// Waits until a custom resource is served.
pub async fn served(client: &Client, definition: &str) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let established = await_condition(api, definition, kube::runtime::conditions::is_crd_established());
    tokio::time::timeout(PATIENCE, established).await.expect("a definition is established").unwrap();
}

/// The address of a label or annotation, for short tests.
pub fn annotation<K: Resource>(object: &K, key: &str) -> String {
    object.annotations().get(key).cloned().unwrap_or_default()
}

/// Neither side has controllers: nobody makes service accounts, or takes the taint of a new node away.
fn options() -> Options {
    let disable_admission = ["ServiceAccount", "TaintNodesByCondition"].map(ToOwned::to_owned).to_vec();
    Options { disable_admission, ..Options::default() }
}
