//! Kubeconfig documents.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// How a client identifies itself.
pub enum Identity<'a> {
    /// By a bearer token.
    Token(&'a str),
    /// By a certificate and its key, as PEM.
    Certificate(&'a str, &'a str),
}

/// A kubeconfig of one cluster, one user and one context, all called `name`.
pub fn document(name: &str, server: &str, ca: &str, identity: &Identity<'_>) -> Value {
    let user = match identity {
        Identity::Token(token) => json!({"token": token}),
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
