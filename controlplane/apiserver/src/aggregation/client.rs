//! Connections to a remote server: one shared HTTP/2 connection an endpoint, or one HTTP/1.1 connection a
//! request for servers that speak nothing else and for upgrades.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri, Version, header, uri};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    body::{Body, Request},
    outbound::{
        dial::dial,
        trust::{self, Identity},
    },
    registry::access::{bool_at, str_at},
};

/// How long a connection may be silent before the other side is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Host and port of an endpoint.
pub type Endpoint = (String, u16);

/// An endpoint as a URL shows it.
pub fn authority((host, port): &Endpoint) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

type Tls = Result<Arc<ClientConfig>, trust::Error>;

/// The client of one remote server.
#[derive(Debug)]
pub struct Client {
    /// The name that its certificate must have.
    host: String,
    tls: Tls,
    probing: Tls,
    shared: Mutex<HashMap<Endpoint, http2::SendRequest<Body>>>,
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For an answer.
    Call,
    /// For an upgrade of the connection.
    Upgrade,
    /// To see whether anybody answers, whoever it is.
    Probe,
}

impl Client {
    /// A client for the `spec` of an APIService, whose server is called `host`.
    pub fn new(spec: &Value, host: String, identity: Option<&Identity>) -> Self {
        let bundle = STANDARD.decode(str_at(spec, "/caBundle")).unwrap_or_default();
        let tls = if bool_at(spec, "/insecureSkipTLSVerify") {
            trust::insecure(identity)
        } else {
            trust::config(&bundle, identity)
        };
        let offering_http2 = |mut config: ClientConfig| {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Arc::new(config)
        };
        Self {
            host,
            tls: tls.map(offering_http2),
            probing: trust::insecure(identity).map(Arc::new),
            shared: Mutex::default(),
        }
    }

    /// Why nothing can be sent at all.
    pub fn problem(&self) -> Option<String> {
        self.tls.as_ref().err().map(ToString::to_string)
    }

    /// Sends a request, whose URI is path and query, to an endpoint.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        mut request: Request,
        purpose: Purpose,
    ) -> Result<http::Response<Incoming>, String> {
        let shared = if purpose == Purpose::Call { self.shared(endpoint) } else { None };
        if let Some(mut sender) = shared {
            match sender.try_send_request(for_http2(request, endpoint)?).await {
                Ok(response) => return Ok(response),
                Err(mut failed) => match failed.take_message() {
                    // The connection has ended before anything was sent.
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().to_string()),
                },
            }
        }
        let stream = self.connect(endpoint, purpose).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(KEEP_ALIVE)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|why| why.to_string())?;
            tokio::spawn(finish(connection));
            self.share(endpoint, sender.clone());
            let request = for_http2(request, endpoint)?;
            return sender.send_request(request).await.map_err(|why| why.to_string());
        }
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|why| why.to_string())?;
        tokio::spawn(finish(connection.with_upgrades()));
        let request = for_http1(request, endpoint)?;
        sender.send_request(request).await.map_err(|why| why.to_string())
    }

    fn shared(&self, endpoint: &Endpoint) -> Option<http2::SendRequest<Body>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|_, sender| !sender.is_closed());
        shared.get(endpoint).cloned()
    }

    fn share(&self, endpoint: &Endpoint, sender: http2::SendRequest<Body>) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint.clone(), sender);
    }

    async fn connect(&self, endpoint: &Endpoint, purpose: Purpose) -> Result<TlsStream<TcpStream>, String> {
        let config = if purpose == Purpose::Probe { &self.probing } else { &self.tls };
        let mut config = config.clone().map_err(|why| why.to_string())?;
        if purpose == Purpose::Upgrade {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|why| why.to_string())?;
        let stream = dial(&endpoint.0, endpoint.1).await?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|why| trust::shown(&why))
    }
}

/// Drives a connection until its requests are done.
async fn finish(connection: impl Future<Output = Result<(), hyper::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "the connection to a remote API server ended");
    }
}

fn for_http1(mut request: Request, endpoint: &Endpoint) -> Result<Request, String> {
    let host = HeaderValue::try_from(authority(endpoint)).map_err(|why| why.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    *request.version_mut() = Version::HTTP_11;
    Ok(request)
}

fn for_http2(mut request: Request, endpoint: &Endpoint) -> Result<Request, String> {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(uri::Scheme::HTTPS);
    parts.authority = Some(authority(endpoint).parse().map_err(|why: uri::InvalidUri| why.to_string())?);
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(parts).map_err(|why| why.to_string())?;
    request.headers_mut().remove(header::HOST);
    *request.version_mut() = Version::HTTP_2;
    Ok(request)
}
