//! A cluster in memory: API server, controllers, and a pretended kubelet.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::{Method, Request};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::Body;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt, service_fn};
use vkube_apiserver::admission::policy::typing;
use vkube_apiserver::instance::{Instance, Options};
use vkube_apiserver::user::User;
use vkube_controllers::Controller;

/// A failing test fails after this; a passing one never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the tests work with.
pub struct Cluster {
    pub client: Client,
    /// What controllers that start from now on read the time from.
    pub clock: vkube_controllers::Clock,
    /// Which controllers start from now on. Not the node lifecycle by default: the node `node` never gives a sign of life.
    pub enabled: vkube_controllers::Controllers,
    shutdown: CancellationToken,
    controllers: Option<Controllers>,
    instance: Arc<Instance>,
}

/// Running controllers.
pub struct Controllers {
    /// Ends them in an orderly way.
    end: CancellationToken,
    /// Fires when they crash.
    crash: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), vkube_controllers::Error>>,
    wire: Arc<Mutex<Wire>>,
}

/// What passes between controllers and their server, events aside.
#[derive(Default)]
struct Wire {
    /// The writes that were sent: method and path.
    writes: Vec<String>,
    /// Only writes to paths with this in them are counted.
    within: String,
    /// The server carries out so many more of them; none, of any kind, after the last.
    left: Option<usize>,
}

impl Wire {
    /// Notes a write; says whether it is the last one.
    fn note(&mut self, method: &Method, path: &str) -> bool {
        self.writes.push(format!("{method} {path}"));
        match &mut self.left {
            Some(left) if path.contains(&self.within) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            _ => false,
        }
    }
}

impl Controllers {
    /// Ends them in an orderly way.
    pub async fn stop(self) {
        self.end.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// The writes they have sent: method and path.
    pub fn writes(&self) -> Vec<String> {
        self.wire.lock().unwrap().writes.clone()
    }

    /// From now on they crash just after the server has carried out the `count`th write to a path with `within` in it.
    pub fn crash_after(&self, count: usize, within: &str) {
        let mut wire = self.wire.lock().unwrap();
        (wire.left, wire.within) = (Some(count), within.to_owned());
    }

    /// Waits until they have crashed; then they do nothing any more.
    pub async fn crashed(&mut self) {
        self.crash.cancelled().await;
        self.task.abort();
        // Being aborted is an error, and what was asked for.
        let _ = (&mut self.task).await;
    }

    /// Crashes them no more; says whether it is too late for that.
    pub fn spare(&self) -> bool {
        self.wire.lock().unwrap().left.take() == Some(0)
    }

    /// Waits until they have crashed, or until all is `done`; says whether they crashed.
    pub async fn crash(mut self, done: impl Future) -> bool {
        let crashed = {
            let outcome = futures::future::select(Box::pin(self.crashed()), Box::pin(done)).await;
            matches!(outcome, futures::future::Either::Left(_))
        };
        if !crashed {
            self.task.abort();
            let _ = self.task.await;
        }
        crashed
    }
}

impl Cluster {
    /// A cluster with all controllers, and one node called `node`.
    pub async fn start() -> Self {
        let mut cluster = Self::without_controllers().await;
        cluster.controllers = Some(cluster.controllers(None));
        // Pods are refused before it is there.
        cluster.until_one::<ServiceAccount>("default", "the account of pods", |_| true).await;
        cluster
    }

    /// A cluster where nothing happens by itself but what a kubelet does.
    pub async fn without_controllers() -> Self {
        // Nobody here takes the taint of a new node away, which the node lifecycle would do.
        let disable_admission = vec!["TaintNodesByCondition".to_owned()];
        let options = Options { disable_admission, ..Options::default() };
        let instance = Arc::new(Instance::start(options).await.unwrap());
        let client_of = |name| Client::new(instance.server.service(User::component(name)), "default");
        let client = client_of("admin");
        let shutdown = CancellationToken::new();
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(kubelet(client_of("kubelet"))));
        let clock = vkube_controllers::Clock::system();
        let enabled = vkube_controllers::Controllers::default().without(Controller::NodeLifecycle);
        let cluster =
            Self { client, clock, enabled, shutdown, controllers: None, instance: instance.clone() };
        let nodes: Api<Node> = Api::all(cluster.client.clone());
        let labels = json!({"topology.kubernetes.io/zone": "a"});
        let node = json!({"metadata": {"name": "node", "labels": labels}});
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        cluster
    }

