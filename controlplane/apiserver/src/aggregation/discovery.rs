//! What remote servers serve, as the discovery of this server shows it.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};

use super::{
    Remote,
    client::Purpose,
    metrics,
    status::{AGGREGATOR, request_as},
};
use crate::{
    outbound::resolve,
    registry::access::{bool_at, list_at, str_at},
    server::Server,
};

/// The largest document that is taken, in bytes.
const MAX_DOCUMENT: usize = 16 << 20;

/// Asks a remote server what it serves; if it does not say, what it last said is kept.
pub async fn refresh(server: &Server, remote: &Remote) {
    if remote.hosted {
        return remote.set_resources(Some(metrics::resources().into()));
    }
    match fetch(server, remote).await {
        Ok(list) => remote.set_resources(Some(list.into())),
        Err(why) => tracing::warn!(why, path = remote.path(), "cannot discover a remote API server"),
    }
}

async fn fetch(server: &Server, remote: &Remote) -> Result<Value, String> {
    let answer = get(server, remote, &remote.path(), AGGREGATOR, None).await?;
    if !answer.status().is_success() {
        return Err(format!("bad status: {}", answer.status()));
    }
    serde_json::from_slice(answer.body()).map_err(|why| why.to_string())
}

/// Asks a remote server for a document, in the name of a user of the aggregator; `tag` is of the one that is
/// known.
pub async fn get(
    server: &Server,
    remote: &Remote,
    path: &str,
    user: &str,
    tag: Option<&HeaderValue>,
) -> Result<Response<Bytes>, String> {
    let endpoint = resolve::endpoint(server, &remote.namespace, &remote.service, remote.port).await;
    let endpoint = endpoint.map_err(|why| why.to_string())?;
    let call = async {
        let mut request = request_as(user, path)?;
        if let Some(tag) = tag {
            request.headers_mut().insert(header::IF_NONE_MATCH, tag.clone());
        }
        let (head, body) = remote.client.send(&endpoint, request, Purpose::Call).await?.into_parts();
        let body = Limited::new(body, MAX_DOCUMENT).collect().await.map_err(|why| why.to_string())?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    let answer = tokio::time::timeout(super::status::DISCOVERY, call).await;
    answer.map_err(|_| "it takes too long".to_owned())?
}

/// The version of a group in the aggregated form.
pub fn version(remote: &Remote) -> Value {
    let list = remote.resources();
    let freshness = if remote.is_available() && list.is_some() { "Current" } else { "Stale" };
    let mut shown = json!({"version": remote.version});
    let resources = list.as_deref().map(|list| resources(remote, list)).unwrap_or_default();
    if !resources.is_empty() {
        shown["resources"] = resources.into();
    }
    shown["freshness"] = freshness.into();
    shown
}

fn resources(remote: &Remote, list: &Value) -> Vec<Value> {
    let all = list_at(list, "/resources");
    let is_plain = |resource: &&Value| !str_at(resource, "/name").contains('/');
    all.iter()
        .filter(is_plain)
        .map(|resource| {
            let name = str_at(resource, "/name");
            let scope = if bool_at(resource, "/namespaced") { "Namespaced" } else { "Cluster" };
            let mut shown = json!({
                "resource": name,
                "responseKind": kind(remote, resource),
                "scope": scope,
                "singularResource": str_at(resource, "/singularName"),
                "verbs": list_at(resource, "/verbs"),
            });
            for field in ["shortNames", "categories"] {
                if let Some(value) = resource.get(field) {
                    shown[field] = value.clone();
                }
            }
            let subresources: Vec<Value> = all
                .iter()
                .filter_map(|sub| {
                    let subresource = str_at(sub, "/name").strip_prefix(name)?.strip_prefix('/')?;
                    let kind = kind(remote, sub);
                    let verbs = list_at(sub, "/verbs");
                    Some(json!({"subresource": subresource, "responseKind": kind, "verbs": verbs}))
                })
                .collect();
            if !subresources.is_empty() {
                shown["subresources"] = subresources.into();
            }
            shown
        })
        .collect()
}

/// The kind of a resource; group and version are those of the list where it does not say them.
fn kind(remote: &Remote, resource: &Value) -> Value {
    let or =
        |said: &str, otherwise: &str| if said.is_empty() { otherwise.to_owned() } else { said.to_owned() };
    json!({
        "group": or(str_at(resource, "/group"), &remote.group),
        "version": or(str_at(resource, "/version"), &remote.version),
        "kind": str_at(resource, "/kind"),
    })
}
