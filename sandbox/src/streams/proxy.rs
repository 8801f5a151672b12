//! The `proxy` subresource: plain HTTP requests passed on to a pod or a Service.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Uri, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use vkube_apiserver::{
    body::{Request, Response},
    connect::Target,
    status::ApiError,
};

/// Headers that belong to one connection.
const HOP: [header::HeaderName; 5] =
    [header::CONNECTION, header::UPGRADE, header::TE, header::TRANSFER_ENCODING, header::PROXY_AUTHORIZATION];

/// The parts of `[scheme:]name[:port]`.
pub(super) fn parts(name: &str) -> (&str, &str, &str) {
    match *name.split(':').collect::<Vec<_>>().as_slice() {
        [scheme, name, port] => (scheme, name, port),
        [name, port] => ("", name, port),
        _ => ("", name, ""),
    }
}

/// Passes a request on to a pod.
pub(super) async fn to_pod(
    target: &Target,
    scheme: &str,
    port: &str,
    ip: IpAddr,
    request: Request,
) -> Result<Response, ApiError> {
    let ports: Vec<&Value> =
        list(&target.object, "/spec/containers").flat_map(|container| list(container, "/ports")).collect();
    let named = |port: &str| {
        ports.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(port)).copied()
    };
    let entry = if port.is_empty() { ports.first().copied() } else { named(port) };
    let number = entry.and_then(|entry| entry.get("containerPort")).and_then(Value::as_u64);
    let number = number.or_else(|| port.parse().ok()).unwrap_or(80);
    pass(scheme, SocketAddr::new(ip, number as u16), &target.rest, request).await
}

/// Passes a request on to a Service.
pub(super) async fn to_service(target: &Target, request: Request) -> Result<Response, ApiError> {
    let (scheme, name, port) = parts(&target.name);
    let ip = target.object.pointer("/spec/clusterIP").and_then(Value::as_str);
    let ip: Option<IpAddr> = ip.and_then(|ip| ip.parse().ok());
    let ip =
        ip.ok_or_else(|| ApiError::unavailable(format!("no endpoints available for service {name:?}")))?;
    let number = |entry: &Value| entry.get("port").and_then(Value::as_u64);
    let ports: Vec<&Value> = list(&target.object, "/spec/ports").collect();
    let chosen = ports.iter().find(|entry| {
        port.is_empty()
            || entry.get("name").and_then(Value::as_str) == Some(port)
            || number(entry).is_some_and(|number| number.to_string() == port)
    });
    let number = chosen.and_then(|entry| number(entry));
    let number = number.ok_or_else(|| {
        ApiError::unavailable(format!("no service port {port:?} found for service {name:?}"))
    })?;
    pass(scheme, SocketAddr::new(ip, number as u16), &target.rest, request).await
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

async fn pass(
    scheme: &str,
    address: SocketAddr,
    rest: &str,
    mut request: Request,
) -> Result<Response, ApiError> {
    if scheme == "https" {
        return Err(ApiError::bad_request("the sandbox proxies plain HTTP only"));
    }
    let failed = |error: &dyn std::fmt::Display| {
        ApiError::unavailable(format!("error trying to reach service: {error}"))
    };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("/{}{query}", rest.trim_start_matches('/'));
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| ApiError::bad_request(error.to_string()))?;
    for name in HOP {
        request.headers_mut().remove(name);
    }
    request.headers_mut().remove(header::AUTHORIZATION);
    let host = HeaderValue::try_from(address.to_string()).map_err(ApiError::internal)?;
    request.headers_mut().insert(header::HOST, host);

    let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    // Ends with the response's body.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "proxied connection ended");
        }
    });
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    Ok(response
        .map(|body| body.map_frame(|frame| frame.map_data(Bytes::from)).map_err(Into::into).boxed_unsync()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_carry_scheme_and_port() {
        assert_eq!(parts("web"), ("", "web", ""));
        assert_eq!(parts("web:80"), ("", "web", "80"));
        assert_eq!(parts("https:web:tls"), ("https", "web", "tls"));
        assert_eq!(parts("http:web:"), ("http", "web", ""));
    }
}
