//! Stored objects that do not fit their type, as after a change of the CRD.

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use serde_json::json;
use vkube_crds::VirtualCluster;

use crate::world::{PATIENCE, TENANTS, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_fit_its_type_stops_nobody_else() {
    let mut world = World::start().await;
    let loose = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definitions = world.all::<CustomResourceDefinition>();
    let name = "virtualclusters.vkube.dev";
    let mut version = definitions.get(name).await.unwrap().spec.versions.remove(0);
    version.schema = Some(serde_json::from_value(loose).unwrap());
    version.selectable_fields = None;
    world.merge(&definitions, name, json!({"spec": {"versions": [version]}})).await;
    let resource = ApiResource::erase::<VirtualCluster>(&());
    let any: Api<DynamicObject> = Api::namespaced_with(world.admin.clone(), TENANTS, &resource);
    let odd = DynamicObject::new("odd", &resource).data(json!({"spec": {"replicas": "many"}}));
    // The schema takes effect in its own time.
    let made = async {
        while any.create(&PostParams::default(), &odd).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, made).await.unwrap();
    world.kill_operator().await;
    world.start_operator();

    world.create("demo", json!({})).await;
    world.ready("demo").await;
    let is_about_it = |event: &Event| event.reason.as_deref() == Some("Malformed");
    let events = world.within::<Event>(TENANTS);
    let told = async {
        while !events.list(&kube::api::ListParams::default()).await.unwrap().items.iter().any(is_about_it) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    world.stop().await;
}
