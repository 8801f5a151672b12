//! Talking to a virtual cluster's API server, through its Service.
//!
//! The operator has each cluster's authority, so it makes itself a certificate that lasts as long as it needs one. Its user
//! does not count as somebody who uses the cluster.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::client::Body;
use kube::config::AuthInfo;
use kube::discovery::{self, Scope};
use kube::{Client, Config, ResourceExt};
use serde::Deserialize;
use x509_parser::pem::Pem;

use crate::pki::{self, Authority, Life, Subject};

/// Field manager of objects that are applied inside.
const BOOTSTRAP_MANAGER: &str = "vkube-bootstrap";
/// The operator inside a cluster.
const USER: &str = "system:vkube-operator";
const VALIDITY: Duration = Duration::from_mins(10);
/// How long one answer may take; a snapshot is written, or brought back, meanwhile.
const PATIENCE: Duration = Duration::from_secs(45);
const CONNECT: Duration = Duration::from_secs(2);

/// Why a cluster could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No certificate could be made for it.
    #[error("failed to sign")]
    Sign(#[from] pki::Error),
    /// There can be no client of that address.
    #[error("cannot speak to {0:?}")]
    Address(String),
    /// The request could not be made.
    #[error("malformed request")]
    Request(#[from] http::Error),
    /// An object could not be applied.
    #[error("failed to apply {what}")]
    Object {
        /// Kind and name.
        what: String,
        /// The cluster's answer.
        source: kube::Error,
    },
    /// It refused, or did not answer.
    #[error("failed to ask the cluster")]
    Api(#[from] kube::Error),
}

/// A snapshot that a cluster keeps.
#[derive(Clone, Debug, Deserialize)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// When it was complete.
    pub taken: Timestamp,
    /// In bytes.
    pub size: i64,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Kept>,
}

/// An administrator's way into a cluster.
pub struct Inside {
    client: Client,
}

impl Inside {
    /// Into the cluster at this address of the host's network.
    pub fn new(address: &str, server_name: &str, authority: &Authority) -> Result<Self, Error> {
        let subject = Subject::Client { user: USER.into(), group: Some("system:masters".into()) };
        let life = Life { validity: VALIDITY, renew_before: Duration::ZERO, now: Timestamp::now() };
        let (pair, _) = pki::leaf(None, &subject, authority, life)?;
        let mut config = config(address, server_name, &authority.pair.certificate, PATIENCE)
            .ok_or_else(|| Error::Address(address.to_owned()))?;
        config.auth_info = AuthInfo {
            client_certificate_data: Some(STANDARD.encode(pair.certificate)),
            client_key_data: Some(STANDARD.encode(pair.key).into()),
            ..AuthInfo::default()
        };
        Ok(Self { client: Client::try_from(config)? })
    }

    /// With this client.
    pub fn with(client: Client) -> Self {
        Self { client }
    }

    /// Applies objects one after the other; those of namespaces without one go to `default`.
    pub async fn apply(&self, objects: &[DynamicObject]) -> Result<(), Error> {
        let params = PatchParams::apply(BOOTSTRAP_MANAGER).force();
        for object in objects {
            let types = object.types.as_ref().map(GroupVersionKind::try_from);
            let Some(Ok(kind)) = types else { continue };
            let name = object.name_any();
            let described = || format!("{} {name}", kind.kind);
            let failed = |source| Error::Object { what: described(), source };
            let (resource, capabilities) =
                discovery::pinned_kind(&self.client, &kind).await.map_err(failed)?;
            let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
                let namespace = object.namespace().unwrap_or_else(|| "default".into());
                Api::namespaced_with(self.client.clone(), &namespace, &resource)
            } else {
                Api::all_with(self.client.clone(), &resource)
            };
            api.patch(&name, &params, &Patch::Apply(object)).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The snapshots that are kept, the oldest first.
    pub async fn snapshots(&self) -> Result<Vec<Kept>, Error> {
        let list: List = self.client.request(Request::get("/vkube/snapshots").body(Vec::new())?).await?;
        Ok(list.items)
    }

    /// Takes one.
    pub async fn take(&self, name: &str) -> Result<Kept, Error> {
        let request = Request::post(format!("/vkube/snapshots/{name}")).body(Vec::new())?;
        Ok(self.client.request(request).await?)
    }

    /// Forgets one.
    pub async fn forget(&self, name: &str) -> Result<(), Error> {
        let request = Request::delete(format!("/vkube/snapshots/{name}")).body(Vec::new())?;
        self.client.request_text(request).await?;
        Ok(())
    }

    /// Brings this cluster to a snapshot of another, unless that was done under the word `once`.
    pub async fn restore(&self, source: &Self, name: &str, once: &str) -> Result<(), Error> {
        let ask = Request::get(format!("/vkube/snapshots/{name}")).body(Body::empty())?;
        let snapshot = accepted(source.client.send(ask).await?).await?;
        let once: String = form_urlencoded::byte_serialize(once.as_bytes()).collect();
        let put = Request::put(format!("/vkube/snapshot?once={once}")).body(snapshot.into_body())?;
        accepted(self.client.send(put).await?).await?;
        Ok(())
    }
}

/// The response, unless it is a refusal.
async fn accepted(response: Response<Body>) -> Result<Response<Body>, Error> {
    if response.status().is_success() {
        return Ok(response);
    }
    let code = response.status().as_u16();
    let body = response.into_body().collect_bytes().await?;
    let status = serde_json::from_slice(&body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&body);
        kube::core::Status::failure(&text, "Unknown").with_code(code)
    });
    Err(kube::Error::Api(status.boxed()).into())
}

/// A configuration for the API server at `address` that trusts this authority alone.
pub fn config(address: &str, server_name: &str, authority: &str, patience: Duration) -> Option<Config> {
    let roots: Vec<Vec<u8>> =
        Pem::iter_from_buffer(authority.as_bytes()).filter_map(|pem| Some(pem.ok()?.contents)).collect();
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let mut config = Config::new(format!("https://{host}").parse().ok()?);
    config.root_cert = Some(roots);
    config.tls_server_name = Some(server_name.to_owned());
    config.connect_timeout = Some(CONNECT.min(patience));
    config.read_timeout = Some(patience);
    config.default_retry = false;
    Some(config)
}
