use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec};

use super::super::translate::to_host;
use super::super::{needs, tokens};
use super::{parse, surroundings, translator, web};
use crate::labels::Translator;

fn host() -> Pod {
    to_host(&translator(), &surroundings(), &web())
}

fn spec() -> PodSpec {
    host().spec.unwrap()
}

fn variable(name: &str) -> Option<String> {
    let spec = spec();
    let all: Vec<_> =
        spec.containers[0].env.as_ref().unwrap().iter().filter(|var| var.name == name).collect();
    assert!(all.len() <= 1, "{name} is there twice");
    all.first().map(|var| {
        let field = || var.value_from.as_ref().unwrap().field_ref.as_ref().unwrap().field_path.clone();
        var.value.clone().unwrap_or_else(field)
    })
}

#[test]
fn the_host_pod_runs_without_an_identity_of_the_host() {
    let spec = spec();
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert_eq!(spec.service_account, None);
    assert_eq!(spec.automount_service_account_token, Some(false));
}

#[test]
fn owners_and_finalizers_stay_in_the_virtual_cluster() {
    let metadata = host().metadata;
    assert_eq!(metadata.owner_references, None);
    assert_eq!(metadata.finalizers, None);
    let annotations = metadata.annotations.unwrap();
    assert_eq!(annotations["vkube.dev/controller-kind"], "StatefulSet");
    assert_eq!(annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"], "true");
    assert_eq!(annotations["note"], "hello");
}

#[test]
fn host_pods_carry_the_labels_of_their_namespace() {
    let labels = host().metadata.labels.unwrap();
    assert_eq!(labels[&Translator::namespace_label_key("team")], "a");
    assert_eq!(labels["vkube.dev/virtual-cluster"], "demo");
    assert_eq!(labels["app"], "web");
}

#[test]
fn the_api_server_is_the_virtual_one() {
    assert_eq!(variable("KUBERNETES_SERVICE_HOST").unwrap(), "10.96.0.200");
    assert_eq!(variable("KUBERNETES_SERVICE_PORT").unwrap(), "443");
    assert_eq!(variable("KUBERNETES_PORT_443_TCP").unwrap(), "tcp://10.96.0.200:443");
    let aliases = spec().host_aliases.unwrap();
    assert_eq!(aliases.len(), 2, "the tenant's own stay");
    assert!(
        aliases[1].hostnames.as_ref().unwrap().contains(&"kubernetes.default.svc.cluster.local".to_owned())
    );
}

#[test]
fn services_are_linked_by_variables_and_the_pods_own_win() {
    assert_eq!(variable("DB_SERVICE_PORT_SQL").unwrap(), "5432");
    assert_eq!(variable("DB_PORT").unwrap(), "tcp://10.96.0.9:5432");
    assert_eq!(variable("DB_SERVICE_HOST").unwrap(), "mine");
    assert_eq!(variable("WEB_SERVICE_HOST"), None, "headless");
    assert_eq!(spec().enable_service_links, Some(false));
}

#[test]
fn service_variables_come_before_those_that_refer_to_them() {
    let env = spec().containers[0].env.clone().unwrap();
    let at = |name: &str| env.iter().position(|var| var.name == name).unwrap();
    assert!(at("KUBERNETES_SERVICE_HOST") < at("URL"));
}

#[test]
fn without_service_links_only_the_api_server_is_described() {
    let mut pod = web();
    pod.spec.as_mut().unwrap().enable_service_links = Some(false);
    let spec = to_host(&translator(), &surroundings(), &pod).spec.unwrap();
    let env = spec.init_containers.unwrap()[0].env.clone().unwrap();
    assert!(env.iter().all(|var| var.name.starts_with("KUBERNETES_")));
}

#[test]
fn the_downward_api_shows_the_virtual_pod() {
    assert_eq!(variable("NAME").unwrap(), "metadata.annotations['vkube.dev/object-name']");
    assert_eq!(variable("ACCOUNT").unwrap(), "metadata.annotations['vkube.dev/service-account-name']");
    assert_eq!(variable("NODE").unwrap(), "spec.nodeName");
    let renamed = translator().label_key("vkube.dev/virtual-cluster");
    assert_eq!(variable("CLUSTER").unwrap(), format!("metadata.labels['{renamed}']"));

    let annotations = host().metadata.annotations.unwrap();
    assert_eq!(annotations["vkube.dev/service-account-name"], "robot");
    let labels = &annotations["vkube.dev/labels"];
    assert!(labels.contains("app=\"web\"\n"), "{labels}");
    assert!(!annotations.contains_key("vkube.dev/annotations"), "nobody reads them");
}

#[test]
fn references_follow_their_objects() {
    let spec = spec();
    let volumes = spec.volumes.unwrap();
    let volume = |name: &str| volumes.iter().find(|volume| volume.name == name).unwrap();
    assert_eq!(volume("files").config_map.as_ref().unwrap().name, "files-x-shop-x-demo");
    assert_eq!(
        volume("certificate").secret.as_ref().unwrap().secret_name.as_deref(),
        Some("certificate-x-shop-x-demo")
    );
    let claim = |name: &str| volume(name).persistent_volume_claim.as_ref().unwrap().claim_name.clone();
    assert_eq!(claim("data"), "data-web-0-x-shop-x-demo");
    assert_eq!(claim("scratch"), "web-0-scratch-x-shop-x-demo");
    assert_eq!(spec.image_pull_secrets.unwrap()[0].name, "registry-x-shop-x-demo");
    let from = spec.containers[0].env_from.as_ref().unwrap();
    assert_eq!(from[0].secret_ref.as_ref().unwrap().name, "credentials-x-shop-x-demo");
}

#[test]
fn what_a_pod_needs_is_what_it_refers_to() {
    let needed: Vec<String> =
        needs(&web()).iter().map(|task| format!("{:?} {}", task.kind, task.key.name)).collect();
    assert_eq!(
        needed,
        [
            "ConfigMap files",
            "ConfigMap kube-root-ca.crt",
            "ConfigMap settings",
            "Secret certificate",
            "Secret credentials",
            "Secret registry",
        ]
    );
}

#[test]
fn tokens_come_from_the_pods_token_secret() {
    let claims = tokens::claims(&web());
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].seconds, 3600, "an hour at most");

    let spec = spec();
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == "kube-api-access-x").unwrap();
    let sources = volume.projected.as_ref().unwrap().sources.as_ref().unwrap();
    let secret = sources[0].secret.as_ref().unwrap();
    assert_eq!(secret.name, tokens::secret_name(&translator(), "shop", "web-0"));
    let item = &secret.items.as_ref().unwrap()[0];
    assert_eq!((item.key.as_str(), item.path.as_str()), (claims[0].key.as_str(), "token"));
    assert_eq!(sources[1].config_map.as_ref().unwrap().name, "kube-root-ca.crt-x-shop-x-demo");
}

