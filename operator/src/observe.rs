//! What the control plane is really doing.

use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSetStatus;
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, LoadBalancerIngress, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::DynamicObject;
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;

use crate::apply::Host;
use crate::build::Key;
use crate::error::Error;
use crate::inside;
use crate::names::{Identity, LAST_REQUEST};

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the StatefulSet reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Pods that exist.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Whether the report speaks of the present spec, and every pod is of it.
    pub current: bool,
    /// What is rolled out, if the report speaks of the present spec.
    pub revisions: Option<Revisions>,
}

/// The revisions of a StatefulSet: one and the same once a rollout is through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// The last one of which every pod became ready; the first one, before any did.
    pub previous: String,
    /// The one of the present spec.
    pub wanted: String,
}

/// Reads the StatefulSet's status.
pub fn rollout(live: &DynamicObject) -> Rollout {
    let status: StatefulSetStatus = part(live, "status").unwrap_or_default();
    let current =
        status.observed_generation.unwrap_or_default() >= live.metadata.generation.unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or_default();
    let revisions = status.current_revision.zip(status.update_revision);
    Rollout {
        replicas: status.replicas,
        ready: status.ready_replicas.unwrap_or_default(),
        // A set that has not rolled anything yet reports no revision to compare.
        current: current && updated >= status.replicas,
        revisions: revisions.filter(|_| current).map(|(previous, wanted)| Revisions { previous, wanted }),
    }
}

/// The cluster IPs of a Service.
pub fn cluster_ips(service: &DynamicObject) -> Vec<String> {
    let spec = service.data.get("spec");
    let many = spec.and_then(|spec| spec.get("clusterIPs")).and_then(|ips| ips.as_array());
    let one = spec.and_then(|spec| spec.get("clusterIP"));
    let mut ips: Vec<String> = many
        .into_iter()
        .flatten()
        .chain(one)
        .filter_map(|ip| ip.as_str())
        .filter(|ip| !ip.is_empty() && *ip != "None")
        .map(ToOwned::to_owned)
        .collect();
    ips.dedup();
    ips
}

/// Addresses and names that a load balancer gave a Service.
pub fn balancer_addresses(service: &DynamicObject) -> Vec<String> {
    let ingress: Vec<LoadBalancerIngress> = service
        .data
        .pointer("/status/loadBalancer/ingress")
        .and_then(|list| serde_json::from_value(list.clone()).ok())
        .unwrap_or_default();
    ingress.into_iter().flat_map(|ingress| [ingress.hostname, ingress.ip]).flatten().collect()
}

/// The node port of a Service.
pub fn node_port(service: &DynamicObject) -> Option<i64> {
    service.data.pointer("/spec/ports/0/nodePort")?.as_i64()
}

/// When the cluster was used last, as its control plane tells.
pub async fn last_request(host: &Host, identity: &Identity) -> Result<Option<Timestamp>, Error> {
    let key = Key::new::<ConfigMap>(Some(&identity.host_namespace), &identity.activity());
    let told = host.get(&key).await?;
    let text = told.as_ref().and_then(|told| told.data.get("data")?.get(LAST_REQUEST)?.as_str());
    Ok(text.and_then(|text| text.parse().ok()))
}

/// A pod of the control plane that does not run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The pod.
    pub pod: String,
    /// Its UID.
    pub uid: Option<String>,
    /// The revision of the StatefulSet that it was made from.
    pub revision: Option<String>,
    /// What its status says.
    pub problem: Problem,
}

/// What a pod's status says against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It has no node. One may come.
    Unscheduled(String),
    /// A container does not start.
    Broken(String),
}

impl Problem {
    /// In words, the reason first.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unscheduled(why) | Self::Broken(why) => why,
        }
    }
}

/// The control plane's pods that do not run, as far as their status says why.
pub async fn faults(host: &Host, identity: &Identity) -> Result<Vec<Fault>, Error> {
    let key = Key::new::<Pod>(Some(&identity.host_namespace), "");
    let pods = host.list(&key, &identity.control_plane_pods()).await?;
    Ok(pods.into_iter().filter_map(fault).collect())
}

fn fault(pod: DynamicObject) -> Option<Fault> {
    let status: PodStatus = part(&pod, "status").unwrap_or_default();
    let problem = problem(&status).filter(|_| pod.metadata.deletion_timestamp.is_none())?;
    let revision = pod.labels().get("controller-revision-hash").cloned();
    Some(Fault { pod: pod.name_any(), uid: pod.metadata.uid, revision, problem })
}

fn problem(status: &PodStatus) -> Option<Problem> {
    // Init containers first: the others wait for them.
    let inits = status.init_container_statuses.iter().flatten().map(|one| (true, one));
    let mut all = inits.chain(status.container_statuses.iter().flatten().map(|one| (false, one)));
    if let Some(problem) = all.find_map(|(is_init, container)| broken(is_init, container)) {
        return Some(problem);
    }
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    let message = unscheduled.message.as_deref().unwrap_or("waits for a node");
    let reason = unscheduled.reason.as_deref().unwrap_or("Unschedulable");
    Some(Problem::Unscheduled(format!("{reason}: {message}")))
}

