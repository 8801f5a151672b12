//! Fields behind feature gates of the real server that are closed by default in Kubernetes 1.36: they are known to the
//! schema, but what a client writes there is not kept.

use serde_json::Value;

/// Where the specs of pods are in the kinds that have them: group, resource and place.
const POD_SPECS: &[(&str, &str, &str)] = &[
    ("", "pods", "spec"),
    ("", "podtemplates", "template/spec"),
    ("", "replicationcontrollers", "spec/template/spec"),
    ("apps", "daemonsets", "spec/template/spec"),
    ("apps", "deployments", "spec/template/spec"),
    ("apps", "replicasets", "spec/template/spec"),
    ("apps", "statefulsets", "spec/template/spec"),
    ("batch", "cronjobs", "spec/jobTemplate/spec/template/spec"),
    ("batch", "jobs", "spec/template/spec"),
];

/// Below the spec of a pod, each with its gates.
const OF_POD_SPECS: &[&[&str]] = &[
    // GenericWorkload
    &["schedulingGroup"],
    // ClusterTrustBundleProjection
    &["volumes/*/projected/sources/*/clusterTrustBundle"],
    // PodCertificateRequest
    &["volumes/*/projected/sources/*/podCertificate"],
    // ContainerStopSignals
    &[
        "initContainers/*/lifecycle/stopSignal",
        "containers/*/lifecycle/stopSignal",
        "ephemeralContainers/*/lifecycle/stopSignal",
    ],
];

/// Of single kinds: group, resource, and the fields of one gate.
const OF_KINDS: &[(&str, &str, &[&str])] = &[
    // ContainerStopSignals
    (
        "",
        "pods",
        &[
            "status/initContainerStatuses/*/stopSignal",
            "status/containerStatuses/*/stopSignal",
            "status/ephemeralContainerStatuses/*/stopSignal",
        ],
    ),
    // ImageVolumeWithDigest
    (
        "",
        "pods",
        &[
            "status/initContainerStatuses/*/volumeMounts/*/volumeStatus",
            "status/containerStatuses/*/volumeMounts/*/volumeStatus",
            "status/ephemeralContainerStatuses/*/volumeMounts/*/volumeStatus",
        ],
    ),
    // DRANodeAllocatableResources
    ("", "pods", &["status/nodeAllocatableResourceClaimStatuses"]),
    ("resource.k8s.io", "resourceslices", &["spec/devices/*/nodeAllocatableResourceMappings"]),
    // DynamicKubeletConfig, which is no more
    ("", "nodes", &["spec/configSource"]),
    ("", "nodes", &["status/config"]),
    // MaxUnavailableStatefulSet
    ("apps", "statefulsets", &["spec/updateStrategy/rollingUpdate/maxUnavailable"]),
    // VolumeLimitScaling
    ("storage.k8s.io", "csidrivers", &["spec/preventPodSchedulingIfMissing"]),
];

/// Drops what is behind closed gates, unless the object already had it: of the object's kind by its group and
/// resource, as it is written over `old`.
pub fn close(group: &str, resource: &str, object: &mut Value, old: Option<&Value>) {
    let of_kind = |of: &&(&str, &str, &[&str])| (of.0, of.1) == (group, resource);
    for (_, _, fields) in OF_KINDS.iter().filter(of_kind) {
        close_one(object, old, "", fields);
    }
    if let Some((_, _, place)) = POD_SPECS.iter().find(|of| (of.0, of.1) == (group, resource)) {
        for fields in OF_POD_SPECS {
            close_one(object, old, place, fields);
        }
    }
}

fn close_one(object: &mut Value, old: Option<&Value>, place: &str, fields: &[&str]) {
    let paths: Vec<Vec<&str>> = fields
        .iter()
        .map(|field| place.split('/').filter(|step| !step.is_empty()).chain(field.split('/')).collect())
        .collect();
    if paths.iter().any(|path| old.is_some_and(|old| has(old, path))) {
        return;
    }
    for path in &paths {
        drop_at(object, path);
    }
}

/// Whether there is a field of this path, where `*` stands for all entries of a list.
fn has(value: &Value, path: &[&str]) -> bool {
    match path {
        [] => true,
        ["*", rest @ ..] => value.as_array().into_iter().flatten().any(|entry| has(entry, rest)),
        [step, rest @ ..] => value.get(step).is_some_and(|field| has(field, rest)),
    }
}

fn drop_at(value: &mut Value, path: &[&str]) {
    match path {
        [] => {}
        [field] => drop(value.as_object_mut().and_then(|fields| fields.remove(*field))),
        ["*", rest @ ..] => {
            value.as_array_mut().into_iter().flatten().for_each(|entry| drop_at(entry, rest));
        }
        [step, rest @ ..] => {
            let Some(field) = value.get_mut(step) else { return };
            drop_at(field, rest);
            // A lifecycle that said nothing else is none.
            let said_nothing_else =
                *step == "lifecycle" && field.as_object().is_some_and(serde_json::Map::is_empty);
            if said_nothing_else && let Some(fields) = value.as_object_mut() {
                fields.remove(*step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_behind_a_closed_gate_is_not_kept() {
        let spec = json!({
            "schedulingGroup": {"podGroupName": "g"},
            "containers": [
                {"name": "a", "lifecycle": {"stopSignal": "SIGINT"}},
                {"name": "b", "lifecycle": {"stopSignal": "SIGINT", "preStop": {"sleep": {"seconds": 1}}}},
            ],
            "volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}]}}],
        });
        let kept = json!({
            "containers": [
                {"name": "a"},
                {"name": "b", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}},
            ],
            "volumes": [{"name": "v", "projected": {"sources": [{}]}}],
        });
        let mut pod = json!({"spec": spec});
        close("", "pods", &mut pod, None);
        assert_eq!(pod, json!({"spec": kept}));
        let mut deployment = json!({"spec": {"template": {"spec": spec}}});
        close("apps", "deployments", &mut deployment, None);
        assert_eq!(deployment, json!({"spec": {"template": {"spec": kept}}}));
    }

    #[test]
    fn what_was_there_before_the_gate_closed_stays() {
        let old = json!({"spec": {"containers": [{"lifecycle": {"stopSignal": "SIGINT"}}]}});
        let mut pod = json!({"spec": {
            "containers": [{"lifecycle": {"stopSignal": "SIGTERM"}}],
            "schedulingGroup": {},
        }});
        close("", "pods", &mut pod, Some(&old));
        assert_eq!(pod, json!({"spec": {"containers": [{"lifecycle": {"stopSignal": "SIGTERM"}}]}}));
    }
}
