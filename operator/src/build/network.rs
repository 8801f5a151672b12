//! Who may talk to whom in the host namespace.
//!
//! Everything is denied, then allowed: pods of the namespace among themselves; anyone to the API server, which
//! authenticates; the control plane to API servers and DNS; workloads to what the settings say. Link-local addresses,
//! where clouds hand out credentials, are out of reach of all.
//!
//! Policies add up, so where a tenant's own policy isolates a pod, what is allowed here must step back: the control plane
//! labels such pods, and the settings tell it how far the tenant's policies may go.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use vkube_crds::labels;

use super::control_plane::API_PORT;
use super::identity::metadata;
use super::object::Key;
use crate::names::{CONTROL_PLANE, Identity};
use crate::settings::{Network, Settings};

const DENY: &str = "vc-deny";
const CONTROL_PLANE_POLICY: &str = "vc-control-plane";
const CLUSTER: &str = "vc-cluster";
const INWARDS: &str = "vc-workloads-ingress";
const OUTWARDS: &str = "vc-workloads-egress";

/// Ports at which API servers listen: the host's, and those of webhooks and aggregated APIs.
const API_PORTS: [i32; 3] = [443, 6443, 8443];

/// The policies; none if switched off.
pub(super) fn policies(identity: &Identity, settings: &Settings) -> Vec<NetworkPolicy> {
    let Some(network) = &settings.isolation.network else { return Vec::new() };
    let own = own_namespaces(identity, settings);
    vec![
        deny(identity),
        control_plane(identity, settings.database.is_some(), &own),
        cluster(identity, &own),
        inwards(identity, network, &own),
        outwards(identity, network, &own),
    ]
}

/// Every object that this module may build.
pub(super) fn keys(identity: &Identity) -> Vec<Key> {
    [DENY, CONTROL_PLANE_POLICY, CLUSTER, INWARDS, OUTWARDS]
        .map(|name| Key::new::<NetworkPolicy>(Some(&identity.host_namespace), name))
        .to_vec()
}

fn deny(identity: &Identity) -> NetworkPolicy {
    policy(identity, DENY, LabelSelector::default(), Vec::new(), Vec::new())
}

fn control_plane(identity: &Identity, has_database: bool, own: &NetworkPolicyPeer) -> NetworkPolicy {
    let select =
        LabelSelector { match_labels: Some(identity.control_plane_selector()), ..LabelSelector::default() };
    let api = NetworkPolicyIngressRule { ports: Some(vec![port("TCP", API_PORT)]), from: None };
    let outside = NetworkPolicyEgressRule {
        to: Some(
            [("0.0.0.0/0", vec!["169.254.0.0/16"]), ("::/0", vec!["fd00:ec2::254/128", "fe80::/10"])]
                .map(|(cidr, except)| block(cidr, except.into_iter().map(ToOwned::to_owned).collect()))
                .to_vec(),
        ),
        // Where a database is, only its Secret says.
        ports: (!has_database).then(|| API_PORTS.map(|number| port("TCP", number)).to_vec()),
    };
    policy(
        identity,
        CONTROL_PLANE_POLICY,
        select,
        vec![api, from_peers(vec![own.clone()])],
        vec![to_peers(vec![own.clone()]), dns(), outside],
    )
}

/// What all workloads need: the API server and DNS, and that the control plane reaches them, for webhooks and streams.
fn cluster(identity: &Identity, own: &NetworkPolicyPeer) -> NetworkPolicy {
    let control_plane =
        LabelSelector { match_labels: Some(identity.control_plane_selector()), ..LabelSelector::default() };
    let control_plane = NetworkPolicyPeer { pod_selector: Some(control_plane), ..own.clone() };
    let ingress = vec![from_peers(vec![control_plane.clone()])];
    policy(identity, CLUSTER, workload_pods(None), ingress, vec![to_peers(vec![control_plane])])
}

/// Who may reach workloads, unless the tenant's own policies say so.
fn inwards(identity: &Identity, network: &Network, own: &NetworkPolicyPeer) -> NetworkPolicy {
    let mut ingress = vec![from_peers(vec![own.clone()])];
    let mut outsiders: Vec<_> = network.namespaces.iter().map(|name| namespace(name)).collect();
    outsiders.extend(network.ingress.iter().map(|cidr| block(cidr, Vec::new())));
    if !outsiders.is_empty() {
        ingress.push(from_peers(outsiders));
    }
    let select = workload_pods(Some(labels::TENANT_INGRESS));
    one_way("Ingress", policy(identity, INWARDS, select, ingress, Vec::new()))
}

/// Whom workloads may reach, unless the tenant's own policies say so.
fn outwards(identity: &Identity, network: &Network, own: &NetworkPolicyPeer) -> NetworkPolicy {
    let mut egress = vec![to_peers(vec![own.clone()])];
    let outside: Vec<_> = network.egress.iter().map(|to| block(&to.cidr, to.except.clone())).collect();
    if !outside.is_empty() {
        egress.push(to_peers(outside));
    }
    let select = workload_pods(Some(labels::TENANT_EGRESS));
    one_way("Egress", policy(identity, OUTWARDS, select, Vec::new(), egress))
}

/// The tenant's pods, without those that have a label.
fn workload_pods(without: Option<&str>) -> LabelSelector {
    let not_control_plane = LabelSelectorRequirement {
        key: labels::COMPONENT.into(),
        operator: "NotIn".into(),
        values: Some(vec![CONTROL_PLANE.into()]),
    };
    let without = without.map(|label| LabelSelectorRequirement {
        key: label.into(),
        operator: "DoesNotExist".into(),
        values: None,
    });
    LabelSelector {
        match_expressions: Some(std::iter::once(not_control_plane).chain(without).collect()),
        ..LabelSelector::default()
    }
}

fn one_way(kind: &str, mut policy: NetworkPolicy) -> NetworkPolicy {
    if let Some(spec) = &mut policy.spec {
        spec.policy_types = Some(vec![kind.into()]);
    }
    policy
}

fn policy(
    identity: &Identity,
    name: &str,
    select: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(identity, &identity.host_namespace, name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(select),
            ingress: Some(ingress).filter(|rules| !rules.is_empty()),
            egress: Some(egress).filter(|rules| !rules.is_empty()),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
        }),
    }
}

/// The host's DNS, wherever it runs.
fn dns() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: None, ports: Some(vec![port("UDP", 53), port("TCP", 53)]) }
}

fn from_peers(peers: Vec<NetworkPolicyPeer>) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(peers), ports: None }
}

fn to_peers(peers: Vec<NetworkPolicyPeer>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(peers), ports: None }
}

/// All pods of the cluster's host namespaces: of this one, unless virtual namespaces have others for themselves.
fn own_namespaces(identity: &Identity, settings: &Settings) -> NetworkPolicyPeer {
    let labels = BTreeMap::from([(labels::CLUSTER_UID.to_owned(), identity.uid.clone())]);
    let several = settings.mapped.as_ref();
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector::default()),
        namespace_selector: several
            .map(|_| LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
        ..NetworkPolicyPeer::default()
    }
}

fn namespace(name: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([("kubernetes.io/metadata.name".into(), name.to_owned())])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn block(cidr: &str, except: Vec<String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: Some(except).filter(|list| !list.is_empty()),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.into()),
        port: Some(IntOrString::Int(number)),
        ..NetworkPolicyPort::default()
    }
}