#[test]
fn names_are_resolved_by_the_virtual_cluster() {
    let spec = spec();
    assert_eq!(spec.dns_policy.as_deref(), Some("None"));
    let config = spec.dns_config.unwrap();
    assert_eq!(config.nameservers.unwrap(), ["10.96.0.200"]);
    assert_eq!(
        config.searches.unwrap(),
        ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"]
    );
    let options: Vec<_> = config.options.unwrap().into_iter().map(|option| option.name.unwrap()).collect();
    assert_eq!(options, ["timeout", "ndots"], "the tenant's options stay");
}

#[test]
fn other_dns_policies_are_left_alone() {
    let mut pod = web();
    pod.spec.as_mut().unwrap().dns_policy = Some("None".into());
    let own = pod.spec.as_ref().unwrap().dns_config.clone();
    assert_eq!(to_host(&translator(), &surroundings(), &pod).spec.unwrap().dns_config, own);
}

#[test]
fn pods_on_the_hosts_network_use_its_names() {
    let mut pod = web();
    pod.spec.as_mut().unwrap().host_network = Some(true);
    let spec = to_host(&translator(), &surroundings(), &pod).spec.unwrap();
    assert_eq!(spec.dns_policy.as_deref(), Some("Default"));
}

#[test]
fn the_host_name_is_the_virtual_one() {
    let spec = spec();
    assert_eq!(spec.hostname.as_deref(), Some("web-0"));
    assert_eq!(spec.subdomain, None, "it would show a name of the host's namespace");

    let mut pod = web();
    pod.spec.as_mut().unwrap().set_hostname_as_fqdn = Some(true);
    let spec = to_host(&translator(), &surroundings(), &pod).spec.unwrap();
    assert_eq!(spec.hostname_override.as_deref(), Some("web-0.web.shop.svc.cluster.local"));
}

