//! Tokens of browsers, which can set no header of a WebSocket but its protocols
//! (`base64url.bearer.authorization.k8s.io.TOKEN`).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};

const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// The token among the protocols of an upgrade to WebSocket, which is taken away from them; one of them must
/// remain to be agreed upon.
pub fn take_token(headers: &mut HeaderMap) -> Result<Option<String>, String> {
    if !is_upgrade(headers) {
        return Ok(None);
    }
    let (mut token, mut others) = (None, Vec::new());
    for value in headers.get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        for protocol in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            match protocol.strip_prefix(PREFIX) {
                None => others.push(protocol),
                Some(_) if token.is_some() => {
                    return Err("multiple base64.bearer.authorization tokens specified".into());
                }
                Some("") => return Err("missing bearer token".into()),
                Some(encoded) => {
                    let decoded = URL_SAFE_NO_PAD.decode(encoded);
                    let decoded =
                        decoded.map_err(|_| "invalid base64.bearer.authorization token encoding")?;
                    let decoded = String::from_utf8(decoded);
                    token = Some(decoded.map_err(|_| "invalid base64.bearer.authorization token")?);
                }
            }
        }
    }
    if token.is_none() {
        return Ok(None);
    }
    if others.is_empty() {
        return Err("missing additional subprotocol".into());
    }
    let others = HeaderValue::from_str(&others.join(",")).map_err(|why| why.to_string())?;
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, others);
    Ok(token)
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let has = |name: header::HeaderName, word: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(protocols: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocols).unwrap());
        headers
    }

    #[test]
    fn a_token_is_taken_from_the_protocols() {
        let mut headers = headers("base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io");
        assert_eq!(take_token(&mut headers), Ok(Some("secret".into())));
        assert_eq!(headers[header::SEC_WEBSOCKET_PROTOCOL], "v4.channel.k8s.io");
    }

    #[test]
    fn a_protocol_must_remain() {
        let mut headers = headers("base64url.bearer.authorization.k8s.io.c2VjcmV0");
        assert_eq!(take_token(&mut headers), Err("missing additional subprotocol".into()));
    }

    #[test]
    fn other_requests_have_no_such_token() {
        let mut headers = headers("base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io");
        headers.remove(header::UPGRADE);
        assert_eq!(take_token(&mut headers), Ok(None));
    }
}
