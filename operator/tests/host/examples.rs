//! Every file in `examples/` works as it is.

use std::path::Path;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};
use vkube_crds::VirtualCluster;

use crate::authority::mk_authority;
use crate::cluster_api;
use crate::exposure::install_gateway;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_example_comes_to_its_state() {
    let mut world = cluster_api::world().await;
    world.stop_operator().await;
    world.empty_inside().await;
    world.start_operator();
    let gateway = install_gateway(&world).await;
    prepare(&world).await;
    let mut clusters = Vec::new();
    let mut later = Vec::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for document in text.split("---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            if object.data.pointer("/spec/restoreFrom").is_some() {
                later.push(object);
                continue;
            }
            if object.types.as_ref().unwrap().kind == "VirtualCluster" {
                clusters.push((object.namespace().unwrap(), object.name_any()));
            }
            world.apply(object).await;
        }
    }
    cluster_api::adopt(&world, "default", "capi-demo", "capi-demo").await;
    clusters.push(("default".into(), "capi-demo".into()));
    assert!(clusters.len() >= 5 && !later.is_empty(), "{clusters:?}");
    settled(&world, clusters).await;
    let restored = later.iter().map(|object| (object.namespace().unwrap(), object.name_any())).collect();
    for object in later {
        world.apply(object).await;
    }
    settled(&world, restored).await;
    gateway.abort();
    world.stop().await;
}

/// What examples say has to be there already.
async fn prepare(world: &World) {
    let (certificate, key) = mk_authority("corporate", true);
    let secret = json!({"metadata": {"name": "corporate-authority"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key}});
    let secret: Secret = serde_json::from_value(secret).unwrap();
    world.within::<Secret>("default").create(&PostParams::default(), &secret).await.unwrap();
    let take = http::Request::post("/vkube/snapshots/before-upgrade").body(Vec::new()).unwrap();
    world.inside().request_text(take).await.unwrap();
}

async fn settled(world: &World, clusters: Vec<(String, String)>) {
    for (namespace, name) in clusters {
        let wanted: &[&str] = match name.as_str() {
            "nightly" => &["Sleeping"],
            // It may be evening.
            "office-hours" => &["Running", "Sleeping"],
            // Nobody says so here.
            "furnished" => &["ReadinessGatesNotReady"],
            _ => &["Running"],
        };
        let waits = name == "furnished";
        let settled = move |cluster: Option<&VirtualCluster>| {
            let conditions =
                cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
            conditions.is_some_and(|all| {
                all.iter().any(|condition| {
                    condition.type_ == "Ready" && wanted.contains(&condition.reason.as_str())
                }) && all.iter().all(|condition| waits || condition.type_ != "Reconciling")
            })
        };
        world.until(world.within::<VirtualCluster>(&namespace), &name, wanted[0], settled).await;
    }
}
