//! The committed CRD manifests are those that the types generate. `VKUBE_UPDATE=1 cargo test -p vkube-crds` rewrites them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use vkube_crds::{cluster_api_crds, policy_crd, virtual_cluster_crd};

/// Client-side apply stores the whole object in an annotation of limited size.
const SIZE_LIMIT: usize = 120_000;

#[test]
fn the_virtual_cluster_crd_is_up_to_date() {
    check("virtualclusters.yaml", &virtual_cluster_crd());
}

#[test]
fn the_policy_crd_is_up_to_date() {
    check("virtualclusterpolicies.yaml", &policy_crd());
}

fn all() -> Vec<CustomResourceDefinition> {
    [vec![virtual_cluster_crd(), policy_crd()], cluster_api_crds()].concat()
}

/// Cluster API finds the version of a kind that fulfils its contract by these labels, and the CRD by its name.
#[test]
fn the_contracts_crds_carry_its_labels() {
    for crd in cluster_api_crds() {
        let labels = crd.metadata.labels.unwrap();
        for contract in ["v1beta1", "v1beta2"] {
            let versions = &labels[&format!("cluster.x-k8s.io/{contract}")];
            assert!(crd.spec.versions.iter().any(|version| version.name == *versions && version.served));
        }
        let plural = format!("{}s", crd.spec.names.kind.to_lowercase());
        assert_eq!(crd.metadata.name, Some(format!("{plural}.{}", crd.spec.group)));
    }
}

#[test]
fn crds_are_small_enough_for_client_side_apply() {
    for crd in all() {
        let size = serde_json::to_string(&crd).unwrap().len();
        assert!(size < SIZE_LIMIT, "{:?} has {size} bytes", crd.metadata.name);
    }
}

#[test]
fn every_list_declares_how_it_merges_and_is_bounded() {
    for crd in all() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let mut found = Vec::new();
        unbounded(&schema["openAPIV3Schema"], "", &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }
}

fn unbounded(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    if schema["type"] == "array"
        && (schema["x-kubernetes-list-type"].is_null() || schema["maxItems"].is_null())
    {
        found.push(path.to_owned());
    }
    if schema["additionalProperties"].is_object() && schema["maxProperties"].is_null() {
        found.push(path.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        unbounded(property, &format!("{path}.{name}"), found);
    }
    if schema["items"].is_object() {
        unbounded(&schema["items"], &format!("{path}[]"), found);
    }
}

fn check(file: &str, crd: &CustomResourceDefinition) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/crd").join(file);
    let generated = serde_saphyr::to_string(crd).unwrap();
    if std::env::var_os("VKUBE_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "config/crd/{file} is stale: run `VKUBE_UPDATE=1 cargo test -p vkube-crds`"
    );
}
