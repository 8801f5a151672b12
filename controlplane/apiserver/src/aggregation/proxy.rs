//! Requests for remote groups, passed on.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;

use super::{Remote, client::Purpose, front_proxy};
use crate::{
    body::{self, Body, Request, Response},
    outbound::resolve,
    respond,
    server::{ClientAddress, Server},
    user::User,
};

/// Headers that are about a connection and not about what it carries (RFC 9110 section 7.6.1).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Passes on a request that may be made, in the name of `user`.
pub async fn forward(server: &Server, remote: &Remote, request: &mut Request, user: &User) -> Response {
    if !remote.is_available() {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
    }
    if let Some(problem) = remote.client.problem() {
        return failed(StatusCode::INTERNAL_SERVER_ERROR, &problem);
    }
    let endpoint = match resolve::endpoint(server, &remote.namespace, &remote.service, remote.port).await {
        Ok(endpoint) => endpoint,
        Err(error) => {
            let (namespace, service) = (&remote.namespace, &remote.service);
            tracing::warn!(%error, namespace, service, "no endpoint of a remote API server");
            return failed(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
        }
    };
    let upgrade = wanted_upgrade(request.headers());
    let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut *request));
    let mut request = std::mem::replace(request, Request::new(body::empty()));
    prepare(&mut request, user, upgrade.as_ref());
    request.extensions_mut().clear();
    let purpose = if upgrade.is_some() { Purpose::Upgrade } else { Purpose::Call };
    let mut response = match remote.client.send(&endpoint, request, purpose).await {
        Ok(response) => response,
        Err(why) => return failed(StatusCode::SERVICE_UNAVAILABLE, &why),
    };
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(client)) = (response.status(), client) {
        let remote = hyper::upgrade::on(&mut response);
        tokio::spawn(join(client, remote));
        return response.map(|_| body::empty());
    }
    if response.status().is_redirection() && response.headers().contains_key(header::LOCATION) {
        let why = "the backend attempted to redirect this request, which is not permitted";
        return respond::bytes(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", why);
    }
    remove_hop_by_hop(response.headers_mut());
    response.map(|body| -> Body { body.map_err(Into::into).boxed_unsync() })
}

/// A failure of the aggregator itself, which is plain text.
fn failed(code: StatusCode, why: &str) -> Response {
    respond::text(code, format!("{why}\n"))
}

/// The protocol that the client wants to change to.
fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut connection = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asks = connection.any(|value| value.to_ascii_lowercase().contains("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asks).cloned()
}

/// Makes the headers those that the remote server is to see.
fn prepare(request: &mut Request, user: &User, upgrade: Option<&HeaderValue>) {
    let address = request.extensions().get::<ClientAddress>().map(|address| address.0);
    let path = HeaderValue::from_str(request.uri().path()).ok();
    let authority = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    let headers = request.headers_mut();
    let host = headers.get(header::HOST).cloned().or(authority);
    remove_hop_by_hop(headers);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    // Whoever shows credentials here has none there; and it has already become who it acts as.
    headers.remove(header::AUTHORIZATION);
    let impersonation: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        headers.remove(name);
    }
    front_proxy::identify(headers, user);
    if let Some(address) = address {
        let before: Vec<&str> =
            headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
        let all = before.into_iter().map(ToOwned::to_owned).chain([address.to_string()]);
        if let Ok(value) = HeaderValue::try_from(all.collect::<Vec<_>>().join(", ")) {
            headers.insert("x-forwarded-for", value);
        }
    }
    let forwarded = [
        ("x-forwarded-host", host),
        ("x-forwarded-proto", Some(HeaderValue::from_static("https"))),
        ("x-forwarded-uri", path),
    ];
    for (name, value) in forwarded {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in named {
        headers.remove(name.as_str());
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
}

/// Carries bytes both ways until both ends have had enough.
async fn join(client: hyper::upgrade::OnUpgrade, remote: hyper::upgrade::OnUpgrade) {
    let joined = async {
        let (client, remote) =
            futures::future::try_join(client, remote).await.map_err(std::io::Error::other)?;
        tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(remote)).await
    };
    if let Err(error) = joined.await {
        tracing::debug!(%error, "an upgraded connection to a remote API server ended");
    }
}
