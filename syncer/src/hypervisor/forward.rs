//! Sending a stream's request to the host and joining both ends.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Body, Refusal};
use crate::sanitise::Sanitiser;

/// The longest request body that is proxied; such bodies are held in memory. The API server's own limit.
const REQUEST: usize = 3 * 1024 * 1024;

/// The longest error of the host that is read.
const ERROR: usize = 64 * 1024;

/// Headers that speak of the connection, not of the message, or carry credentials. The client's credentials are
/// for the virtual API server; the host gets ours.
const KEPT_BACK: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::HOST,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::PROXY_AUTHORIZATION,
    header::UPGRADE,
];

/// Prefixes of headers by which front proxies tell who asks; the host would believe ours.
const IDENTITY: [&str; 3] = ["impersonate-", "x-remote-", "x-forwarded-"];

/// A WebSocket subprotocol by which browsers send a token.
const BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// A subresource's path on the host and as the tenant knows it.
pub(super) struct Paths {
    pub host: String,
    pub visible: String,
}

/// Where running tunnels are kept.
#[derive(Clone, Copy)]
pub(super) struct Tunnels<'a> {
    pub tracker: &'a TaskTracker,
    pub open: &'a CancellationToken,
}

/// Sends `request` to `uri` on the host and returns the host's answer.
pub(super) async fn forward(
    host: &Client,
    uri: Uri,
    mut request: Request<Body>,
    paths: &Paths,
    sanitiser: &Sanitiser<'_>,
    tunnels: Tunnels<'_>,
) -> Result<Response<Body>, Refusal> {
    let wants_upgrade = request.headers().contains_key(header::UPGRADE);
    let client_side = wants_upgrade.then(|| hyper::upgrade::on(&mut request));

    let mut outgoing = Request::builder().method(request.method().clone()).uri(uri);
    if let Some(headers) = outgoing.headers_mut() {
        *headers = request_headers(request.headers(), wants_upgrade);
    }
    let body = if wants_upgrade {
        bytes::Bytes::new()
    } else {
        collect(request.into_body(), REQUEST).await.ok_or_else(Refusal::too_large)?
    };
    let outgoing = outgoing
        .body(kube::client::Body::from(body))
        .map_err(|_| Refusal::bad_request("the request cannot be sent to the host"))?;

    let response = host.send(outgoing).await.map_err(|error| {
        tracing::warn!(%error, "cannot open a stream on the host");
        Refusal::unavailable()
    })?;
    match (response.status(), client_side) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(client_side)) => Ok(join(response, client_side, tunnels)),
        (StatusCode::SWITCHING_PROTOCOLS, None) => Err(Refusal::unavailable()),
        (status, _) if status.is_client_error() || status.is_server_error() => {
            Ok(sanitised(response, sanitiser).await)
        }
        _ => Ok(relay(response, paths)),
    }
}

/// Copies between both upgraded connections until one of them ends.
fn join(
    mut response: Response<kube::client::Body>,
    client_side: OnUpgrade,
    tunnels: Tunnels,
) -> Response<Body> {
    let host_side = hyper::upgrade::on(&mut response);
    let open = tunnels.open.clone();
    tunnels.tracker.spawn(async move {
        let copy = async {
            // The client's side is ready once it has got our answer.
            let (client, host) = match futures::future::try_join(client_side, host_side).await {
                Ok(both) => both,
                Err(error) => {
                    tracing::debug!(%error, "a stream ended before it began");
                    return;
                }
            };
            let (mut client, mut host) = (TokioIo::new(client), TokioIo::new(host));
            if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut host).await {
                tracing::debug!(%error, "a stream broke");
            }
        };
        tokio::select! {
            () = open.cancelled() => {}
            () = copy => {}
        }
    });

    let (parts, _) = response.into_parts();
    let mut answer = Response::new(full(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = parts.headers;
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    answer
}

/// Passes an answer on as it comes, so that followed logs flow.
fn relay(response: Response<kube::client::Body>, paths: &Paths) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    if let Some(location) = parts.headers.get(header::LOCATION).and_then(|location| location.to_str().ok()) {
        let visible = location.replace(&paths.host, &paths.visible);
        if let Ok(visible) = HeaderValue::from_str(&visible) {
            parts.headers.insert(header::LOCATION, visible);
        }
    }
    parts.extensions.clear();
    parts.version = http::Version::default();
    Response::from_parts(parts, body.map_err(Into::into).boxed_unsync())
}

/// An error of the host in the tenant's names.
pub(super) async fn sanitised(
    response: Response<kube::client::Body>,
    sanitiser: &Sanitiser<'_>,
) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let text = match collect(body, ERROR).await {
        Some(body) => String::from_utf8_lossy(&body).into_owned(),
        None => String::new(),
    };
    let text = match serde_json::from_str::<Value>(&text) {
        Ok(mut status) => {
            sanitiser.clean_document(&mut status);
            status.to_string()
        }
        Err(_) => sanitiser.clean(&text),
    };
    let mut answer = Response::new(full(text));
    *answer.status_mut() = parts.status;
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    answer
}

fn request_headers(from: &HeaderMap, wants_upgrade: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in from {
        let is_identity = IDENTITY.iter().any(|prefix| name.as_str().starts_with(prefix));
        if KEPT_BACK.contains(name) || is_identity {
            continue;
        }
        if name == header::SEC_WEBSOCKET_PROTOCOL {
            if let Some(value) = without_bearer(value) {
                headers.append(name.clone(), value);
            }
            continue;
        }
        headers.append(name.clone(), value.clone());
    }
    if wants_upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Some(upgrade) = from.get(header::UPGRADE) {
            headers.insert(header::UPGRADE, upgrade.clone());
        }
    }
    headers
}

fn without_bearer(value: &HeaderValue) -> Option<HeaderValue> {
    let protocols: Vec<&str> = value
        .to_str()
        .ok()?
        .split(',')
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty() && !protocol.starts_with(BEARER))
        .collect();
    (!protocols.is_empty()).then(|| HeaderValue::from_str(&protocols.join(", ")).ok()).flatten()
}

/// The whole of a body; `None` if it breaks off or exceeds `limit`.
pub(super) async fn collect<B>(mut body: B, limit: usize) -> Option<bytes::Bytes>
where
    B: http_body::Body<Data = bytes::Bytes> + Unpin,
{
    let mut read = bytes::BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if read.len() + data.len() > limit {
            return None;
        }
        read.extend_from_slice(&data);
    }
    Some(read.freeze())
}

/// A body of these bytes.
pub(super) fn full(bytes: impl Into<bytes::Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_clients_identity_stays_here() {
        let sent = request_headers(
            &headers(&[
                ("authorization", "Bearer tenant"),
                ("impersonate-user", "system:admin"),
                ("x-remote-user", "system:admin"),
                ("sec-websocket-protocol", "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.dG9r"),
                ("accept", "*/*"),
            ]),
            false,
        );
        assert_eq!(sent.len(), 2);
        assert_eq!(sent["sec-websocket-protocol"], "v5.channel.k8s.io");
    }

    #[test]
    fn upgrades_are_asked_for_in_the_clients_protocol() {
        let asked = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4"),
        ]);
        let sent = request_headers(&asked, true);
        assert_eq!(sent["upgrade"], "SPDY/3.1");
        assert_eq!(sent["connection"], "Upgrade");
        assert_eq!(sent["x-stream-protocol-version"], "v4");
    }
}
