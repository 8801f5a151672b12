//! Nodes: a tenant sees those that run its pods, and only while they do.
//!
//! By default they are made up: their size, version and labels say nothing about the host. Where the
//! configuration allows it, they are copies of the host's nodes without what identifies the machine.
//! DaemonSet pods do not keep a node: they come with it, and would keep it for ever.

mod base;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
    NodeSystemInfo, Pod,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};

use super::pod::CONTROLLER_KIND;
use crate::config::NodeSync;
use crate::context::Context;
use crate::error::{Error, Result, is_conflict, is_not_found};
use crate::labels::ObjectKey;
use crate::queue::Outcome;
use crate::rules::selector::chooses;

/// Virtual label of nodes that are kept here.
const KEPT: &str = "vkube.dev/node";

/// How long a node outlives its last pod, so that a restart does not take the node and its DaemonSet pods away.
const LINGER: Duration = Duration::from_secs(30);

/// Brings one node in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let name = key.name.as_str();
    let is_shown = cx.translator.config.nodes != NodeSync::None;
    let user = cx.host_side.pods.find(|pod| is_shown && uses(pod, name));
    let source = cx.host_side.nodes.get(key);
    let is_selected = source.as_ref().is_some_and(|node| is_selected(&cx.translator.config.nodes, node));

    if user.is_some() || is_selected {
        cx.idle_nodes().remove(name);
        let Some(wanted) = wanted(cx, name, user.as_deref()) else { return Ok(Outcome::Done) };
        keep(cx, wanted).await?;
        return Ok(Outcome::Done);
    }

    let is_ours = cx.virtual_side.nodes.get(key).is_some_and(|node| is_kept(&node.metadata));
    if !is_ours {
        cx.idle_nodes().remove(name);
        return Ok(Outcome::Done);
    }
    let since = *cx.idle_nodes().entry(name.to_owned()).or_insert_with(tokio::time::Instant::now);
    if let Some(rest) = LINGER.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero()) {
        return Ok(Outcome::After(rest));
    }
    let api: Api<Node> = Api::all(cx.virtual_client.clone());
    match api.delete(name, &DeleteParams::default()).await {
        Err(error) if !is_not_found(&error) => return Err(Error::Virtual(error)),
        _ => {}
    }
    cx.idle_nodes().remove(name);
    Ok(Outcome::Done)
}

/// Sees to it that the node of a host pod exists, before a virtual pod is bound to it.
pub(crate) async fn ensure(cx: &Context, name: &str, pod: &Pod) -> Result<()> {
    if cx.virtual_side.nodes.get(&ObjectKey::new("", name)).is_some() {
        return Ok(());
    }
    match wanted(cx, name, Some(pod)) {
        Some(node) => keep(cx, node).await,
        None => Ok(()),
    }
}

/// Whether a virtual node is kept here, and not the tenant's own.
pub(crate) fn is_kept(metadata: &ObjectMeta) -> bool {
    metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(KEPT))
}

/// The node a pod runs on.
pub(crate) fn of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

fn uses(pod: &Pod, node: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let is_daemon = pod.annotations().get(CONTROLLER_KIND).is_some_and(|kind| kind == "DaemonSet");
    of(pod) == Some(node) && !matches!(phase, "Succeeded" | "Failed") && !is_daemon
}

fn is_selected(nodes: &NodeSync, node: &Node) -> bool {
    match nodes {
        NodeSync::None | NodeSync::Synthetic | NodeSync::Used => false,
        NodeSync::Selected(selector) => chooses(selector, node.metadata.labels.as_ref()),
    }
}

fn wanted(cx: &Context, name: &str, pod: Option<&Pod>) -> Option<Node> {
    let config = &cx.translator.config;
    match config.nodes {
        NodeSync::None => None,
        NodeSync::Synthetic => Some(synthetic(name, &config.kubelet_version, pod)),
        NodeSync::Used | NodeSync::Selected(_) => {
            cx.host_side.nodes.get(&ObjectKey::new("", name)).map(|node| sanitised(&node))
        }
    }
}

async fn keep(cx: &Context, wanted: Node) -> Result<()> {
    let api: Api<Node> = Api::all(cx.virtual_client.clone());
    let name = wanted.name_any();
    let live = match api.get_opt(&name).await.map_err(Error::Virtual)? {
        Some(live) => live,
        None => match api.create(&Context::post_params(), &base::merged(&Node::default(), &wanted)).await {
            Ok(live) => live,
            Err(error) if is_conflict(&error) => return Ok(()),
            Err(error) => return Err(Error::Virtual(error)),
        },
    };
    if !is_kept(&live.metadata) {
        // A node of the tenant's own.
        return Ok(());
    }

    let is_synthetic = cx.translator.config.nodes == NodeSync::Synthetic;
    let mut current = base::merged(&live, &wanted);
    if current != live {
        current = match api.replace(&name, &Context::post_params(), &current).await {
            Ok(written) => written,
            Err(error) if is_conflict(&error) || is_not_found(&error) => return Ok(()),
            Err(error) => return Err(Error::Virtual(error)),
        };
    }
    if !is_reported(&current, &wanted, is_synthetic) {
        current.status = wanted.status;
        match api.replace_status(&name, &Context::post_params(), &current).await {
            Err(error) if !is_conflict(&error) && !is_not_found(&error) => return Err(Error::Virtual(error)),
            _ => {}
        }
    }
    Ok(())
}

