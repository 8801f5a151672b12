use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::config::{Config, MappedNamespaces};
use crate::labels::{ObjectKey, Translator};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

fn names() -> Names {
    Names::new("demo")
}

#[test]
fn short_names_stay_readable() {
    assert_eq!(names().host("shop", "web-7d9f-abc12"), "web-7d9f-abc12-x-shop-x-demo");
    assert_eq!(names().host("default", "kube-root-ca.crt"), "kube-root-ca.crt-x-default-x-demo");
}

#[test]
fn ambiguous_joins_are_hashed() {
    let one = names().host("b-x-c", "a");
    let other = names().host("c", "a-x-b");
    assert_ne!(one, other);
    assert_eq!(separators(&one), 1);
    assert_eq!(separators(&other), 1);
}

#[test]
fn overlapping_separators_are_hashed() {
    assert_ne!(names().host("b", "a-x"), names().host("x-b", "a"));
}

#[test]
fn long_names_keep_a_readable_prefix() {
    let host = names().host("production", &"payment-gateway".repeat(5));
    assert!(host.starts_with("payment-gatewaypayment-gateway"), "{host}");
    assert_eq!(host.len(), LIMIT);
}

#[test]
fn a_name_that_may_be_taken_in_a_namespace_of_its_own_is_hashed() {
    let map = NamespaceMap::parse("demo", &[("shop".to_owned(), "acme".to_owned())].into()).unwrap();
    let names = names().with_namespaces(map);
    assert_eq!(names.host("shop", "web-0"), "web-0");
    assert_eq!(names.host("other", "web-0"), "web-0-x-other-x-demo");
    for name in ["default", "kube-root-ca.crt", "vc-deny", "vkube-operator", "a-x-b"] {
        assert_eq!(separators(&names.host("shop", name)), 1, "{name}");
    }
}

#[test]
fn plain_names_read_back() {
    let names = names();
    assert_eq!(names.parse("web-0-x-default-x-demo"), Some(("default", "web-0")));
    assert_eq!(names.parse("web-0-x-default-x-other"), None);
    assert_eq!(names.parse(&names.derived("default", "web-0", "token")), None);
}

#[test]
fn keys_keep_their_last_part() {
    assert!(key("vkube.dev/tier").starts_with("tier-"));
    assert_ne!(key("vkube.dev/tier"), key("x.vkube.dev/tier"));
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    })
}

/// Few letters, so that separators, overlaps and equal joins are common.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ax](-?[ax]){0,6}",
        "[ax]{1,2}(-x-[ax]){0,3}",
        "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
        "[ax](-?[ax]){20,31}",
    ]
}

fn subdomain() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 1..4).prop_map(|labels| labels.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn no_two_objects_share_a_host_name(
        objects in prop::collection::hash_set((label(), subdomain()), 2..40),
        cluster in label(),
    ) {
        let names = Names::new(cluster);
        let mut seen = HashMap::new();
        for object in &objects {
            for host in [
                names.host(&object.0, &object.1),
                names.derived(&object.0, &object.1, "token"),
            ] {
                prop_assert!(host.len() <= LIMIT);
                prop_assert!(is_subdomain(&host), "{}", host);
                let other = seen.insert(host.clone(), object);
                prop_assert!(other.is_none(), "{} stands for {:?} and {:?}", host, object, other);
            }
        }
    }

    #[test]
    fn no_two_cluster_scoped_objects_of_any_cluster_share_a_host_name(
        objects in prop::collection::hash_set((label(), label(), subdomain()), 2..40),
    ) {
        let mut seen = HashMap::new();
        for (cluster, host_namespace, name) in &objects {
            let host = Names::new(cluster.clone()).global(host_namespace, name);
            prop_assert!(host.len() <= LIMIT);
            prop_assert!(is_subdomain(&host), "{}", host);
            let other = seen.insert(host.clone(), (cluster, host_namespace, name));
            prop_assert!(other.is_none(), "{} stands for {:?} too", host, other);
        }
    }

    #[test]
    fn no_two_objects_of_mapped_and_other_namespaces_share_a_place_and_each_place_leads_back(
        objects in prop::collection::hash_set((label(), subdomain()), 2..40),
    ) {
        let pairs = [("a", "own-a"), ("a-*", "own-*-a"), ("x*", "${name}-x*")];
        let pairs = pairs.map(|(from, to)| (from.to_owned(), to.to_owned())).into();
        let map = NamespaceMap::parse("demo", &pairs).unwrap();
        let mut config = Config::new("demo", "tenant");
        config.namespaces = Some(MappedNamespaces { map, only: false });
        let translator = Translator::new(config);
        let mut seen = HashMap::new();
        for (namespace, name) in &objects {
            let key = ObjectKey::new(namespace, name);
            let virtual_side =
                ObjectMeta { name: Some(name.clone()), namespace: Some(namespace.clone()), ..ObjectMeta::default() };
            let host = translator.metadata("Pod", &virtual_side);
            prop_assert_eq!(translator.origin("Pod", &host), Some(key.clone()));
            let place = host.namespace.clone().unwrap();
            if let Some(mapped) = translator.mapped(namespace) {
                prop_assert_eq!(translator.virtual_namespace(&mapped), Some(namespace.clone()));
                prop_assert_eq!(&mapped, &place);
            }
            let helper = translator.names.derived(namespace, name, "token");
            for host in [host.name.unwrap(), helper] {
                prop_assert!(is_subdomain(&host), "{}", host);
                let other = seen.insert((place.clone(), host.clone()), key.clone());
                prop_assert!(other.is_none(), "{} in {} stands for {} and {:?}", host, place, key, other);
            }
        }
    }

    #[test]
    fn a_plain_name_reads_back_to_its_object(namespace in label(), name in subdomain(), cluster in label()) {
        let names = Names::new(cluster);
        let host = names.host(&namespace, &name);
        if let Some(parsed) = names.parse(&host) {
            prop_assert_eq!(parsed, (namespace.as_str(), name.as_str()));
        }
    }

    #[test]
    fn keys_are_valid_label_names(text in "([a-z.]{1,20}/)?[A-Za-z0-9][-A-Za-z0-9_.]{0,61}") {
        let key = key(&text);
        prop_assert!(key.len() <= LIMIT);
        prop_assert!(key.starts_with(|c: char| c.is_ascii_alphanumeric()));
    }
}
