//! Every file in `examples/` works as it is.

use std::path::Path;

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;
use vkube_crds::VirtualCluster;

use crate::cluster_api;
use crate::exposure::install_gateway;

#[tokio::test(flavor = "multi_thread")]
async fn every_example_comes_to_its_state() {
    let world = cluster_api::world().await;
    let gateway = install_gateway(&world).await;
    let mut clusters = Vec::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for document in text.split("---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            if object.types.as_ref().unwrap().kind == "VirtualCluster" {
                clusters.push((object.namespace().unwrap(), object.name_any()));
            }
            world.apply(object).await;
        }
    }
    cluster_api::adopt(&world, "default", "capi-demo", "capi-demo").await;
    clusters.push(("default".into(), "capi-demo".into()));
    assert!(clusters.len() >= 5, "{clusters:?}");
    for (namespace, name) in clusters {
        let wanted: &[&str] = match name.as_str() {
            "nightly" => &["Sleeping"],
            // It may be evening.
            "office-hours" => &["Running", "Sleeping"],
            _ => &["Running"],
        };
        let settled = move |cluster: Option<&VirtualCluster>| {
            let conditions =
                cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
            conditions.is_some_and(|all| {
                all.iter().any(|condition| {
                    condition.type_ == "Ready" && wanted.contains(&condition.reason.as_str())
                }) && all.iter().all(|condition| condition.type_ != "Reconciling")
            })
        };
        world.until(world.within::<VirtualCluster>(&namespace), &name, wanted[0], settled).await;
    }
    gateway.abort();
    world.stop().await;
}
