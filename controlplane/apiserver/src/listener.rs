//! The TLS listener: the server on a port.

mod kept;

use std::{net::SocketAddr, sync::Arc};

use http::StatusCode;

use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::kept::{Keeper, Kept};
use crate::{
    authentication::{CertificateUser, x509},
    body::{self, Body, Request},
    server::{ClientAddress, Server},
};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key is not valid PEM.
    #[error("failed to read {what}")]
    Pem {
        /// What was read.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The client CA is of no use.
    #[error("failed to use the client CA")]
    ClientCa(#[source] rustls::server::VerifierBuilderError),
    /// Key and certificate do not fit.
    #[error("failed to use the serving certificate")]
    Certificate(#[source] rustls::Error),
}

/// What a listener serves with, as PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The serving certificate with its chain.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The CA of client certificates.
    pub client_ca: String,
}

/// The TLS configuration: clients may, and need not, show a certificate of the client CA.
pub fn tls(files: &TlsFiles) -> Result<Arc<ServerConfig>, Error> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(files.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Pem { what: "the serving certificate", source })?;
    let key = PrivateKeyDer::from_pem_slice(files.key.as_bytes())
        .map_err(|source| Error::Pem { what: "the serving key", source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(files.client_ca.as_bytes()) {
        let certificate = certificate.map_err(|source| Error::Pem { what: "the client CA", source })?;
        roots.add(certificate).map_err(Error::Certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(Error::ClientCa)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Certificate)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(Error::Certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves connections until `shutdown`, then lets those that are busy finish.
pub async fn serve(
    server: Server,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(server.clone(), stream, peer, acceptor.clone(), shutdown.clone());
                connections.spawn(connection);
            }
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to be closed.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    let grace = std::time::Duration::from_secs(2);
    let _ = tokio::time::timeout(grace, connections.wait()).await;
}

async fn connection(
    server: Server,
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    shutdown: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, %peer, "TLS handshake failed");
            return;
        }
    };
    let user = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|certificate| x509::user(certificate))
        .map(|user| CertificateUser(Arc::new(user)));
    answer(server, stream, peer, user, shutdown).await;
}

/// Answers what comes over a connection.
async fn answer<S>(
    server: Server,
    stream: S,
    peer: SocketAddr,
    user: Option<CertificateUser>,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let keeper = Keeper::default();
    let stream = Kept::new(stream, &keeper);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (server, keeper) = (server.clone(), keeper.clone());
        let mut request: Request = request.map(|body| -> Body { body.map_err(Into::into).boxed_unsync() });
        request.extensions_mut().insert(ClientAddress(peer.ip()));
        if let Some(user) = &user {
            request.extensions_mut().insert(user.clone());
        }
        async move {
            let mut response = server.respond(request).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                // The answer has no body, but what lasts as long as it lasts as long as the stream that begins here.
                keeper.keep(std::mem::replace(response.body_mut(), body::empty()));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    // Idle connections are the common case: keep their buffers small.
    builder.http1().max_buf_size(64 * 1024);
    builder.http2().initial_stream_window_size(256 * 1024).max_concurrent_streams(250);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, %peer, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use http::header;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::{
        body::Response,
        connect::{Connector, Target},
        custom::tests::Fixture,
        instance::{Instance, Options},
        status::ApiError,
    };

    /// Answers with a stream that says everything twice.
    struct Echo;

    impl Connector for Echo {
        fn connect(&self, _: Target, mut request: Request) -> BoxFuture<'static, Result<Response, ApiError>> {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let stream = TokioIo::new(upgrade.await.unwrap());
                let (mut from, mut to) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
            response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("echo"));
            Box::pin(std::future::ready(Ok(response)))
        }
    }

    async fn running(fixture: &Fixture) -> u32 {
        let request = http::Request::get("/metrics").body(body::empty()).unwrap();
        let response = tower::Service::call(
            &mut fixture.0.server.service(crate::user::User::component("test")),
            request,
        );
        let text = response.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let line = text.lines().find(|line| {
            line.starts_with("apiserver_longrunning_requests") && line.contains("subresource=\"attach\"")
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
    }

    async fn read_until(stream: &mut DuplexStream, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            read.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(read).unwrap()
    }

    #[tokio::test]
    async fn an_upgraded_stream_is_a_running_request_until_it_ends() {
        let options = Options {
            authorization_modes: vec!["AlwaysAllow".into()],
            connector: Some(Arc::new(Echo)),
            ..Options::default()
        };
        let fixture = Fixture(Instance::start(options).await.unwrap());
        fixture
            .create(
                "/api/v1/namespaces/default/serviceaccounts",
                &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}),
            )
            .await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "a"}]}});
        fixture.create("/api/v1/namespaces/default/pods", &pod).await;

        let (mut client, stream) = tokio::io::duplex(4096);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let user = Some(CertificateUser(Arc::new(crate::user::User::component("test"))));
        let serving =
            tokio::spawn(answer(fixture.0.server.clone(), stream, peer, user, CancellationToken::new()));
        let request = "GET /api/v1/namespaces/default/pods/p/attach HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 101"));
        serving.await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read_until(&mut client, "hello").await, "hello");
        assert_eq!(running(&fixture).await, 1);
        drop(client);
        let ends = async {
            while running(&fixture).await > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), ends).await.unwrap();
        fixture.0.stop().await;
    }
}
