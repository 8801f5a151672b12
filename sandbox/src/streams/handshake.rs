//! Turning a request into a connection: WebSocket or SPDY/3.1, and which protocol to speak over it.

use base64::Engine;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use vkube_apiserver::{
    body::{self, Request, Response},
    status::ApiError,
};

/// Where SPDY clients say what they want to speak.
const STREAM_PROTOCOL: &str = "x-stream-protocol-version";
const SPDY: &str = "SPDY/3.1";
const V4: &str = "v4.channel.k8s.io";
const V5: &str = "v5.channel.k8s.io";
const V1: &str = "channel.k8s.io";
const FORWARD: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// What is spoken over an upgraded connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// WebSocket messages, each with a channel in front. Only version 5 can end standard input.
    WebSocket {
        /// Whether a channel can be closed.
        closes: bool,
    },
    /// SPDY streams.
    Spdy,
    /// SPDY streams carried in WebSocket messages.
    Tunnel,
}

/// A connection that is about to be upgraded.
pub(crate) struct Upgrade {
    /// What will be spoken.
    pub dialect: Dialect,
    /// The connection, once the response is sent.
    pub connection: OnUpgrade,
}

impl Upgrade {
    /// For exec and attach.
    pub fn session(request: Request) -> Result<(Response, Self), ApiError> {
        Self::negotiate(
            request,
            &[
                (V5, Dialect::WebSocket { closes: true }),
                (V4, Dialect::WebSocket { closes: false }),
                (V1, Dialect::WebSocket { closes: false }),
            ],
            &[V4, "v3.channel.k8s.io", "v2.channel.k8s.io", V1],
        )
    }

    /// For port-forward.
    pub fn forward(request: Request) -> Result<(Response, Self), ApiError> {
        let plain = Dialect::WebSocket { closes: false };
        Self::negotiate(
            request,
            &[(TUNNEL, Dialect::Tunnel), (V4, plain), (FORWARD, plain), (V1, plain)],
            &[FORWARD],
        )
    }

    fn negotiate(
        mut request: Request,
        web_socket: &[(&'static str, Dialect)],
        spdy: &[&'static str],
    ) -> Result<(Response, Self), ApiError> {
        let headers = request.headers();
        let wanted = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (dialect, response) = if wanted.eq_ignore_ascii_case("websocket") {
            let offered = listed(headers, header::SEC_WEBSOCKET_PROTOCOL.as_str());
            let known = |offer: &String| web_socket.iter().find(|(name, _)| name == offer);
            // A client that offers nothing is content with the first version.
            let (name, dialect) = match offered.iter().find_map(known) {
                Some((name, dialect)) => (Some(*name), *dialect),
                None if offered.is_empty() => (None, Dialect::WebSocket { closes: false }),
                None => return Err(unsupported(&offered)),
            };
            (dialect, web_socket_response(headers, name)?)
        } else if wanted.eq_ignore_ascii_case(SPDY) {
            let offered = listed(headers, STREAM_PROTOCOL);
            let known = |offer: &String| spdy.iter().find(|name| *name == offer);
            let name = match offered.iter().find_map(known) {
                Some(name) => Some(*name),
                None if offered.is_empty() => None,
                None => return Err(unsupported(&offered)),
            };
            (Dialect::Spdy, spdy_response(name))
        } else {
            return Err(ApiError::bad_request("Upgrade request required"));
        };
        let connection = hyper::upgrade::on(&mut request);
        Ok((response, Self { dialect, connection }))
    }
}

fn unsupported(offered: &[String]) -> ApiError {
    let code = StatusCode::FORBIDDEN;
    ApiError::new(code, "Forbidden", format!("unable to upgrade: none of {offered:?} is supported"))
}

/// The values of a header, whether given together or one by one.
fn listed(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty()).map(Into::into).collect()
}

fn switching(upgrade: &'static str) -> Response {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
    response
}

fn web_socket_response(headers: &HeaderMap, protocol: Option<&'static str>) -> Result<Response, ApiError> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| ApiError::bad_request("a WebSocket needs a Sec-WebSocket-Key"))?;
    let well_formed = base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
    if !well_formed {
        return Err(ApiError::bad_request("the Sec-WebSocket-Key is malformed"));
    }
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let accept = HeaderValue::try_from(accept).map_err(ApiError::internal)?;
    let mut response = switching("websocket");
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        let protocol = HeaderValue::from_static(protocol);
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

fn spdy_response(protocol: Option<&'static str>) -> Response {
    let mut response = switching(SPDY);
    if let Some(protocol) = protocol {
        response.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_request(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(body::empty());
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");

    #[test]
    fn takes_the_first_web_socket_protocol_that_it_knows() {
        let request = mk_request(&[
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", "v9.channel.k8s.io, v5.channel.k8s.io, v4.channel.k8s.io"),
            KEY,
        ]);
        let (response, upgrade) = Upgrade::session(request).unwrap();
        assert_eq!(upgrade.dialect, Dialect::WebSocket { closes: true });
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn takes_spdy_protocols_from_repeated_headers() {
        let request = mk_request(&[
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ]);
        let (response, upgrade) = Upgrade::session(request).unwrap();
        assert_eq!(upgrade.dialect, Dialect::Spdy);
        assert_eq!(response.headers()["x-stream-protocol-version"], "v4.channel.k8s.io");
    }

    #[test]
    fn tunnels_port_forwards() {
        let protocol = ("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io");
        let request = mk_request(&[("upgrade", "websocket"), protocol, KEY]);
        assert_eq!(Upgrade::forward(request).unwrap().1.dialect, Dialect::Tunnel);
    }

    #[test]
    fn refuses_plain_requests_and_unknown_protocols() {
        assert!(Upgrade::session(mk_request(&[])).is_err());
        let unknown = ("x-stream-protocol-version", "nonsense");
        assert!(Upgrade::forward(mk_request(&[("upgrade", "SPDY/3.1"), unknown])).is_err());
    }
}
