//! What a request says of itself, before anybody knows who it is from.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

use crate::{body::Request, server::ClientAddress};

/// What tells one request from another, if the client says it; the answer repeats it.
pub const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const MAX_USER_AGENT: usize = 1024;

/// What a request says of itself, whoever it is from.
#[derive(Clone, Debug)]
pub struct Head {
    /// What tells it from others.
    pub id: String,
    /// When it came.
    pub received: Timestamp,
    /// Path and query.
    pub uri: String,
    /// From where, by which ways.
    pub source_ips: Vec<String>,
    /// What has sent it.
    pub user_agent: String,
}

/// What answers are found by: as the client says, or else made up.
pub fn id(request: &Request) -> HeaderValue {
    let given = request.headers().get(AUDIT_ID).filter(|id| !id.is_empty()).cloned();
    given
        .or_else(|| HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).ok())
        .unwrap_or(HeaderValue::from_static("-"))
}

impl Head {
    /// What a request says.
    pub fn of(request: &Request) -> Self {
        let headers = request.headers();
        let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let id = Some(text(AUDIT_ID)).filter(|id| !id.is_empty());
        let mut user_agent = text(header::USER_AGENT).to_owned();
        if user_agent.len() > MAX_USER_AGENT {
            // A header is ASCII where it is a text.
            user_agent.truncate(MAX_USER_AGENT);
            user_agent.push_str("...TRUNCATED");
        }
        Self {
            id: id.map_or_else(|| uuid::Uuid::new_v4().to_string(), Into::into),
            received: Timestamp::now(),
            uri: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            source_ips: source_ips(
                headers,
                request.extensions().get().map(|ClientAddress(address)| *address),
            ),
            user_agent,
        }
    }
}

/// Where a request comes from; only the last address is certain.
fn source_ips(headers: &HeaderMap, peer: Option<IpAddr>) -> Vec<String> {
    let all = |name: &'static str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok();
    let mut found: Vec<IpAddr> = all("x-forwarded-for").split(',').filter_map(parse).collect();
    if let Some(real) = parse(all("x-real-ip"))
        && !found.contains(&real)
    {
        found.push(real);
    }
    if let Some(peer) = peer
        && found.last() != Some(&peer)
    {
        found.push(peer);
    }
    found.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn addresses_are_those_of_the_way_and_end_with_the_peer() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("10.0.0.1, nonsense, 10.0.0.2"));
        headers.insert("x-real-ip", HeaderValue::from_static("10.0.0.1"));
        let peer = Some(IpAddr::from([10, 0, 0, 2]));
        assert_eq!(source_ips(&headers, peer), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(source_ips(&HeaderMap::new(), peer), ["10.0.0.2"]);
        assert!(source_ips(&HeaderMap::new(), None).is_empty());
    }
}
