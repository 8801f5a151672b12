//! NetworkPolicies, limited to the virtual cluster they come from and to what the host allows.
//!
//! Policies of one host namespace add up, so a tenant's policy could open what the host's own policies close.
//! Therefore "anywhere" becomes "all pods of this virtual cluster and what the host allows besides", and address blocks
//! shrink to what the host allows. A host without policies of its own bounds nothing.
//!
//! For the same reason a tenant's policy could close nothing that the host's open. So a host pod that a tenant's policy
//! isolates carries a label, and the host's permission is not for pods with that label.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::mirror::{mirror, mirrored};
use super::pod::by_namespace_labels;
use crate::context::{Context, Kind};
use crate::error::Result;
use crate::labels::{ObjectKey, Translator, VIRTUAL_CLUSTER};
use crate::network::Block;
use crate::queue::Outcome;
use crate::rules::selector::chooses;

/// Brings one NetworkPolicy in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let object = cx.virtual_object::<NetworkPolicy>(key).await?;
    let desired = mirrored(cx, Kind::NetworkPolicy, object, to_host)?;
    mirror(cx, Kind::NetworkPolicy, key, &cx.host_side.network_policies, desired).await
}

/// Whether policies of its namespace isolate a pod with `labels`: for what reaches it, and for what it reaches.
pub(crate) fn isolates(
    policies: &[Arc<NetworkPolicy>],
    labels: Option<&BTreeMap<String, String>>,
) -> (bool, bool) {
    let mut isolated = (false, false);
    for spec in policies.iter().filter_map(|policy| policy.spec.as_ref()) {
        let everything = LabelSelector::default();
        if !chooses(spec.pod_selector.as_ref().unwrap_or(&everything), labels) {
            continue;
        }
        let says = |kind: &str| spec.policy_types.iter().flatten().any(|other| other == kind);
        isolated.0 |= says("Ingress");
        isolated.1 |= says("Egress");
    }
    isolated
}

fn to_host(translator: &Translator, policy: NetworkPolicy) -> NetworkPolicy {
    let metadata = translator.metadata("NetworkPolicy", &policy.metadata);
    let namespace = policy.metadata.namespace.unwrap_or_default();
    let mut spec = policy.spec.unwrap_or_default();

    let chosen = spec.pod_selector.take().unwrap_or_default();
    spec.pod_selector = Some(translator.selector_in(&namespace, &chosen));
    let bounds = translator.config.network.as_ref();
    let inwards =
        Way { blocks: bounds.map(|bounds| &bounds.ingress[..]), from: bounds.map(|b| &b.namespaces[..]) };
    let outwards = Way { blocks: bounds.map(|bounds| &bounds.egress[..]), from: None };
    if let Some(rules) = &mut spec.ingress {
        rules.retain_mut(|rule| narrow(translator, &namespace, &inwards, &mut rule.from));
    }
    if let Some(rules) = &mut spec.egress {
        rules.retain_mut(|rule| narrow(translator, &namespace, &outwards, &mut rule.to));
    }
    NetworkPolicy { metadata, spec: Some(spec) }
}

/// What the host allows besides the pods of the cluster, one way; `None` = everything.
struct Way<'a> {
    blocks: Option<&'a [Block]>,
    from: Option<&'a [String]>,
}

/// Limits a rule's peers; says whether anything is left. A rule that lost all its peers must go: without peers
/// it would mean everybody.
fn narrow(
    translator: &Translator,
    namespace: &str,
    way: &Way<'_>,
    peers: &mut Option<Vec<NetworkPolicyPeer>>,
) -> bool {
    let own = peers.take().filter(|peers| !peers.is_empty());
    let narrowed: Vec<NetworkPolicyPeer> = match (own, way.blocks) {
        (None, None) => return true,
        (None, Some(blocks)) => {
            let everywhere = std::iter::once(cluster_pods(translator, LabelSelector::default()));
            let outside = blocks.iter().map(block_peer);
            everywhere
                .chain(outside)
                .chain(way.from.into_iter().flatten().map(|name| namespace_peer(name)))
                .collect()
        }
        (Some(own), _) => own.iter().flat_map(|peer| translate(translator, namespace, way, peer)).collect(),
    };
    let is_left = !narrowed.is_empty();
    *peers = Some(narrowed);
    is_left
}

fn translate(
    translator: &Translator,
    namespace: &str,
    way: &Way<'_>,
    peer: &NetworkPolicyPeer,
) -> Vec<NetworkPolicyPeer> {
    if let Some(block) = &peer.ip_block {
        return blocks(way, block);
    }
    let pods = peer.pod_selector.clone().unwrap_or_default();
    match &peer.namespace_selector {
        Some(namespaces) => {
            let mut pods = translator.selector(&pods);
            by_namespace_labels(&mut pods, namespaces);
            vec![cluster_pods(translator, pods)]
        }
        None if peer.pod_selector.is_some() => vec![NetworkPolicyPeer {
            pod_selector: Some(translator.selector_in(namespace, &pods)),
            ..NetworkPolicyPeer::default()
        }],
        None => Vec::new(),
    }
}

/// An address block as far as the host allows it. One that cannot be read allows nothing.
fn blocks(way: &Way<'_>, asked: &IPBlock) -> Vec<NetworkPolicyPeer> {
    let Some(bounds) = way.blocks else {
        return vec![NetworkPolicyPeer { ip_block: Some(asked.clone()), ..NetworkPolicyPeer::default() }];
    };
    let except = asked.except.iter().flatten().map(|cidr| cidr.parse()).collect::<Result<_, _>>();
    let (Ok(cidr), Ok(except)) = (asked.cidr.parse(), except) else { return Vec::new() };
    let asked = Block { cidr, except };
    bounds.iter().filter_map(|bound| asked.within(bound)).map(|block| block_peer(&block)).collect()
}

