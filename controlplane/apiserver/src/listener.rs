//! The TLS listener: the server on a port.

use std::{net::SocketAddr, sync::Arc};

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
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    authentication::{CertificateUser, x509},
    body::{Body, Request},
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
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let server = server.clone();
        let mut request: Request = request.map(|body| -> Body { body.map_err(Into::into).boxed_unsync() });
        request.extensions_mut().insert(ClientAddress(peer.ip()));
        if let Some(user) = &user {
            request.extensions_mut().insert(user.clone());
        }
        async move { Ok::<_, std::convert::Infallible>(server.respond(request).await) }
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
