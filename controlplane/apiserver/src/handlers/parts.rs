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

/// Takes the resources and resize policies of containers that both have.
fn resize(into: &mut Value, from: &Value, list: &str) {
    let new =
        from.get("spec").and_then(|s| s.get(list)).and_then(Value::as_array).cloned().unwrap_or_default();
    let containers = into.get_mut("spec").and_then(|s| s.get_mut(list)).and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        let Some(changed) = new.iter().find(|c| c["name"] == container["name"]) else { continue };
        for field in ["resources", "resizePolicy"] {
            metadata::set_top(container, field, changed.get(field).cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_finalized_by_its_finalizers_alone() {
        let old = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"}});
        let mut new = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"finalizers": []}});
        keep_rest(&mut new, &old, "finalize");
        assert_eq!(new["spec"]["finalizers"], json!([]));
        assert_eq!(new["status"]["phase"], "Terminating");
    }
}
