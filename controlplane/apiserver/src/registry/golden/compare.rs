//! When an object is the recorded one.

use serde_json::{Value, json};

use crate::registry::access::{get, get_mut, list_mut, remove, str_at};

/// Removes what admission, allocation and the engine add.
pub fn forget_the_engine(object: &mut Value) {
    for field in ["managedFields", "uid", "resourceVersion", "creationTimestamp", "finalizers", "selfLink"] {
        remove(object, &format!("/metadata/{field}"));
    }
    match str_at(object, "/kind") {
        "Pod" => {
            for field in
                ["serviceAccountName", "serviceAccount", "tolerations", "priority", "preemptionPolicy"]
            {
                remove(object, &format!("/spec/{field}"));
            }
            for list in ["/spec/volumes", "/spec/containers", "/spec/initContainers"] {
                for owner in list_mut(object, list) {
                    drop_named(owner, "/volumeMounts");
                }
            }
            if let Some(spec) = get_mut(object, "/spec") {
                drop_named(spec, "/volumes");
            }
        }
        "Service" => {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
                remove(object, &format!("/spec/{field}"));
            }
            for port in list_mut(object, "/spec/ports") {
                remove(port, "/nodePort");
            }
        }
        "Node" => drop(remove(object, "/spec/taints")),
        "CustomResourceDefinition" => drop(remove(object, "/status")),
        _ => {}
    }
}

/// Removes what is named after the service account's token from a list.
fn drop_named(owner: &mut Value, path: &str) {
    if let Some(Value::Array(list)) = get_mut(owner, path) {
        list.retain(|item| !str_at(item, "/name").starts_with("kube-api-access-"));
        if list.is_empty() {
            remove(owner, path);
        }
    }
}

/// Whether a document has everything that is expected.
pub fn includes(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(want), _) => want.iter().all(|(path, values)| {
            let found = get(actual, &format!("/{}", path.replace('.', "/")));
            path.contains('[')
                || path.contains("managedFields")
                || path.contains("resourceVersion")
                || matches(values, &json!(found.into_iter().collect::<Vec<_>>()))
        }),
        _ => matches(expected, actual),
    }
}

/// Whether a value is the expected one, where tokens such as `<time>` stand for anything.
pub fn matches(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::String(want), Value::String(got)) => want == got || is_token(want),
        (Value::String(want), _) => is_token(want),
        (Value::Object(want), Value::Object(got)) => {
            want.len() == got.len()
                && want.iter().all(|(key, value)| got.get(key).is_some_and(|other| matches(value, other)))
        }
        (Value::Array(want), Value::Array(got)) => {
            want.len() == got.len() && want.iter().zip(got).all(|(want, got)| matches(want, got))
        }
        _ => expected == actual,
    }
}

fn is_token(text: &str) -> bool {
    ["<uid", "<time>", "<age>", "<rv:", "<ip:", "<name:", "controller-uid=<uid"]
        .iter()
        .any(|token| text.contains(token))
}
