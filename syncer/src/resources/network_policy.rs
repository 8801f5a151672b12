//! NetworkPolicies, limited to the virtual cluster they come from.
//!
//! Policies of one host namespace add up, so a tenant's policy could open what the host's own policies close.
//! Therefore a rule never reaches beyond the tenant's pods: "from anywhere" and "to anywhere" become "all pods of
//! this virtual cluster", and address blocks are left to the host's policies.

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::mirror::{mirror, mirrored};
use super::pod::by_namespace_labels;
use crate::context::{Context, Kind};
use crate::error::Result;
use crate::labels::{ObjectKey, Translator, VIRTUAL_CLUSTER};
use crate::queue::Outcome;

/// Brings one NetworkPolicy in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let object = cx.virtual_object::<NetworkPolicy>(key).await?;
    let desired = mirrored(cx, Kind::NetworkPolicy, object, to_host)?;
    mirror(cx, Kind::NetworkPolicy, key, &cx.host_side.network_policies, desired).await
}

fn to_host(translator: &Translator, policy: NetworkPolicy) -> NetworkPolicy {
    let metadata = translator.metadata("NetworkPolicy", &policy.metadata);
    let namespace = policy.metadata.namespace.unwrap_or_default();
    let mut spec = policy.spec.unwrap_or_default();

    let chosen = spec.pod_selector.take().unwrap_or_default();
    spec.pod_selector = Some(translator.selector_in(&namespace, &chosen));
    if let Some(rules) = &mut spec.ingress {
        rules.retain_mut(|rule| narrow(translator, &namespace, &mut rule.from));
    }
    if let Some(rules) = &mut spec.egress {
        rules.retain_mut(|rule| narrow(translator, &namespace, &mut rule.to));
    }
    NetworkPolicy { metadata, spec: Some(spec) }
}

/// Limits a rule's peers; says whether anything is left. A rule that lost all its peers must go: without peers
/// it would mean everybody.
fn narrow(translator: &Translator, namespace: &str, peers: &mut Option<Vec<NetworkPolicyPeer>>) -> bool {
    let own = peers.take().filter(|peers| !peers.is_empty());
    let narrowed: Vec<NetworkPolicyPeer> = match own {
        None => vec![cluster_pods(translator, LabelSelector::default())],
        Some(own) => own.iter().filter_map(|peer| translate(translator, namespace, peer)).collect(),
    };
    let is_left = !narrowed.is_empty();
    *peers = Some(narrowed);
    is_left
}

fn translate(
    translator: &Translator,
    namespace: &str,
    peer: &NetworkPolicyPeer,
) -> Option<NetworkPolicyPeer> {
    let pods = peer.pod_selector.clone().unwrap_or_default();
    match &peer.namespace_selector {
        Some(namespaces) => {
            let mut pods = translator.selector(&pods);
            by_namespace_labels(&mut pods, namespaces);
            Some(cluster_pods(translator, pods))
        }
        None if peer.pod_selector.is_some() => Some(NetworkPolicyPeer {
            pod_selector: Some(translator.selector_in(namespace, &pods)),
            ..NetworkPolicyPeer::default()
        }),
        None => None,
    }
}

fn cluster_pods(translator: &Translator, mut pods: LabelSelector) -> NetworkPolicyPeer {
    let cluster = translator.config.cluster.clone();
    pods.match_labels.get_or_insert_default().insert(VIRTUAL_CLUSTER.into(), cluster);
    NetworkPolicyPeer { pod_selector: Some(pods), ..NetworkPolicyPeer::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn host(spec: &str) -> k8s_openapi::api::networking::v1::NetworkPolicySpec {
        let policy = format!("{{metadata: {{name: p, namespace: shop}}, spec: {spec}}}");
        let policy: NetworkPolicy = serde_saphyr::from_str(&policy).unwrap();
        to_host(&Translator::new(Config::new("demo", "tenant")), policy).spec.unwrap()
    }

    fn labels(peer: &NetworkPolicyPeer) -> &std::collections::BTreeMap<String, String> {
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
    fn anywhere_means_anywhere_in_the_cluster() {
        let spec = host("{podSelector: {}, egress: [{}]}");
        let rules = spec.egress.unwrap();
        let peers = rules[0].to.as_ref().unwrap();
        assert_eq!(labels(&peers[0])["vkube.dev/virtual-cluster"], "demo");
        assert_eq!(labels(&peers[0]).len(), 1);
    }

    #[test]
    fn a_rule_of_address_blocks_opens_nothing() {
        let spec = host("{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}");
        assert_eq!(spec.egress.unwrap(), []);
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