fn block_peer(block: &Block) -> NetworkPolicyPeer {
    let except: Vec<String> = block.except.iter().map(ToString::to_string).collect();
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: block.cidr.to_string(),
            except: Some(except).filter(|except| !except.is_empty()),
        }),
        ..NetworkPolicyPeer::default()
    }
}

/// All pods of a namespace of the host.
fn namespace_peer(name: &str) -> NetworkPolicyPeer {
    let labels = [("kubernetes.io/metadata.name".to_owned(), name.to_owned())].into();
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
        ..NetworkPolicyPeer::default()
    }
}

fn cluster_pods(translator: &Translator, mut pods: LabelSelector) -> NetworkPolicyPeer {
    let cluster = translator.config.cluster.clone();
    pods.match_labels.get_or_insert_default().insert(VIRTUAL_CLUSTER.into(), cluster);
    NetworkPolicyPeer {
        pod_selector: Some(pods),
        namespace_selector: translator.own_namespaces(),
        ..NetworkPolicyPeer::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn host(spec: &str) -> k8s_openapi::api::networking::v1::NetworkPolicySpec {
        let policy = format!("{{metadata: {{name: p, namespace: shop}}, spec: {spec}}}");
        let policy: NetworkPolicy = serde_saphyr::from_str(&policy).unwrap();
        let mut config = Config::new("demo", "tenant");
        config.network = Some(
            serde_saphyr::from_str(
                "{egress: [{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}], ingress: [{cidr: 192.0.2.0/24}], namespaces: [edge]}",
            )
            .unwrap(),
        );
        to_host(&Translator::new(config), policy).spec.unwrap()
    }

    fn unbounded(spec: &str) -> k8s_openapi::api::networking::v1::NetworkPolicySpec {
        let policy = format!("{{metadata: {{name: p, namespace: shop}}, spec: {spec}}}");
        let policy: NetworkPolicy = serde_saphyr::from_str(&policy).unwrap();
        to_host(&Translator::new(Config::new("demo", "tenant")), policy).spec.unwrap()
    }

    fn labels(peer: &NetworkPolicyPeer) -> &BTreeMap<String, String> {
        peer.pod_selector.as_ref().unwrap().match_labels.as_ref().unwrap()
    }

    #[test]
    fn a_policy_selects_pods_of_its_namespace_only() {
        let spec = host("{podSelector: {}, policyTypes: [Ingress, Egress]}");
        let selector = spec.pod_selector.unwrap().match_labels.unwrap();
        assert_eq!(selector["vkube.dev/virtual-namespace"], "shop");
        assert_eq!(spec.policy_types.unwrap(), ["Ingress", "Egress"]);
    }

    #[test]
    fn anywhere_means_the_cluster_and_what_the_host_allows() {
        let spec = host("{podSelector: {}, egress: [{}], ingress: [{}]}");
        let rules = spec.egress.unwrap();
        let peers = rules[0].to.as_ref().unwrap();
        assert_eq!(labels(&peers[0])["vkube.dev/virtual-cluster"], "demo");
        assert_eq!(labels(&peers[0]).len(), 1);
        assert_eq!(peers[1].ip_block.as_ref().unwrap().except.as_ref().unwrap(), &["10.0.0.0/8"]);
        let rules = spec.ingress.unwrap();
        assert!(rules[0].from.as_ref().unwrap()[2].namespace_selector.is_some());
    }

    #[test]
    fn an_address_block_shrinks_to_what_the_host_allows() {
        let rule =
            |cidr: &str| format!("{{podSelector: {{}}, egress: [{{to: [{{ipBlock: {{cidr: {cidr}}}}}]}}]}}");
        assert_eq!(host(&rule("10.1.0.0/16")).egress.unwrap(), [], "a rule that lost all its peers goes");
        let rules = host(&rule("203.0.113.0/24")).egress.unwrap();
        let block = rules[0].to.as_ref().unwrap()[0].ip_block.clone().unwrap();
        assert_eq!((block.cidr.as_str(), block.except), ("203.0.113.0/24", None));
    }

    #[test]
    fn without_policies_of_the_host_a_policy_means_what_it_says() {
        let spec = unbounded("{podSelector: {}, egress: [{}, {to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}");
        let rules = spec.egress.unwrap();
        assert_eq!(rules[0].to, None);
        assert_eq!(rules[1].to.as_ref().unwrap()[0].ip_block.as_ref().unwrap().cidr, "10.0.0.0/8");
    }

    #[test]
    fn a_pod_is_isolated_the_ways_that_policies_say() {
        let policy = |spec: &str| {
            Arc::new(serde_saphyr::from_str::<NetworkPolicy>(&format!("{{spec: {spec}}}")).unwrap())
        };
        let policies = [
            policy("{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}"),
            policy("{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress]}"),
        ];
        let app = |name: &str| BTreeMap::from([("app".to_owned(), name.to_owned())]);
        assert_eq!(isolates(&policies, Some(&app("web"))), (true, false));
        assert_eq!(isolates(&policies, Some(&app("db"))), (true, true));
        assert_eq!(isolates(&policies, Some(&app("other"))), (false, false));
    }

    #[test]
    fn namespaces_are_chosen_by_the_labels_their_pods_carry() {
        let spec =
            host("{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}}]}]}");
        let rules = spec.ingress.unwrap();
        let labels = labels(&rules[0].from.as_ref().unwrap()[0]).clone();
        assert_eq!(labels[&Translator::namespace_label_key("team")], "a");
        assert_eq!(labels["vkube.dev/virtual-cluster"], "demo");
    }
}
