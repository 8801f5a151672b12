//! How remote servers know that it is this server who asks, and in whose name
//! (<https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/>).

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use vkube_store::{Change, Document, Expect, Store, Write};

use crate::{
    bootstrap,
    outbound::trust::Identity,
    pki::Authority,
    server::{Server, builtin},
    status::ApiError,
    user::User,
};

/// Where the store keeps the authority, as PEM: the certificate and the key.
const KEY: &str = "/vkube/front-proxy-ca";

/// The name in the certificate.
const NAME: &str = "front-proxy-client";

const EXTRA: &str = "x-remote-extra-";

/// What may stand in the name of a header as it is (RFC 9110 section 5.6.2), but for the percent sign.
const HEADER_NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Makes the server's certificate, and says in `extension-apiserver-authentication` what it is signed with.
/// `client_ca` is that of the clients, as PEM, if there is one.
pub async fn prepare(server: &Server, client_ca: Option<&str>) -> Result<(), ApiError> {
    let authority = authority(server.store()).await?;
    let (certificate, key) = authority.client(NAME, &[]).map_err(ApiError::internal)?;
    server.aggregation.set_identity(Identity {
        certificate: CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(ApiError::internal)?,
        key: PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(ApiError::internal)?,
    });
    let map = config_map(&authority.certificate, client_ca);
    bootstrap::ensure(server, vec![(builtin("", "configmaps")?, map)]).await
}

async fn authority(store: &dyn Store) -> Result<Authority, ApiError> {
    let read = |pem: &[u8]| Authority::from_pem(&String::from_utf8_lossy(pem)).map_err(ApiError::internal);
    if let Some(entry) = store.get(KEY, None).await? {
        return read(&entry.value);
    }
    let (made, pem) = Authority::make("front-proxy-ca").map_err(ApiError::internal)?;
    let document = Document { bytes: pem.into(), revision_at: None, index: bytes::Bytes::new() };
    let write =
        Write { key: KEY.into(), expect: Expect::Absent, change: Change::Put { document, ttl: None } };
    match store.commit(vec![write]).await {
        Ok(_) => Ok(made),
        // Another replica was faster: its authority is the authority.
        Err(vkube_store::Error::Conflict { current: Some(entry), .. }) => read(&entry.value),
        Err(error) => Err(error.into()),
    }
}

fn config_map(authority: &str, client_ca: Option<&str>) -> Value {
    let list = |entry: &str| json!([entry]).to_string();
    let mut data = json!({
        "requestheader-allowed-names": list(NAME),
        "requestheader-client-ca-file": authority,
        "requestheader-extra-headers-prefix": list("X-Remote-Extra-"),
        "requestheader-group-headers": list("X-Remote-Group"),
        "requestheader-uid-headers": list("X-Remote-Uid"),
        "requestheader-username-headers": list("X-Remote-User"),
    });
    if let Some(client_ca) = client_ca {
        data["client-ca-file"] = client_ca.into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": data,
    })
}

/// Says in the headers, and only there, who asks.
pub fn identify(headers: &mut HeaderMap, user: &User) {
    let alien: Vec<HeaderName> = headers.keys().filter(|name| is_identity(name.as_str())).cloned().collect();
    for name in alien {
        headers.remove(name);
    }
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(name, value);
        }
    };
    add(HeaderName::from_static("x-remote-user"), &user.name);
    if !user.uid.is_empty() {
        add(HeaderName::from_static("x-remote-uid"), &user.uid);
    }
    for group in &user.groups {
        add(HeaderName::from_static("x-remote-group"), group);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA}{}", utf8_percent_encode(key, HEADER_NAME));
        let Ok(name) = HeaderName::try_from(name) else { continue };
        for value in values {
            add(name.clone(), value);
        }
    }
}

fn is_identity(name: &str) -> bool {
    matches!(name, "x-remote-user" | "x-remote-uid" | "x-remote-group") || name.starts_with(EXTRA)
}
