//! The downward API: paths that would show a container its host pod are pointed at annotations that hold the
//! virtual pod's values.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{EnvVar, ObjectFieldSelector, Pod, PodSpec};

use crate::labels::{OBJECT_NAME, OBJECT_NAMESPACE, OBJECT_UID, Translator};

/// Host annotation: `spec.serviceAccountName` of the virtual pod.
const SERVICE_ACCOUNT_NAME: &str = "vkube.dev/service-account-name";
/// Host annotation: the virtual pod's labels, as the downward API prints them.
const LABELS: &str = "vkube.dev/labels";
/// Host annotation: the virtual pod's annotations, as the downward API prints them.
const ANNOTATIONS: &str = "vkube.dev/annotations";

/// The host annotations that the paths of [`redirect`] read. The printed maps are added only for pods that read
/// them.
pub(super) fn annotations(pod: &Pod) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let Some(spec) = &pod.spec else { return out };
    let account = spec.service_account_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
    out.insert(SERVICE_ACCOUNT_NAME.into(), account.into());

    let mut paths = Vec::new();
    visit(&mut spec.clone(), &mut |field| paths.push(field.field_path.clone()));
    if paths.iter().any(|path| path == "metadata.labels") {
        out.insert(LABELS.into(), print(pod.metadata.labels.as_ref()));
    }
    if paths.iter().any(|path| path == "metadata.annotations") {
        out.insert(ANNOTATIONS.into(), print(pod.metadata.annotations.as_ref()));
    }
    out
}

/// Points every field path of a pod at the virtual values.
pub(super) fn redirect(translator: &Translator, spec: &mut PodSpec) {
    visit(spec, &mut |field| field.field_path = path(translator, &field.field_path));
}

/// Points the field paths of one container's environment at the virtual values.
pub(super) fn redirect_environment(translator: &Translator, env: Option<&mut Vec<EnvVar>>) {
    visit_environment(env, &mut |field| field.field_path = path(translator, &field.field_path));
}

fn path(translator: &Translator, path: &str) -> String {
    let annotation = match path {
        "metadata.name" => OBJECT_NAME,
        "metadata.namespace" => OBJECT_NAMESPACE,
        "metadata.uid" => OBJECT_UID,
        "metadata.labels" => LABELS,
        "metadata.annotations" => ANNOTATIONS,
        "spec.serviceAccountName" => SERVICE_ACCOUNT_NAME,
        other => {
            let label = other.strip_prefix("metadata.labels['").and_then(|rest| rest.strip_suffix("']"));
            return label.map_or_else(
                || other.to_owned(),
                |key| format!("metadata.labels['{}']", translator.label_key(key)),
            );
        }
    };
    format!("metadata.annotations['{annotation}']")
}

fn visit(spec: &mut PodSpec, f: &mut dyn FnMut(&mut ObjectFieldSelector)) {
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        visit_environment(container.env.as_mut(), f);
    }
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        visit_environment(container.env.as_mut(), f);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        let plain = volume.downward_api.iter_mut().filter_map(|source| source.items.as_mut());
        let projected = volume
            .projected
            .iter_mut()
            .flat_map(|source| source.sources.iter_mut().flatten())
            .filter_map(|source| source.downward_api.as_mut())
            .filter_map(|source| source.items.as_mut());
        for field in plain.chain(projected).flatten().filter_map(|item| item.field_ref.as_mut()) {
            f(field);
        }
    }
}

fn visit_environment(env: Option<&mut Vec<EnvVar>>, f: &mut dyn FnMut(&mut ObjectFieldSelector)) {
    let fields = env
        .into_iter()
        .flatten()
        .filter_map(|var| var.value_from.as_mut())
        .filter_map(|source| source.field_ref.as_mut());
    for field in fields {
        f(field);
    }
}

/// `key="value"` lines, sorted, the value quoted as Go's `%q` does: the format of the kubelet.
fn print(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quote(value))).collect();
    lines.join("\n")
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => drop(write!(out, "\\x{:02x}", c as u32)),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_print_as_the_kubelet_prints_them() {
        let map = BTreeMap::from([
            ("b".to_owned(), "2".to_owned()),
            ("a".to_owned(), "x \"y\"\n\u{7}ü".to_owned()),
        ]);
        assert_eq!(print(Some(&map)), "a=\"x \\\"y\\\"\\n\\x07ü\"\nb=\"2\"");
    }
}
