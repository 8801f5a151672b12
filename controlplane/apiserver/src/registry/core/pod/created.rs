//! What the server completes in new pods: selectors follow the pod's own labels, and AppArmor profiles that are given
//! as annotations become fields.

use serde_json::{Value, json};

use crate::field::Path;
use crate::registry::access::{at, get, has, list_at, list_mut, set, str_at, strs_at};
use crate::registry::core::pod_spec::{APP_ARMOR, APP_ARMOR_DEPRECATED};

const CONTAINERS: [&str; 3] = ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"];

/// Lets selectors of pods demand the labels that the pod itself has: `matchLabelKeys` and `mismatchLabelKeys`.
pub fn merge_label_keys(pod: &mut Value) {
    let labels = at(pod, "/metadata/labels").clone();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = format!("/spec/affinity/{kind}");
        let required = format!("{path}/requiredDuringSchedulingIgnoredDuringExecution");
        for term in list_mut(pod, &required) {
            merge(term, &labels);
        }
        let preferred = format!("{path}/preferredDuringSchedulingIgnoredDuringExecution");
        for term in list_mut(pod, &preferred).filter_map(|term| term.get_mut("podAffinityTerm")) {
            merge(term, &labels);
        }
    }
    for constraint in list_mut(pod, "/spec/topologySpreadConstraints") {
        merge(constraint, &labels);
    }
}

fn merge(term: &mut Value, labels: &Value) {
    // A term without a selector selects nothing, and goes on to do so.
    if !has(term, "/labelSelector") {
        return;
    }
    let mut expressions = list_at(term, "/labelSelector/matchExpressions").to_vec();
    let before = expressions.len();
    for (keys, operator) in [("/matchLabelKeys", "In"), ("/mismatchLabelKeys", "NotIn")] {
        for (key, value) in strs_at(term, keys).filter_map(|key| Some((key, labels.get(key)?))) {
            expressions.push(json!({"key": key, "operator": operator, "values": [value]}));
        }
    }
    if expressions.len() > before {
        set(term, "/labelSelector/matchExpressions", expressions);
    }
}

/// Copies AppArmor profiles of annotations into the fields of containers that have none.
pub fn sync_app_armor(pod: &mut Value) {
    if str_at(pod, "/spec/os/name") == "windows" {
        return;
    }
    let of_pod = get(pod, "/spec/securityContext/appArmorProfile").cloned();
    let annotations = at(pod, "/metadata/annotations").clone();
    for list in CONTAINERS {
        for container in list_mut(pod, list) {
            let Some(Some(profile)) = profile(container, &annotations) else { continue };
            if Some(&profile) != of_pod.as_ref() {
                set(container, "/securityContext/appArmorProfile", profile);
            }
        }
    }
}

/// Tells of annotations that are not used beside the fields that replace them.
pub fn app_armor_warnings(pod: &Value) -> Vec<String> {
    if str_at(pod, "/spec/os/name") == "windows" {
        return Vec::new();
    }
    let metadata = Path::new("metadata");
    let annotations = metadata.child("annotations");
    let of_pod = get(pod, "/spec/securityContext/appArmorProfile");
    let told = |container: &&Value| {
        profile(container, at(pod, "/metadata/annotations"))
            .is_some_and(|profile| profile.is_none() || profile.as_ref() != of_pod)
    };
    CONTAINERS
        .iter()
        .flat_map(|list| list_at(pod, list))
        .filter(told)
        .map(|container| {
            let key = format!("{APP_ARMOR}{}", str_at(container, "/name"));
            format!("{}: {APP_ARMOR_DEPRECATED}", annotations.key(&key))
        })
        .collect()
}

/// The profile of a container's annotation, if it is that which counts; inside, `None` if there is no such profile.
fn profile(container: &Value, annotations: &Value) -> Option<Option<Value>> {
    if has(container, "/securityContext/appArmorProfile") {
        return None;
    }
    let key = format!("{APP_ARMOR}{}", str_at(container, "/name"));
    let annotation = annotations.get(&key)?.as_str()?;
    Some(match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        other => {
            let file = other.strip_prefix("localhost/");
            let file = file.filter(|file| !file.is_empty() && file.trim() == *file);
            file.map(|file| json!({"type": "Localhost", "localhostProfile": file}))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_follow_the_labels_of_the_pod() {
        let selector = json!({"matchLabels": {"app": "a"}});
        let constraint = json!({"labelSelector": selector, "matchLabelKeys": ["hash", "absent"]});
        let term = json!({"labelSelector": selector, "mismatchLabelKeys": ["tenant"]});
        let mut pod = json!({
            "metadata": {"labels": {"hash": "1", "tenant": "t"}},
            "spec": {
                "topologySpreadConstraints": [constraint, {"matchLabelKeys": ["hash"]}],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
            },
        });
        merge_label_keys(&mut pod);
        assert_eq!(
            pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"],
            json!([{"key": "hash", "operator": "In", "values": ["1"]}])
        );
        assert!(pod["spec"]["topologySpreadConstraints"][1].get("labelSelector").is_none());
        let terms =
            &pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(
            terms[0]["labelSelector"]["matchExpressions"],
            json!([{"key": "tenant", "operator": "NotIn", "values": ["t"]}])
        );
    }

    #[test]
    fn profiles_of_annotations_become_fields() {
        let mut pod = json!({
            "metadata": {"annotations": {
                "container.apparmor.security.beta.kubernetes.io/a": "localhost/x",
                "container.apparmor.security.beta.kubernetes.io/b": "unconfined",
            }},
            "spec": {
                "securityContext": {"appArmorProfile": {"type": "Unconfined"}},
                "containers": [{"name": "a"}, {"name": "b"}],
            },
        });
        assert_eq!(
            app_armor_warnings(&pod),
            [
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
            ]
        );
        sync_app_armor(&mut pod);
        assert_eq!(
            pod["spec"]["containers"][0]["securityContext"]["appArmorProfile"],
            json!({"type": "Localhost", "localhostProfile": "x"})
        );
        assert!(pod["spec"]["containers"][1].get("securityContext").is_none());
    }
}
