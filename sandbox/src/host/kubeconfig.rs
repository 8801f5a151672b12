//! The kubeconfig of the host's administrator.

use std::{io::Write, net::SocketAddr, os::unix::fs::OpenOptionsExt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use vkube_apiserver::pki::Authority;

use super::{Error, file};

/// The name of cluster, user and context.
const NAME: &str = "vkube-sandbox";

/// Writes it, for its owner alone.
pub(super) fn write(path: &Path, server: SocketAddr, authority: &Authority) -> Result<(), Error> {
    let (certificate, key) = authority.client("kubernetes-admin", &["system:masters"])?;
    // JSON is YAML, and read by everything that reads kubeconfigs.
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {
            "server": format!("https://{server}"),
            "certificate-authority-data": STANDARD.encode(&authority.certificate),
        }}],
        "users": [{"name": NAME, "user": {
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(key),
        }}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "current-context": NAME,
    });
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(format!("{document:#}\n").as_bytes()));
    written.map_err(|source| file(path, source))
}
