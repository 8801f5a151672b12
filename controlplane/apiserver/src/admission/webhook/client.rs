//! Calls of webhooks: one POST over TLS.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use rustls::ClientConfig;
use serde_json::Value;

use crate::{
    outbound::{
        exchange::{self, Connection, Idle},
        refusal, resolve, trust,
    },
    registry::access::{get, opt_int, str_at},
    server::Server,
};

/// Why a call failed, in the words of kube-apiserver.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration names no webhook.
    #[error("could not get REST client: {0}")]
    Configuration(String),
    /// The webhook was not reached or did not answer.
    #[error("failed to call webhook: Post {url:?}: {why}")]
    Call {
        /// What was called.
        url: String,
        /// Why it failed.
        why: String,
    },
    /// It answered with an error.
    #[error("failed to call webhook: {0}")]
    Answer(String),
}

/// Where a webhook is.
#[derive(Debug)]
enum Destination {
    Url(String),
    Service { namespace: String, name: String, port: i64, path: String },
}

/// The client of one webhook.
#[derive(Debug)]
pub struct Client {
    destination: Destination,
    /// PEM; empty means the authorities of the machine.
    bundle: Vec<u8>,
    tls: OnceLock<Result<Arc<ClientConfig>, trust::Error>>,
    idle: Idle,
}

/// A destination, taken apart.
struct Place {
    /// Host and port as the URL shows them.
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl Client {
    /// Reads `clientConfig`.
    pub fn read(config: &Value) -> Self {
        let destination = match get(config, "/service") {
            Some(service) => Destination::Service {
                namespace: str_at(service, "/namespace").into(),
                name: str_at(service, "/name").into(),
                port: opt_int(service, "/port").unwrap_or(443),
                path: str_at(service, "/path").into(),
            },
            None => Destination::Url(str_at(config, "/url").into()),
        };
        Self {
            destination,
            // What is no base64 was refused when it was written.
            bundle: STANDARD.decode(str_at(config, "/caBundle")).unwrap_or_default(),
            tls: OnceLock::new(),
            idle: Idle::default(),
        }
    }

    fn place(&self) -> Result<Place, Error> {
        match &self.destination {
            Destination::Service { namespace, name, port, path } => {
                let host = format!("{name}.{namespace}.svc");
                let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
                let wire = u16::try_from(*port).unwrap_or_default();
                Ok(Place { authority: format!("{host}:{port}"), host, port: wire, path })
            }
            Destination::Url(url) => {
                let uri: http::Uri =
                    url.parse().map_err(|why| Error::Configuration(format!("Unparsable URL: {why}")))?;
                let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
                let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                let port = uri.port_u16().unwrap_or(443);
                Ok(Place { authority, host, port, path: uri.path().to_owned() })
            }
        }
    }

    /// Sends a document and waits for the answer.
    pub async fn post(&self, server: &Server, body: Bytes, timeout: Duration) -> Result<Bytes, Error> {
        let query = format!("?timeout={}s", timeout.as_secs());
        self.send(server, &query, body, timeout).await
    }

    /// Sends a document with a query and waits for the answer.
    pub async fn send(
        &self,
        server: &Server,
        query: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let place = self.place()?;
        let query = format!("{}{query}", place.path);
        let url = format!("https://{}{query}", place.authority);
        let call = |why: String| Error::Call { url: url.clone(), why };
        let exchange = self.exchange(server, &place, &query, body);
        let (status, answer) = tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| call("context deadline exceeded".into()))?
            .map_err(call)?;
        if status.is_success() { Ok(answer) } else { Err(Error::Answer(refusal::shown(status, &answer))) }
    }

    async fn exchange(
        &self,
        server: &Server,
        place: &Place,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = || {
            Request::post(path)
                .header(header::HOST, &place.authority)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::ACCEPT, "application/json, */*")
                .header(header::USER_AGENT, "kube-apiserver-admission")
                .body(Full::new(body.clone()))
        };
        let answer = self.idle.send(request, self.connect(server, place)).await?;
        Ok((answer.status(), answer.into_body()))
    }

    async fn connect(&self, server: &Server, place: &Place) -> Result<Connection, String> {
        let (host, port) = match &self.destination {
            Destination::Url(_) => (place.host.clone(), place.port),
            Destination::Service { namespace, name, port, .. } => {
                resolve::endpoint(server, namespace, name, *port).await.map_err(|why| why.to_string())?
            }
        };
        let tls = self.tls.get_or_init(|| trust::config(&self.bundle, None).map(Arc::new));
        let tls = tls.clone().map_err(|why| why.to_string())?;
        exchange::connect(&host, port, Some(tls), &place.host).await
    }
}
