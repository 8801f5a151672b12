//! Kubeconfig documents.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// How a client identifies itself.
pub enum Identity<'a> {
    /// By a certificate and its key, as PEM.
    Certificate(&'a str, &'a str),
}

/// A kubeconfig of one cluster, one user and one context, all called `name`.
pub fn document(name: &str, server: &str, ca: &str, identity: &Identity<'_>) -> Value {
    let user = match identity {
        Identity::Certificate(certificate, key) => json!({
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(key),
        }),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": name,
            "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca)},
        }],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    })
}

/// A kubeconfig as YAML.
pub fn yaml(document: &Value) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(document)
}

/// Writes a kubeconfig, readable by its owner alone.
pub fn write(
    path: &std::path::Path,
    document: &Value,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let text = yaml(document)?;
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)?;
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// The server of the first cluster.
pub fn server(document: &Value) -> Option<&str> {
    document.pointer("/clusters/0/cluster/server")?.as_str()
}

/// Makes the first cluster use another server. Its certificate is still checked for the name it has.
pub fn set_server(document: &mut Value, server: &str) {
    if let Some(cluster) = document.pointer_mut("/clusters/0/cluster") {
        cluster["server"] = server.into();
    }
}

/// Calls cluster, user and context of a kubeconfig of one each `name`.
pub fn rename(document: &mut Value, name: &str) {
    for (list, inner) in [("clusters", None), ("users", None), ("contexts", Some("context"))] {
        if let Some(entry) = document.get_mut(list).and_then(|l| l.get_mut(0)) {
            entry["name"] = name.into();
            if let Some(inner) = inner {
                entry[inner]["cluster"] = name.into();
                entry[inner]["user"] = name.into();
            }
        }
    }
    document["current-context"] = name.into();
}
