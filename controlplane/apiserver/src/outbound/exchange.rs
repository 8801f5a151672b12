//! Requests with one answer over HTTP/1.1, on connections that wait for the next one.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    rt,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use super::{dial, trust, url::Url};

/// The largest answer, in bytes: larger than a patch of the largest object.
const MAX_ANSWER: usize = 16 << 20;

/// How many connections wait for the next request; more are rarely busy at the same time.
const MAX_IDLE: usize = 2;

/// A connection that takes a request.
pub type Connection = SendRequest<Full<Bytes>>;

/// The connections to one server that wait for the next request.
#[derive(Debug, Default)]
pub struct Idle(Mutex<Vec<Connection>>);

impl Idle {
    /// Sends a request on a connection that waits, or else on a new one, and waits for the whole answer.
    pub async fn send(
        &self,
        request: impl Fn() -> Result<Request<Full<Bytes>>, http::Error>,
        connect: impl Future<Output = Result<Connection, String>>,
    ) -> Result<Response<Bytes>, String> {
        let request = || request().map_err(|why| why.to_string());
        while let Some(mut idle) = self.take() {
            // The other side may have closed it in the meantime; then nothing was sent.
            match idle.try_send_request(request()?).await {
                Ok(response) => return self.answer(response, idle).await,
                Err(unsent) if unsent.message().is_some() => {}
                Err(failed) => return Err(failed.error().to_string()),
            }
        }
        let mut connection = connect.await?;
        let response = connection.send_request(request()?).await.map_err(|why| why.to_string())?;
        self.answer(response, connection).await
    }

    async fn answer(
        &self,
        response: Response<Incoming>,
        connection: Connection,
    ) -> Result<Response<Bytes>, String> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|why| why.to_string())?.to_bytes();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !connection.is_closed() {
            idle.push(connection);
        }
        Ok(Response::from_parts(head, body))
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }
}

/// Connects to a server, over TLS if there is a configuration of it, that calls itself `name`.
pub async fn connect(
    host: &str,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    name: &str,
) -> Result<Connection, String> {
    let Some(tls) = tls else { return open(dial::dial(host, port).await?).await };
    let name = ServerName::try_from(name.to_owned()).map_err(|why| why.to_string())?;
    let stream = dial::dial(host, port).await?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    open(stream.map_err(|why| trust::shown(&why))?).await
}

async fn open<S>(stream: S) -> Result<Connection, String>
where
    TokioIo<S>: rt::Read + rt::Write,
    S: Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|why| why.to_string())?;
    // It ends with its sender.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an outgoing connection ended");
        }
    });
    Ok(sender)
}

/// Gets a document over a connection of its own.
pub async fn get(
    url: &Url,
    tls: Arc<ClientConfig>,
    authorization: Option<HeaderValue>,
) -> Result<Response<Bytes>, String> {
    let request = || {
        let mut request = Request::get(&url.path)
            .header(header::HOST, &url.authority)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "kube-apiserver");
        if let Some(authorization) = &authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.body(Full::default())
    };
    let tls = url.secure.then_some(tls);
    Idle::default().send(request, connect(&url.host, url.port, tls, &url.host)).await
}
