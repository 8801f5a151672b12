//! Merging a kubeconfig into the user's, as `kubectl config` would.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::kubeconfig;

/// The kubeconfig that kubectl uses: the first of `KUBECONFIG`, or `~/.kube/config`.
pub fn default_path() -> Option<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|p| !p.as_os_str().is_empty())
    {
        return Some(first);
    }
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"))
}

/// Merges `document` into the file at `path`, and makes its context the current one.
pub fn merge_into(path: &Path, document: &Value) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let existing = match std::fs::read(path) {
        Ok(bytes) if !bytes.is_empty() => serde_saphyr::from_slice(&bytes)
            .map_err(|e| format!("{} is no kubeconfig: {e}", path.display()))?,
        _ => json!({"apiVersion": "v1", "kind": "Config"}),
    };
    kubeconfig::write(path, &merged(existing, document))
}

fn merged(mut into: Value, document: &Value) -> Value {
    for list in ["clusters", "users", "contexts"] {
        let new = document.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
        let entries = &mut into[list];
        if !entries.is_array() {
            *entries = json!([]);
        }
        if let Some(entries) = entries.as_array_mut() {
            entries.retain(|e| !new.iter().any(|n| n["name"] == e["name"]));
            entries.extend(new);
        }
    }
    into["current-context"] = document["current-context"].clone();
    into
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_clusters_stay_and_the_own_one_is_replaced() {
        let mine = json!({"clusters": [{"name": "a"}, {"name": "v", "cluster": {"server": "old"}}], "current-context": "a"});
        let new = json!({"clusters": [{"name": "v", "cluster": {"server": "new"}}], "current-context": "v"});
        let merged = merged(mine, &new);
        assert_eq!(merged["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(merged["clusters"][1]["cluster"]["server"], "new");
        assert_eq!(merged["current-context"], "v");
    }
}
