//! What a cluster asks of its control plane's pod beyond the fields that the API has for it.

use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::is_ours;
use crate::names::CONTROL_PLANE;

const PATH: &str = "controlPlane.podTemplate";
/// Volumes that the control plane mounts.
const VOLUMES: [&str; 3] = ["data", "files", "pki"];

/// Reads the template. A field that a pod does not have is an error, not silence; so is one that the operator answers for.
pub fn validate(asked: Option<&Value>, wrong: &mut Vec<String>) -> Option<PodTemplateSpec> {
    let asked = asked?;
    let template: PodTemplateSpec = match serde_json::from_value(asked.clone()) {
        Ok(template) => template,
        Err(error) => {
            wrong.push(format!("{PATH}: {error}"));
            return None;
        }
    };
    unknown(asked, &serde_json::to_value(&template).unwrap_or_default(), PATH, wrong);
    metadata(template.metadata.as_ref(), wrong);
    if let Some(spec) = &template.spec {
        pod(spec, wrong);
    }
    Some(template)
}

/// Names what was asked and is not in what was understood.
fn unknown(asked: &Value, understood: &Value, path: &str, wrong: &mut Vec<String>) {
    match (asked, understood) {
        (Value::Object(asked), Value::Object(understood)) => {
            for (key, value) in asked {
                let path = format!("{path}.{key}");
                match understood.get(key) {
                    Some(other) => unknown(value, other, &path, wrong),
                    None if value.is_null() => {}
                    None => wrong.push(format!("{path}: no such field")),
                }
            }
        }
        (Value::Array(asked), Value::Array(understood)) => {
            for (index, (value, other)) in asked.iter().zip(understood).enumerate() {
                unknown(value, other, &format!("{path}[{index}]"), wrong);
            }
        }
        _ => {}
    }
}

fn metadata(metadata: Option<&ObjectMeta>, wrong: &mut Vec<String>) {
    let Some(metadata) = metadata else { return };
    let rest = ObjectMeta { labels: None, annotations: None, ..metadata.clone() };
    if rest != ObjectMeta::default() {
        wrong.push(format!("{PATH}.metadata: only labels and annotations can be chosen"));
    }
    let keys = metadata.labels.iter().chain(&metadata.annotations).flat_map(|map| map.keys());
    for key in keys.filter(|key| is_ours(key)) {
        wrong.push(format!("{PATH}.metadata: {key} belongs to vkube"));
    }
}

fn pod(spec: &PodSpec, wrong: &mut Vec<String>) {
    if spec.service_account_name.is_some() || spec.service_account.is_some() {
        wrong.push(format!("{PATH}.spec.serviceAccountName: the control plane has one of its own"));
    }
    let own = spec.containers.iter().find(|container| container.name == CONTROL_PLANE);
    for (field, present) in own.map(owned).into_iter().flatten() {
        if present {
            wrong.push(format!("{PATH}.spec.containers: {field} of {CONTROL_PLANE} is vkube's to choose"));
        }
    }
    if containers(spec).any(|container| container.name.is_empty()) {
        wrong.push(format!("{PATH}.spec: a container has no name"));
    }
    for volume in spec.volumes.iter().flatten().filter(|volume| VOLUMES.contains(&volume.name.as_str())) {
        wrong.push(format!("{PATH}.spec.volumes: {} is the control plane's", volume.name));
    }
}

/// Fields of the control plane's own container that follow from the rest of the spec.
fn owned(container: &Container) -> [(&'static str, bool); 3] {
    [
        ("image", container.image.is_some()),
        ("command", container.command.is_some()),
        ("args", container.args.is_some()),
    ]
}

/// Containers of every kind but ephemeral ones, which no template has.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(asked: Value) -> Vec<String> {
        let mut wrong = Vec::new();
        validate(Some(&asked), &mut wrong);
        wrong
    }

    #[test]
    fn a_template_may_add_to_the_pod() {
        let asked = json!({
            "metadata": {"labels": {"team": "a"}, "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}},
            "spec": {
                "runtimeClassName": "gvisor",
                "containers": [
                    {"name": "control-plane", "env": [{"name": "RUST_LOG", "value": "debug"}]},
                    {"name": "sidecar", "image": "example.com/sidecar:1"},
                ],
            },
        });
        assert_eq!(wrong(asked), Vec::<String>::new());
    }

    #[test]
    fn what_a_pod_does_not_have_is_named_with_its_path() {
        let asked = json!({"spec": {"runtimeClas": "x", "containers": [{"name": "a", "imagee": "b"}]}});
        assert_eq!(
            wrong(asked),
            [
                "controlPlane.podTemplate.spec.containers[0].imagee: no such field",
                "controlPlane.podTemplate.spec.runtimeClas: no such field",
            ]
        );
        assert_eq!(wrong(json!({"spec": {"containers": 1}})).len(), 1);
    }

    #[test]
    fn what_is_vkubes_stays_vkubes() {
        for asked in [
            json!({"metadata": {"name": "x"}}),
            json!({"metadata": {"labels": {"vkube.dev/component": "x"}}}),
            json!({"spec": {"serviceAccountName": "default"}}),
            json!({"spec": {"containers": [{"name": "control-plane", "image": "x"}]}}),
            json!({"spec": {"containers": [{"name": "control-plane", "args": []}]}}),
            json!({"spec": {"containers": [{"image": "x"}]}}),
            json!({"spec": {"volumes": [{"name": "pki", "emptyDir": {}}]}}),
        ] {
            assert_eq!(wrong(asked.clone()).len(), 1, "{asked}");
        }
    }
}