#[test]
fn priorities_of_tenants_mean_nothing_to_the_host() {
    let spec = spec();
    assert_eq!((spec.priority_class_name, spec.priority, spec.preemption_policy), (None, None, None));
}

fn terms() -> Vec<PodAffinityTerm> {
    let affinity = spec().affinity.unwrap();
    let mut terms =
        affinity.pod_anti_affinity.unwrap().required_during_scheduling_ignored_during_execution.unwrap();
    let weighted =
        affinity.pod_affinity.unwrap().preferred_during_scheduling_ignored_during_execution.unwrap();
    terms.extend(weighted.into_iter().map(|weighted| weighted.pod_affinity_term));
    terms
}

#[test]
fn x_affinity_terms_see_their_virtual_namespaces_only() {
    let terms = terms();
    assert!(terms.iter().all(|term| term.namespaces.is_none() && term.namespace_selector.is_none()));
    let labels = |at: usize| terms[at].label_selector.as_ref().unwrap().match_labels.clone().unwrap();
    let values = |at: usize| {
        let selector = terms[at].label_selector.as_ref().unwrap();
        selector.match_expressions.as_ref().unwrap()[0].values.clone().unwrap()
    };
    assert!((0..4).all(|at| labels(at)["vkube.dev/virtual-cluster"] == "demo"));
    assert_eq!(labels(0)["vkube.dev/virtual-namespace"], "shop", "own namespace");
    assert_eq!(values(1), ["other"], "listed namespaces");
    assert_eq!(labels(2)[&Translator::namespace_label_key("team")], "a", "namespaces by label");
    assert_eq!(values(3), ["blue", "other", "shop"], "listed and labelled ones");
}

#[test]
fn spread_constraints_count_pods_of_the_namespace_only() {
    let constraint = spec().topology_spread_constraints.unwrap().remove(0);
    assert_eq!(constraint.match_label_keys, None);
    let selector = constraint.label_selector.unwrap();
    assert_eq!(selector.match_labels.unwrap()["vkube.dev/virtual-namespace"], "shop");
    let revision = &selector.match_expressions.unwrap()[0];
    assert_eq!(
        (revision.key.as_str(), revision.values.clone().unwrap()),
        ("pod-template-hash", vec!["abc".into()])
    );
}

#[test]
fn a_chosen_node_is_still_scheduled_to() {
    let mut pod = web();
    pod.spec.as_mut().unwrap().node_name = Some("node-7".into());
    let spec = to_host(&translator(), &surroundings(), &pod).spec.unwrap();
    assert_eq!(spec.node_name, None);
    let affinity = spec.affinity.unwrap().node_affinity.unwrap();
    let required = affinity.required_during_scheduling_ignored_during_execution.unwrap();
    let field = &required.node_selector_terms[0].match_fields.as_ref().unwrap()[0];
    assert_eq!((field.key.as_str(), field.values.clone().unwrap()), ("metadata.name", vec!["node-7".into()]));
}

#[test]
fn enforced_placement_is_added() {
    let mut translator = translator();
    translator.config.node_selector = [("pool".to_owned(), "tenants".to_owned())].into();
    translator.config.tolerations =
        vec![serde_json::from_value(serde_json::json!({ "key": "tenant", "operator": "Exists" })).unwrap()];
    translator.config.priority_class = Some("tenant".into());
    let spec = to_host(&translator, &surroundings(), &web()).spec.unwrap();
    assert_eq!(spec.node_selector.unwrap()["pool"], "tenants");
    assert_eq!(spec.tolerations.unwrap().len(), 2);
    assert_eq!(spec.priority_class_name.as_deref(), Some("tenant"));
}

#[test]
fn a_bare_pod_translates() {
    let pod = parse("{metadata: {name: a.b, namespace: shop}, spec: {containers: [{name: c, image: i}]}}");
    let host = to_host(&translator(), &surroundings(), &pod);
    assert_eq!(host.spec.unwrap().hostname.as_deref(), Some("a-b"));
    assert_eq!(host.metadata.name.as_deref(), Some("a.b-x-shop-x-demo"));
}