/// A made-up node's conditions carry the time they were made, so only their presence counts.
fn is_reported(current: &Node, wanted: &Node, is_synthetic: bool) -> bool {
    if !is_synthetic {
        return current.status == wanted.status;
    }
    let has_conditions = |node: &Node| node.status.as_ref().is_some_and(|status| status.conditions.is_some());
    let addresses = |node: &Node| node.status.as_ref().and_then(|status| status.addresses.clone());
    has_conditions(current) && addresses(current) == addresses(wanted)
}

fn synthetic(name: &str, version: &str, pod: Option<&Pod>) -> Node {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let labels = [
        (KEPT, "synthetic"),
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture),
    ];
    let size: BTreeMap<String, Quantity> =
        [("cpu", "16"), ("memory", "32Gi"), ("pods", "110"), ("ephemeral-storage", "100Gi")]
            .map(|(resource, quantity)| (resource.to_owned(), Quantity(quantity.to_owned())))
            .into();
    let host_ip = pod.and_then(|pod| pod.status.as_ref()?.host_ip.clone()).filter(|ip| !ip.is_empty());
    let mut addresses = vec![address("Hostname", name)];
    if let Some(ip) = host_ip {
        addresses.insert(0, address("InternalIP", &ip));
    }

    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec::default()),
        status: Some(NodeStatus {
            addresses: Some(addresses),
            allocatable: Some(size.clone()),
            capacity: Some(size),
            conditions: Some(healthy()),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: 10250 }),
            }),
            node_info: Some(NodeSystemInfo {
                architecture: architecture.into(),
                container_runtime_version: "vkube://host".into(),
                kernel_version: "host".into(),
                kube_proxy_version: version.to_owned(),
                kubelet_version: version.to_owned(),
                operating_system: "linux".into(),
                os_image: "vkube".into(),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        }),
    }
}

fn healthy() -> Vec<NodeCondition> {
    let now = Some(Time(Timestamp::now()));
    [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
        ("Ready", "True", "KubeletReady"),
    ]
    .map(|(kind, status, reason)| NodeCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some("kept by the host cluster".into()),
        last_heartbeat_time: now.clone(),
        last_transition_time: now.clone(),
    })
    .into()
}

fn address(kind: &str, address: &str) -> NodeAddress {
    NodeAddress { address: address.to_owned(), type_: kind.to_owned() }
}

/// A host node without what identifies the machine or tells of other tenants: images, volumes, machine ids,
/// provider, pod ranges, annotations.
fn sanitised(node: &Node) -> Node {
    let mut labels = node.labels().clone();
    labels.insert(KEPT.into(), "host".into());
    let spec = node.spec.clone().unwrap_or_default();
    let mut status = node.status.clone().unwrap_or_default();
    status.images = None;
    status.volumes_attached = None;
    status.volumes_in_use = None;
    status.config = None;
    if let Some(info) = &mut status.node_info {
        info.machine_id.clear();
        info.system_uuid.clear();
        info.boot_id.clear();
    }
    if let Some(addresses) = &mut status.addresses {
        addresses.retain(|address| matches!(address.type_.as_str(), "InternalIP" | "Hostname"));
    }
    Node {
        metadata: ObjectMeta {
            name: node.metadata.name.clone(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: spec.taints,
            unschedulable: spec.unschedulable,
            ..NodeSpec::default()
        }),
        status: Some(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(yaml: &str) -> Pod {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn running_pods_keep_their_node_and_finished_ones_do_not() {
        assert!(uses(&pod("{spec: {nodeName: n1, containers: []}, status: {phase: Running}}"), "n1"));
        assert!(!uses(&pod("{spec: {nodeName: n1, containers: []}, status: {phase: Succeeded}}"), "n1"));
        assert!(!uses(&pod("{spec: {nodeName: n2, containers: []}}"), "n1"));
    }

    #[test]
    fn daemons_do_not_keep_their_node() {
        let daemon = "{metadata: {annotations: {vkube.dev/controller-kind: DaemonSet}}, \
                      spec: {nodeName: n1, containers: []}}";
        assert!(!uses(&pod(daemon), "n1"));
    }

    #[test]
    fn copies_do_not_identify_the_machine() {
        let node: Node = serde_saphyr::from_str(
            "{metadata: {name: n1, annotations: {secret: x}, labels: {zone: a}}, \
             spec: {providerID: 'cloud://1', podCIDR: 10.0.0.0/24}, \
             status: {addresses: [{type: InternalIP, address: 10.1.1.1}, {type: ExternalIP, address: 8.8.8.8}], \
             nodeInfo: {machineID: m, systemUUID: s, bootID: b, architecture: amd64, containerRuntimeVersion: c, \
             kernelVersion: k, kubeProxyVersion: p, kubeletVersion: v, operatingSystem: linux, osImage: o}, \
             images: [{names: [tenant-b/app]}]}}",
        )
        .unwrap();
        let copy = sanitised(&node);
        assert_eq!(copy.metadata.annotations, None);
        assert_eq!(copy.labels()["zone"], "a");
        assert_eq!(copy.spec.unwrap().provider_id, None);
        let status = copy.status.unwrap();
        assert_eq!(status.images, None);
        assert_eq!(status.addresses.unwrap().len(), 1);
        assert_eq!(status.node_info.unwrap().machine_id, "");
    }

    #[test]
    fn made_up_nodes_are_ready_and_reachable_at_the_hosts_address() {
        let node =
            synthetic("n1", "v1.36.2", Some(&pod("{spec: {containers: []}, status: {hostIP: 10.1.1.1}}")));
        let status = node.status.unwrap();
        assert_eq!(status.addresses.unwrap()[0].address, "10.1.1.1");
        assert!(status.conditions.unwrap().iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    }
}
