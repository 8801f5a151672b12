//! Calls of webhooks: one POST over TLS.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::Value;
use tokio_rustls::TlsConnector;

use crate::{
    outbound::{dial, resolve, trust},
    registry::access::{get, opt_int, str_at},
    server::Server,
};

/// The largest answer, in bytes: larger than a patch of the largest object.
const MAX_ANSWER: usize = 16 << 20;

/// How many connections wait for the next call; more are rarely busy at the same time.
const MAX_IDLE: usize = 2;

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
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
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
            idle: Mutex::default(),
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
        let place = self.place()?;
        let query = format!("{}?timeout={}s", place.path, timeout.as_secs());
        let url = format!("https://{}{query}", place.authority);
        let call = |why: String| Error::Call { url: url.clone(), why };
        let exchange = self.exchange(server, &place, &query, body);
        let (status, answer) = tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| call("context deadline exceeded".into()))?
            .map_err(call)?;
        if status.is_success() { Ok(answer) } else { Err(Error::Answer(refused(status, &answer))) }
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
                .map_err(|why| why.to_string())
        };
        while let Some(mut idle) = self.take() {
            // The other side may have closed it in the meantime; then nothing was sent.
            match idle.try_send_request(request()?).await {
                Ok(response) => return self.answer(response, idle).await,
                Err(unsent) if unsent.message().is_some() => {}
                Err(failed) => return Err(failed.error().to_string()),
            }
        }
        let mut connection = self.connect(server, place).await?;
        let response = connection.send_request(request()?).await.map_err(|why| why.to_string())?;
        self.answer(response, connection).await
    }

    async fn answer(
        &self,
        response: http::Response<hyper::body::Incoming>,
        connection: SendRequest<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), String> {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|why| why.to_string())?.to_bytes();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !connection.is_closed() {
            idle.push(connection);
        }
        Ok((status, body))
    }

    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }

    async fn connect(&self, server: &Server, place: &Place) -> Result<SendRequest<Full<Bytes>>, String> {
        let (host, port) = match &self.destination {
            Destination::Url(_) => (place.host.clone(), place.port),
            Destination::Service { namespace, name, port, .. } => {
                resolve::endpoint(server, namespace, name, *port).await.map_err(|why| why.to_string())?
            }
        };
        let tls = self.tls.get_or_init(|| trust::config(&self.bundle, None).map(Arc::new));
        let tls = tls.clone().map_err(|why| why.to_string())?;
        let name = ServerName::try_from(place.host.clone()).map_err(|why| why.to_string())?;
        let stream = dial::dial(&host, port).await?;
        let stream = TlsConnector::from(tls).connect(name, stream).await;
        let stream = stream.map_err(|why| trust::shown(&why))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|why| why.to_string())?;
        // It ends with its sender.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to a webhook ended");
            }
        });
        Ok(sender)
    }
}

/// What an answer that is an error says: its status, if it is one, or what its code means.
fn refused(status: StatusCode, body: &[u8]) -> String {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    if str_at(&document, "/kind") == "Status" && !str_at(&document, "/message").is_empty() {
        return str_at(&document, "/message").into();
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let text = if text.is_empty() { "unknown" } else { text };
    match status.as_u16() {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 => text.into(),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        409 => "the server reported a conflict".into(),
        422 => "the server rejected our request due to an error in our request".into(),
        429 => "the server has received too many requests and has asked us to try again later".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".into(),
        500.. => format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}