/// What holds a container up, unless that passes by itself.
fn broken(is_init: bool, container: &ContainerStatus) -> Option<Problem> {
    const HARMLESS: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or("Waiting");
    if HARMLESS.contains(&reason) {
        return None;
    }
    let which = if is_init { format!("init container {}: ", container.name) } else { String::new() };
    let message = waiting.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    Some(Problem::Broken(format!("{which}{reason}{message}")))
}

/// Asks the API server at `address` whether it is ready, and for its version. The error says why not.
pub async fn answers(address: &str, server_name: &str, authority: &str) -> Result<String, String> {
    let ask = async {
        let client = anonymous(address, server_name, authority).map_err(|error| error.to_string())?;
        let get = |path: &str| Request::get(path).body(Vec::new()).map_err(|error| error.to_string());
        client.request_text(get("/readyz")?).await.map_err(|error| error.to_string())?;
        // Anonymous users may be kept from the version; the cluster is ready nevertheless.
        let version = client.request::<Info>(get("/version")?).await;
        Ok(version.map(|info| info.git_version).unwrap_or_default())
    };
    tokio::time::timeout(PATIENCE, ask).await.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}")))
}

/// A client without credentials that trusts this authority alone.
fn anonymous(
    address: &str,
    server_name: &str,
    authority: &str,
) -> Result<Client, Box<dyn std::error::Error>> {
    let config = inside::config(address, server_name, authority, PATIENCE);
    Ok(Client::try_from(config.ok_or("it has no address")?)?)
}

/// A top-level part of an object, in its type.
fn part<T: DeserializeOwned>(object: &DynamicObject, name: &str) -> Option<T> {
    serde_json::from_value(object.data.get(name)?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use kube::core::ApiResource;
    use serde_json::{Value, json};

    use super::*;

    fn mk(data: Value) -> DynamicObject {
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Service>(&());
        DynamicObject { data, ..DynamicObject::new("x", &resource) }
    }

    #[test]
    fn addresses_are_read_once_each() {
        let service = mk(json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}}));
        assert_eq!(cluster_ips(&service), ["10.0.0.1"]);
        assert!(cluster_ips(&mk(json!({"spec": {"clusterIP": "None"}}))).is_empty());
        let service =
            mk(json!({"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "lb"}]}}}));
        assert_eq!(balancer_addresses(&service), ["1.2.3.4", "lb"]);
    }

    #[test]
    fn an_old_report_of_a_stateful_set_is_not_current() {
        let mut set = mk(json!({"status": {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1,
            "updatedReplicas": 1, "currentRevision": "x-1", "updateRevision": "x-2"}}));
        set.metadata.generation = Some(1);
        let revisions = Some(Revisions { previous: "x-1".into(), wanted: "x-2".into() });
        assert_eq!(rollout(&set), Rollout { replicas: 1, ready: 1, current: true, revisions });
        set.metadata.generation = Some(2);
        assert_eq!(rollout(&set), Rollout { replicas: 1, ready: 1, ..Rollout::default() });
    }

    #[test]
    fn a_pod_tells_why_it_does_not_run() {
        let status = |value| serde_json::from_value::<PodStatus>(value).unwrap();
        let waiting = |reason: &str| {
            status(json!({"containerStatuses": [{"name": "a", "ready": false, "restartCount": 0, "image": "",
                "imageID": "", "state": {"waiting": {"reason": reason, "message": "no such image"}}}]}))
        };
        assert_eq!(
            problem(&waiting("ErrImagePull")),
            Some(Problem::Broken("ErrImagePull: no such image".into()))
        );
        assert_eq!(problem(&waiting("ContainerCreating")), None);
        let init = |state: Value| {
            let waits = json!({"waiting": {"reason": "PodInitializing"}});
            let container = |name: &str, state: Value| json!({"name": name, "ready": false, "restartCount": 3, "image": "", "imageID": "", "state": state});
            status(
                json!({"initContainerStatuses": [container("first", json!({"terminated": {"exitCode": 0}})),
                container("seed", state)], "containerStatuses": [container("control-plane", waits)]}),
            )
        };
        let crashing = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}});
        assert_eq!(
            problem(&init(crashing)),
            Some(Problem::Broken("init container seed: CrashLoopBackOff: back-off 40s".into()))
        );
        for harmless in [json!({"running": {}}), json!({"waiting": {"reason": "PodInitializing"}})] {
            assert_eq!(problem(&init(harmless)), None);
        }
        let pending = status(json!({"conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available"}]}));
        let unscheduled = Problem::Unscheduled("Unschedulable: 0/1 nodes are available".into());
        assert_eq!(problem(&pending), Some(unscheduled));
    }
}
