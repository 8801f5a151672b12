//! The host that the scenarios share, and what they all do.

use std::{
    fmt::Debug,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Config, Resource,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::await_condition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use vkube_sandbox::{Options, Sandbox};

/// A running host, and a namespace in it.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
    /// The scenario's namespace.
    pub namespace: String,
}

struct Shared {
    sandbox: OnceLock<Sandbox>,
    /// A client that goes over the network: streams need a connection to upgrade.
    remote: Client,
    directory: tempfile::TempDir,
    scenarios: AtomicU32,
}

impl Host {
    pub async fn start(isolate: bool) -> Self {
        if let Ok(level) = std::env::var("SANDBOX_LOG") {
            let level: tracing_subscriber::filter::LevelFilter = level.parse().unwrap();
            let logs = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
            // The second host finds it set.
            let _ = logs.try_init();
        }
        let directory = tempfile::tempdir().unwrap();
        let began = std::time::Instant::now();
        let sandbox = Sandbox::start(Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            image: "vkube:test".into(),
            isolate,
            install: false,
            progress: Box::new(move |step| {
                println!("       {step:?} after {} ms", began.elapsed().as_millis());
            }),
            ..Options::new(directory.path().join("data")).unwrap()
        })
        .await
        .unwrap();
        let kubeconfig = Kubeconfig::read_from(sandbox.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let shared = Shared {
            remote: Client::try_from(config).unwrap(),
            sandbox: OnceLock::from(sandbox),
            directory,
            scenarios: AtomicU32::new(0),
        };
        Self { shared: Arc::new(shared), namespace: String::new() }
    }

    /// The host with a new namespace.
    pub async fn for_scenario(&self) -> Self {
        let number = self.shared.scenarios.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("scenario-{number}");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let api: Api<Namespace> = Api::all(self.sandbox().client());
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        let host = Self { shared: Arc::clone(&self.shared), namespace };
        host.wait::<ServiceAccount>("default", |account| account.is_some()).await;
        host
    }

    pub async fn stop(self) {
        let shared = Arc::into_inner(self.shared).expect("no scenario keeps the host");
        shared.sandbox.into_inner().unwrap().stop().await;
        drop(shared.directory);
    }

    pub fn sandbox(&self) -> &Sandbox {
        self.shared.sandbox.get().unwrap()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.shared.directory.path().join("data")
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.sandbox().client(), &self.namespace)
    }

    pub fn remote_pods(&self) -> Api<Pod> {
        Api::namespaced(self.shared.remote.clone(), &self.namespace)
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let object = serde_json::from_value(object).unwrap();
        self.api().create(&PostParams::default(), &object).await.unwrap()
    }

    /// Creates a pod of one container of the executable's image.
    pub async fn run(&self, name: &str, args: &[&str], more: Value) -> Pod {
        let args = [&["workload"], args].concat();
        let mut pod = json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "main", "image": "registry.example/vkube/vkube:test", "args": args},
            ]},
        });
        merge(&mut pod, more);
        self.create(pod).await
    }

    /// Waits for an object to become what the condition says.
    pub async fn wait<K>(&self, name: &str, condition: impl Fn(Option<&K>) -> bool) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Send
            + DeserializeOwned
            + 'static,
    {
        await_condition(self.api(), name, condition).await.unwrap()
    }

    /// Waits for a pod whose status meets the condition.
    pub async fn wait_for_pod(&self, name: &str, condition: impl Fn(&Pod) -> bool) -> Pod {
        self.wait::<Pod>(name, |pod| pod.is_some_and(&condition)).await.unwrap()
    }

    pub async fn wait_until_ready(&self, name: &str) -> Pod {
        self.wait_for_pod(name, is_ready).await
    }

    pub async fn wait_for_phase(&self, name: &str, phase: &str) -> Pod {
        self.wait_for_pod(name, |pod| pod.status.as_ref().unwrap().phase.as_deref() == Some(phase)).await
    }
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub fn ip(pod: &Pod) -> String {
    pod.status.as_ref().unwrap().pod_ip.clone().unwrap()
}

/// Merges as JSON merge patch does, and lists index by index.
pub fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(target), Value::Array(patch)) => {
            for (index, value) in patch.into_iter().enumerate() {
                match target.get_mut(index) {
                    Some(target) => merge(target, value),
                    None => target.push(value),
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

/// What an HTTP server at an address answers.
pub async fn get(address: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}
