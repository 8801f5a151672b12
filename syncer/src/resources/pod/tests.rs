mod conditions;
mod decisions;
mod fields;
mod translation;
mod updates;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::translate::{ApiEndpoint, Surroundings};
use crate::config::Config;
use crate::labels::Translator;

fn translator() -> Translator {
    Translator::new(Config::new("demo", "tenant-demo"))
}

fn web() -> Pod {
    parse(include_str!("fixtures/web.yaml"))
}

fn parse(yaml: &str) -> Pod {
    serde_saphyr::from_str(yaml).unwrap()
}

fn surroundings() -> Surroundings {
    let service = "{metadata: {name: db, namespace: shop}, \
                   spec: {clusterIP: 10.96.0.9, ports: [{name: sql, port: 5432, protocol: TCP}]}}";
    let headless = "{metadata: {name: web, namespace: shop}, spec: {clusterIP: None, ports: [{port: 80}]}}";
    let team = |value: &str| BTreeMap::from([("team".to_owned(), value.to_owned())]);
    Surroundings {
        api: ApiEndpoint { address: "10.96.0.200".into(), addresses: vec!["10.96.0.200".into()] },
        dns: "10.96.0.200".parse().unwrap(),
        services: vec![
            Arc::new(serde_saphyr::from_str(service).unwrap()),
            Arc::new(serde_saphyr::from_str(headless).unwrap()),
        ],
        namespaces: [
            ("shop".to_owned(), team("a")),
            ("blue".to_owned(), team("a")),
            ("red".to_owned(), team("b")),
        ]
        .into(),
        policies: Vec::new(),
    }
}
