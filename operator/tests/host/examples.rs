//! Every file in `examples/` works as it is.

use std::path::Path;

use kube::api::{DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt};
use serde_json::Value;
use vkube_crds::VirtualCluster;

use crate::exposure::install_gateway;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_example_comes_to_its_state() {
    let world = World::start().await;
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
            apply(&world, object).await;
        }
    }
    assert!(clusters.len() >= 5, "{clusters:?}");
    for (namespace, name) in clusters {
        let wanted = if name == "nightly" { "Sleeping" } else { "Running" };
        let settled = move |cluster: Option<&VirtualCluster>| {
            let conditions =
                cluster.and_then(|cluster| cluster.status.as_ref()).map(|status| &status.conditions);
            conditions.is_some_and(|all| {
                all.iter().any(|condition| condition.type_ == "Ready" && condition.reason == wanted)
                    && all.iter().all(|condition| condition.type_ != "Reconciling")
            })
        };
        world.until(world.within::<VirtualCluster>(&namespace), &name, wanted, settled).await;
    }
    gateway.abort();
    world.stop().await;
}

async fn apply(world: &World, object: DynamicObject) {
    let kind = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(world.admin.clone(), &namespace, &resource),
        None => Api::all_with(world.admin.clone(), &resource),
    };
    let params = PatchParams::apply("examples").validation_strict();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.unwrap();
}
