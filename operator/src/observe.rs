//! What the control plane is really doing.

use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSetStatus;
use k8s_openapi::api::core::v1::{ConfigMap, LoadBalancerIngress, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;

use crate::apply::Host;
use crate::build::Key;
use crate::error::Error;
use crate::inside;
use crate::names::{Identity, LAST_REQUEST};

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the StatefulSet reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Pods that exist.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Whether the report speaks of the present spec, and every pod is of it.
    pub current: bool,
}

/// Reads the StatefulSet's status.
pub fn rollout(live: &DynamicObject) -> Rollout {
    let status: StatefulSetStatus = part(live, "status").unwrap_or_default();
    let current =
        status.observed_generation.unwrap_or_default() >= live.metadata.generation.unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or_default();
    Rollout {
        replicas: status.replicas,
        ready: status.ready_replicas.unwrap_or_default(),
        // A set that has not rolled anything yet reports no revision to compare.
        current: current && updated >= status.replicas,
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

/// Why the control plane's pod does not run, if its status says so.
pub async fn pod_problem(host: &Host, identity: &Identity) -> Result<Option<String>, Error> {
    let name = format!("{}-0", identity.name);
    let key = Key::new::<Pod>(Some(&identity.host_namespace), &name);
    let Some(pod) = host.get(&key).await? else { return Ok(None) };
    let status: PodStatus = part(&pod, "status").unwrap_or_default();
    Ok(problem(&status))
}

fn problem(status: &PodStatus) -> Option<String> {
    // These pass by themselves.
    const HARMLESS: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let waiting = status
        .container_statuses
        .iter()
        .flatten()
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .find(|waiting| !HARMLESS.contains(&waiting.reason.as_deref().unwrap_or_default()));
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or("Waiting");
        return Some(match &waiting.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        });
    }
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    let message = unscheduled.message.as_deref().unwrap_or("waits for a node");
    Some(format!("{}: {message}", unscheduled.reason.as_deref().unwrap_or("Unschedulable")))
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
            "updatedReplicas": 1}}));
        set.metadata.generation = Some(1);
        assert_eq!(rollout(&set), Rollout { replicas: 1, ready: 1, current: true });
        set.metadata.generation = Some(2);
        assert!(!rollout(&set).current);
    }

    #[test]
    fn a_pod_tells_why_it_does_not_run() {
        let status = |value| serde_json::from_value::<PodStatus>(value).unwrap();
        let waiting = |reason: &str| {
            status(json!({"containerStatuses": [{"name": "a", "ready": false, "restartCount": 0, "image": "",
                "imageID": "", "state": {"waiting": {"reason": reason, "message": "no such image"}}}]}))
        };
        assert_eq!(problem(&waiting("ErrImagePull")).as_deref(), Some("ErrImagePull: no such image"));
        assert_eq!(problem(&waiting("ContainerCreating")), None);
        let pending = status(json!({"conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available"}]}));
        assert_eq!(problem(&pending).as_deref(), Some("Unschedulable: 0/1 nodes are available"));
    }
}
