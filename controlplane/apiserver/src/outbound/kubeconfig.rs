//! The server that a kubeconfig file leads to, as webhooks of authentication and authorization are
//! configured.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::Value;

use super::{
    exchange::{self, Idle},
    trust::{self, Identity},
    url::{self, Url},
};
use crate::{
    file,
    registry::access::{at, bool_at, list_at, str_at},
};

/// Why a kubeconfig is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that it names, or itself, is of no use.
    #[error(transparent)]
    File(#[from] file::Error),
    /// Something is not in it.
    #[error("{path} has no {what}")]
    Absent {
        /// The file.
        path: PathBuf,
        /// What is not there.
        what: String,
    },
    /// Embedded data is none.
    #[error("{0} is not base64")]
    Base64(&'static str),
    /// The server's URL cannot be used.
    #[error(transparent)]
    Url(#[from] url::Error),
    /// The user's certificate or key cannot be used.
    #[error("failed to read the client certificate")]
    Certificate(#[source] rustls::pki_types::pem::Error),
    /// The user's password or token is none.
    #[error("the credentials cannot be sent in a header")]
    Credentials,
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] trust::Error),
}

/// The server of a kubeconfig's current context, with the credentials of its user.
pub struct Remote {
    url: Url,
    /// The name that the certificate must have.
    name: String,
    tls: Option<Arc<ClientConfig>>,
    authorization: Option<HeaderValue>,
    idle: Idle,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Remote {
    /// Reads the file and those that it names.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::read(&file::document(path)?, path)
    }

    /// Reads what a file at `path` holds, and the files that it names.
    pub fn read(config: &Value, path: &Path) -> Result<Self, Error> {
        let absent = |what: String| Error::Absent { path: path.into(), what };
        let named =
            |list: &str, name: &str| list_at(config, list).iter().find(|item| str_at(item, "/name") == name);
        let current = str_at(config, "/current-context");
        let context = named("/contexts", current).ok_or_else(|| absent(format!("context {current:?}")))?;
        let cluster = str_at(context, "/context/cluster");
        let cluster = named("/clusters", cluster).ok_or_else(|| absent(format!("cluster {cluster:?}")))?;
        let cluster = at(cluster, "/cluster");
        let user = named("/users", str_at(context, "/context/user")).map_or(&Value::Null, |u| at(u, "/user"));

        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let url = Url::parse(str_at(cluster, "/server"))?;
        let name = Some(str_at(cluster, "/tls-server-name")).filter(|name| !name.is_empty());
        let name = name.map_or_else(|| url.host.clone(), Into::into);
        let tls = if url.secure { Some(Arc::new(tls(cluster, user, base)?)) } else { None };
        Ok(Self { name, tls, authorization: authorization(user, base)?, url, idle: Idle::default() })
    }

    /// Posts a document in JSON; `timeout` bounds the whole exchange.
    pub async fn post(&self, document: &Bytes, timeout: Duration) -> Result<Response<Bytes>, String> {
        let request = || {
            let mut request = Request::post(&self.url.path)
                .header(header::HOST, &self.url.authority)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::ACCEPT, "application/json, */*")
                .header(header::USER_AGENT, "kube-apiserver");
            if let Some(authorization) = &self.authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            request.body(Full::new(document.clone()))
        };
        let connect = exchange::connect(&self.url.host, self.url.port, self.tls.clone(), &self.name);
        let failed = |why: String| format!("Post {:?}: {why}", self.url.to_string());
        tokio::time::timeout(timeout, self.idle.send(request, connect))
            .await
            .map_err(|_| failed("context deadline exceeded".into()))?
            .map_err(failed)
    }
}

fn tls(cluster: &Value, user: &Value, base: &Path) -> Result<ClientConfig, Error> {
    let identity = match (bytes(user, base, "client-certificate")?, bytes(user, base, "client-key")?) {
        (Some(certificate), Some(key)) => Some(Identity {
            certificate: CertificateDer::from_pem_slice(&certificate).map_err(Error::Certificate)?,
            key: PrivateKeyDer::from_pem_slice(&key).map_err(Error::Certificate)?,
        }),
        _ => None,
    };
    if bool_at(cluster, "/insecure-skip-tls-verify") {
        return Ok(trust::insecure(identity.as_ref())?);
    }
    let bundle = bytes(cluster, base, "certificate-authority")?.unwrap_or_default();
    Ok(trust::config(&bundle, identity.as_ref())?)
}

fn authorization(user: &Value, base: &Path) -> Result<Option<HeaderValue>, Error> {
    let path = str_at(user, "/tokenFile");
    let token = match str_at(user, "/token") {
        "" if !path.is_empty() => String::from_utf8_lossy(&file::read(&base.join(path))?).trim().to_owned(),
        token => token.to_owned(),
    };
    let name = str_at(user, "/username");
    let value = match (token.as_str(), name) {
        ("", "") => return Ok(None),
        ("", name) => {
            let pair = format!("{name}:{}", str_at(user, "/password"));
            format!("Basic {}", STANDARD.encode(pair))
        }
        (token, _) => format!("Bearer {token}"),
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| Error::Credentials)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What `<field>-data` holds or, if it is not there, the file that `<field>` names.
fn bytes(owner: &Value, base: &Path, field: &'static str) -> Result<Option<Vec<u8>>, Error> {
    let data = str_at(owner, &format!("/{field}-data"));
    if !data.is_empty() {
        return STANDARD.decode(data).map(Some).map_err(|_| Error::Base64(field));
    }
    match str_at(owner, &format!("/{field}")) {
        "" => Ok(None),
        path => Ok(Some(file::read(&base.join(path))?)),
    }
}
