//! Subresources that are written as the whole object but change one part of it: `ephemeralcontainers` and
//! `resize` of pods, `finalize` of namespaces, `approval` of certificate signing requests.

use serde_json::{Value, json};

use crate::metadata;

/// Keeps everything but the part that the subresource is about.
pub fn keep_rest(object: &mut Value, old: &Value, subresource: &str) {
    let mut kept = old.clone();
    for field in ["managedFields", "resourceVersion"] {
        metadata::restore(&mut kept, field, object);
    }
    match subresource {
        "ephemeralcontainers" => take(&mut kept, object, &["spec", "ephemeralContainers"]),
        "resize" => {
            for list in ["containers", "initContainers"] {
                resize(&mut kept, object, list);
            }
            take(&mut kept, object, &["spec", "resources"]);
        }
        "finalize" => {
            metadata::set_top(object, "status", old.get("status").cloned());
            return;
        }
        "approval" => {
            if kept.get("status").is_none() {
                kept["status"] = json!({});
            }
            take(&mut kept, object, &["status", "conditions"]);
        }
        _ => return,
    }
    *object = kept;
}

fn take(into: &mut Value, from: &Value, path: &[&str; 2]) {
    let value = from.get(path[0]).and_then(|v| v.get(path[1])).cloned();
    if let Some(parent) = into.get_mut(path[0]).and_then(Value::as_object_mut) {
        match value {
            Some(value) => parent.insert(path[1].into(), value),
            None => parent.remove(path[1]),
        };
    }
}

/// Takes the resources and resize policies of containers that both have. Which containers there are stays as
/// the writer has it, so that validation can refuse it.
fn resize(into: &mut Value, from: &Value, list: &str) {
    let old = into.pointer(&format!("/spec/{list}")).and_then(Value::as_array).cloned().unwrap_or_default();
    let new = from.pointer(&format!("/spec/{list}")).and_then(Value::as_array).cloned().unwrap_or_default();
    let resized = |changed: Value| {
        let Some(mut container) = old.iter().find(|c| c["name"] == changed["name"]).cloned() else {
            return changed;
        };
        for field in ["resources", "resizePolicy"] {
            metadata::set_top(&mut container, field, changed.get(field).cloned());
        }
        container
    };
    let containers: Vec<Value> = new.into_iter().map(resized).collect();
    if let Some(spec) = into.get_mut("spec").filter(|_| !(old.is_empty() && containers.is_empty())) {
        spec[list] = containers.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resize_shows_what_else_the_writer_wants() {
        let old = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let added = json!([{"name": "c", "image": "other", "resources": {"limits": {}}}, {"name": "d"}]);
        let mut new = json!({"metadata": {"name": "a"}, "spec": {"containers": added}});
        keep_rest(&mut new, &old, "resize");
        let kept = json!([{"name": "c", "image": "i", "resources": {"limits": {}}}, {"name": "d"}]);
        assert_eq!(new["spec"], json!({"containers": kept}));
    }

    #[test]
    fn a_namespace_is_finalized_by_its_finalizers_alone() {
        let old = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"}});
        let mut new = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"finalizers": []}});
        keep_rest(&mut new, &old, "finalize");
        assert_eq!(new["spec"]["finalizers"], json!([]));
        assert_eq!(new["status"]["phase"], "Terminating");
    }
}
