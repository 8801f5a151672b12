//! `PodTopologyLabels`: pods know the zone and region of their node (KEP-4742). What is bound to a node, or made for
//! one, takes its labels over, unless it has some of its own.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::{
    registry::access::{at, make_map, str_at},
    status::ApiError,
};

const LABELS: &[&str] = &["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

/// The plugin.
pub struct PodTopologyLabels;

impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if attributes.operation != Operation::Create || !attributes.definition.is("", "pods") {
                return Ok(());
            }
            let node = match attributes.subresource {
                "" => str_at(object, "/spec/nodeName"),
                "binding" if str_at(object, "/target/kind") == "Node" => str_at(object, "/target/name"),
                _ => "",
            };
            if node.is_empty() {
                return Ok(());
            }
            if let Some(node) = attributes.server.find("", "nodes", "", node).await? {
                take_over(object, at(&node, "/metadata/labels"));
            }
            Ok(())
        })
    }
}

fn take_over(object: &mut Value, labels: &Value) {
    for (key, value) in LABELS.iter().filter_map(|key| Some((*key, labels.get(key)?))) {
        make_map(object, "/metadata/labels").entry(key).or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::custom::tests::Fixture;

    #[tokio::test]
    async fn a_pod_that_is_bound_knows_the_zone_of_its_node() {
        let server = Fixture::start().await;
        let pods = "/api/v1/namespaces/default/pods";
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        server.create(accounts, &json!({"metadata": {"name": "default"}})).await;
        let labels = json!({"topology.kubernetes.io/zone": "z"});
        server.create("/api/v1/nodes", &json!({"metadata": {"name": "n", "labels": labels}})).await;
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        server.create(pods, &json!({"metadata": {"name": "p"}, "spec": spec})).await;
        let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
        let (status, body) = server.call(Method::POST, &format!("{pods}/p/binding"), &binding).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let (_, pod) = server.call(Method::GET, &format!("{pods}/p"), &Value::Null).await;
        assert_eq!(pod["metadata"]["labels"], labels);
        server.0.stop().await;
    }

    #[test]
    fn the_zone_of_the_node_is_taken_over_but_not_a_label_that_is_there() {
        let labels = json!({
            "kubernetes.io/hostname": "n",
            "topology.kubernetes.io/region": "r",
            "topology.kubernetes.io/zone": "z",
        });
        let mut pod = json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "own"}}});
        take_over(&mut pod, &labels);
        assert_eq!(
            pod["metadata"]["labels"],
            json!({"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "own"})
        );
    }
}