    /// Starts controllers; they crash just after the server has carried out their `crash_after`th write.
    pub fn controllers(&self, crash_after: Option<usize>) -> Controllers {
        let server = self.instance.server.service(User::component("system:kube-controller-manager"));
        let wire = Arc::new(Mutex::new(Wire { left: crash_after, ..Wire::default() }));
        let (end, crash) = (CancellationToken::new(), CancellationToken::new());
        let (log, crashing) = (wire.clone(), crash.clone());
        let service = service_fn(move |request: Request<Body>| {
            let (server, log, crash) = (server.clone(), log.clone(), crashing.clone());
            async move {
                let path = request.uri().path();
                let writes = request.method() != Method::GET && !path.ends_with("/events");
                let (over, last) = {
                    let mut wire = log.lock().unwrap();
                    let over = wire.left == Some(0);
                    (over, !over && writes && wire.note(request.method(), path))
                };
                if over {
                    return futures::future::pending().await;
                }
                let answer = server.oneshot(request).await;
                if last {
                    crash.cancel();
                    return futures::future::pending().await;
                }
                answer
            }
        });
        let types = self.instance.server.clone();
        let options = vkube_controllers::Options {
            type_checker: Some(vkube_controllers::TypeChecker::new(move |policy| {
                typing::warnings(&types, policy)
            })),
            root_ca: Some("the CA".to_owned()),
            authority: Some(Arc::new(authority())),
            clock: self.clock.clone(),
            enabled: self.enabled,
            ..vkube_controllers::Options::default()
        };
        let task =
            tokio::spawn(vkube_controllers::run(Client::new(service, "default"), options, end.clone()));
        Controllers { end, crash, task, wire }
    }

    /// Stops the controllers, and checks that they ended well.
    pub async fn stop(mut self) {
        if let Some(controllers) = self.controllers.take() {
            controllers.stop().await;
        }
        self.shutdown.cancel();
    }

    /// Objects of kind `K` in the namespace `default`.
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an object in the namespace `default`.
    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api().create(&PostParams::default(), &object).await.unwrap()
    }

    /// Merges `patch` into an object of the namespace `default`.
    pub async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// Waits until the objects of the namespace `default` are as `wanted`; returns them.
    pub async fn until<K>(&self, what: &str, wanted: impl Fn(&[K]) -> bool) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        until(self.api(), what, wanted).await
    }

    /// Waits until an object of the namespace `default` is as `wanted`; returns it.
    pub async fn until_one<K>(&self, name: &str, what: &str, wanted: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let found =
            until(self.api::<K>(), what, |all| all.iter().any(|one| one.name_any() == name && wanted(one)));
        found.await.into_iter().find(|one| one.name_any() == name).unwrap()
    }

    /// Waits for an event about `name` with this reason; returns its message.
    pub async fn event(&self, name: &str, reason: &str) -> String {
        let about = |event: &&Event| {
            event.involved_object.name.as_deref() == Some(name) && event.reason.as_deref() == Some(reason)
        };
        let events = self.until::<Event>(reason, |events| events.iter().any(|event| about(&event))).await;
        events.iter().find(about).and_then(|event| event.message.clone()).unwrap()
    }
}

/// Follows a collection until it is as `wanted`.
pub async fn until<K>(api: Api<K>, what: &str, wanted: impl Fn(&[K]) -> bool) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut known: BTreeMap<String, K> = BTreeMap::new();
    let watching = async {
        let mut events = watcher(api, watcher::Config::default()).boxed();
        let mut listed = false;
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                watcher::Event::Init => known.clear(),
                watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                    known.insert(object.name_any(), object);
                }
                watcher::Event::Delete(object) => drop(known.remove(&object.name_any())),
                watcher::Event::InitDone => listed = true,
            }
            let all: Vec<K> = known.values().cloned().collect();
            if listed && wanted(&all) {
                return;
            }
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, watching).await.is_ok(),
        "waited in vain until {what}: {known:#?}"
    );
    known.into_values().collect()
}

/// How a pod fares is said by its container's image: `pause` runs and is ready, `broken` never gets ready,
/// `true` succeeds, `false` fails.
async fn kubelet(client: Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    let mut events = watcher(pods, watcher::Config::default()).boxed();
    let mut addresses = 0_u32;
    while let Some(event) = events.next().await {
        let Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod)) = event else { continue };
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
        let name = pod.name_any();
        if pod.meta().deletion_timestamp.is_some() {
            if pod.spec.as_ref().unwrap().node_name.is_some() {
                // Whoever is quicker may have deleted it, and there may be a successor by now.
                let this_one = Preconditions { uid: pod.uid(), resource_version: None };
                let params = DeleteParams::default().grace_period(0).preconditions(this_one);
                let _ = api.delete(&name, &params).await;
            }
            continue;
        }
        let spec = pod.spec.unwrap_or_default();
        if spec.node_name.is_none() {
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "node"}});
            let _: Result<Value, _> =
                api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
            continue;
        }
        if pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some()) {
            continue;
        }
        addresses += 1;
        let image = spec.containers[0].image.clone().unwrap_or_default();
        let ready = if image.starts_with("pause") { "True" } else { "False" };
        let phase = match image.as_str() {
            "true" => "Succeeded",
            "false" => "Failed",
            _ => "Running",
        };
        let status = json!({"status": {
            "phase": phase,
            "podIP": format!("10.1.{}.{}", addresses / 250, addresses % 250 + 1),
            "podIPs": [{"ip": format!("10.1.{}.{}", addresses / 250, addresses % 250 + 1)}],
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}],
        }});
        let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await;
    }
}

/// What signs certificates.
fn authority() -> vkube_controllers::Authority {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    vkube_controllers::Authority::new(&certificate, &key.serialize_pem()).unwrap()
}

/// A pod template with this image.
pub fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    })
}

/// A selector for that template.
pub fn selector(app: &str) -> Value {
    json!({"matchLabels": {"app": app}})
}
