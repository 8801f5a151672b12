//! A server on this machine that others of this crate's tests call.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::{listener, pki::Authority};

/// What came: method and URI, headers, body.
pub(crate) type Call = (String, http::HeaderMap, Value);

/// A server over TLS, with a certificate for the address of this machine.
pub(crate) struct Remote {
    pub(crate) port: u16,
    /// Who vouches for it, in PEM.
    pub(crate) authority: String,
    /// Whatever came.
    pub(crate) calls: Arc<Mutex<Vec<Call>>>,
    task: JoinHandle<()>,
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Remote {
    /// Answers requests, by their path and body, in JSON or with a text.
    pub(crate) async fn start(
        answer: impl Fn(&str, &Value) -> (StatusCode, Value) + Send + Sync + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let files = authority.serving(&["remote".to_owned()], &[Ipv4Addr::LOCALHOST.into()]).unwrap();
        let acceptor = TlsAcceptor::from(listener::tls(&files).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, calls) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let noted = calls.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let (answer, noted) = (answer.clone(), noted.clone());
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let (answer, noted) = (answer.clone(), noted.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                        let (status, answer) = answer(head.uri.path(), &body);
                        noted.lock().unwrap().push((
                            format!("{} {}", head.method, head.uri),
                            head.headers,
                            body,
                        ));
                        let text = match answer {
                            Value::String(text) => text,
                            document => document.to_string(),
                        };
                        let answer = Full::new(Bytes::from(text));
                        Ok::<_, Infallible>(http::Response::builder().status(status).body(answer).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { port, authority: files.client_ca, calls, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The paths of the requests that came.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(line, ..)| line.clone()).collect()
    }

    /// Writes a kubeconfig that leads to a path of it.
    pub(crate) fn kubeconfig(&self, file: &Path, path: &str) {
        let document = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "remote", "cluster": {
                "server": format!("{}{path}", self.url()),
                "certificate-authority-data": STANDARD.encode(&self.authority),
            }}],
            "users": [{"name": "me", "user": {"token": "hook-token"}}],
            "contexts": [{"name": "c", "context": {"cluster": "remote", "user": "me"}}],
        });
        std::fs::write(file, document.to_string()).unwrap();
    }
}
