//! Asking a process whether it is well: HTTP, HTTPS and TCP. Certificates are not verified, as with a kubelet.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use vkube_apiserver::outbound::trust;

/// How much of an answer is read.
const MOST_ANSWER: usize = 10 * 1024;

/// A question, its names resolved.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// `GET` must answer 200 to 399.
    Http {
        /// Where to connect to.
        address: SocketAddr,
        /// Whether to speak TLS.
        tls: bool,
        /// The path and query.
        path: String,
        /// More headers; `Host` among them replaces the address.
        headers: Vec<(String, String)>,
    },
    /// The port must accept connections.
    Tcp(SocketAddr),
}

impl Question {
    /// The question of an `httpGet`; `None` if the port's name is unknown.
    pub fn http(action: &HTTPGetAction, container: &Container, ip: IpAddr) -> Option<Self> {
        let address = SocketAddr::new(host(action.host.as_deref(), ip), port(&action.port, container)?);
        let headers = action.http_headers.iter().flatten();
        Some(Self::Http {
            address,
            tls: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            path: format!("/{}", action.path.as_deref().unwrap_or("/").trim_start_matches('/')),
            headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
        })
    }

    /// The question of a `tcpSocket`; `None` if the port's name is unknown.
    pub fn tcp(action: &TCPSocketAction, container: &Container, ip: IpAddr) -> Option<Self> {
        Some(Self::Tcp(SocketAddr::new(host(action.host.as_deref(), ip), port(&action.port, container)?)))
    }

    /// Asks; the error is the message of the event.
    pub async fn ask(&self) -> Result<(), String> {
        match self {
            Self::Tcp(address) => connect(*address).await.map(drop),
            Self::Http { address, tls, path, headers } => get(*address, *tls, path, headers).await,
        }
    }
}

fn host(given: Option<&str>, ip: IpAddr) -> IpAddr {
    given.and_then(|host| host.parse().ok()).unwrap_or(ip)
}

fn port(port: &IntOrString, container: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name));
            named.map_or_else(|| name.parse().ok(), |port| u16::try_from(port.container_port).ok())
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let connection = TcpStream::connect(address).await;
    connection.map_err(|error| {
        let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
        let reason = if refused { "connection refused".to_owned() } else { error.to_string() };
        format!("dial tcp {address}: connect: {reason}")
    })
}

async fn get(address: SocketAddr, tls: bool, path: &str, headers: &[(String, String)]) -> Result<(), String> {
    let scheme = if tls { "https" } else { "http" };
    let failed = |reason: String| format!("Get \"{scheme}://{address}{path}\": {reason}");
    let stream = connect(address).await.map_err(failed)?;
    let status = if tls {
        let name = ServerName::from(address.ip());
        let stream = connector()?.connect(name, stream).await.map_err(|error| failed(error.to_string()))?;
        exchange(stream, address, path, headers).await.map_err(failed)?
    } else {
        exchange(stream, address, path, headers).await.map_err(failed)?
    };
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {status}"))
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    path: &str,
    headers: &[(String, String)],
) -> Result<u16, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let mut request = Request::get(path)
        .header("user-agent", "kube-probe/1.36")
        .header("accept", "*/*")
        .header("connection", "close");
    let mut named = false;
    for (name, value) in headers {
        named |= name.eq_ignore_ascii_case("host");
        request = request.header(name, value);
    }
    if !named {
        request = request.header("host", address.to_string());
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| text(&error))?;

    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| text(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        let status = response.status().as_u16();
        // The body is read so that the server sees an orderly end; what it says does not matter.
        let _ = Limited::new(response.into_body(), MOST_ANSWER).collect().await;
        Ok(status)
    };
    let connection = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = connection => Err("connection closed".into()),
    }
}

/// Certificates of probed processes are taken as they are; that is what kubelets do.
fn connector() -> Result<TlsConnector, String> {
    let config = trust::insecure(None).map_err(|error| error.to_string())?;
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn serve_once(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    fn mk_question(address: SocketAddr) -> Question {
        Question::Http { address, tls: false, path: "/readyz".into(), headers: Vec::new() }
    }

    #[tokio::test]
    async fn http_takes_success_and_redirects_and_refuses_errors() {
        for (status, expected) in [("200 OK", true), ("302 Found", true), ("503 Busy", false)] {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
            let address = serve_once(answer.leak()).await;
            assert_eq!(mk_question(address).ask().await.is_ok(), expected, "{status}");
        }
    }

    #[tokio::test]
    async fn says_that_nobody_listens() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let message = mk_question(free).ask().await.unwrap_err();
        assert_eq!(
            message,
            format!("Get \"http://{free}/readyz\": dial tcp {free}: connect: connection refused")
        );
        assert!(Question::Tcp(free).ask().await.is_err());
    }

    #[test]
    fn finds_ports_by_name() {
        let container: Container = serde_json::from_value(serde_json::json!({
            "name": "c", "ports": [{"name": "web", "containerPort": 8443}],
        }))
        .unwrap();
        assert_eq!(port(&IntOrString::String("web".into()), &container), Some(8443));
        assert_eq!(port(&IntOrString::String("none".into()), &container), None);
        assert_eq!(port(&IntOrString::Int(80), &container), Some(80));
    }
}
