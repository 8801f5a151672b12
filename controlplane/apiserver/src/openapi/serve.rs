//! The HTTP side of the documents: formats, hashes and caching.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    Schema, Served, ServedSubresource,
    remote::{Remote, Spec},
    v2, v3,
};
use crate::{
    body::{self, Response},
    catalog::Catalog,
    custom::CustomResource,
    options::Query,
    registry::{RESOURCES, Resource, Subresource},
    respond,
};

/// What every custom resource can do.
const CUSTOM_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Answers `/openapi/…`; `segments` are those of the path, and `remote` is what other servers add.
pub fn serve(
    catalog: &Catalog,
    remote: &Remote,
    segments: &[&str],
    headers: &HeaderMap,
    query: &Query,
) -> Response {
    let custom = catalog.custom();
    let served: Vec<Served<'_>> = RESOURCES
        .iter()
        .map(Served::from)
        .chain(custom.values().map(|resource| Served::from(resource.as_ref())))
        .collect();
    match segments {
        ["openapi", "v2"] => version_two(&served, &remote.specs, headers),
        ["openapi", "v3"] => {
            let index = v3::index(&served, &remote.documents);
            respond::bytes(StatusCode::OK, "text/plain; charset=utf-8", index)
        }
        ["openapi", "v3", name @ ..] => version_three(&name.join("/"), &served, headers, query),
        _ => respond::page_not_found(),
    }
}

fn version_two(served: &[Served<'_>], specs: &[Arc<Spec>], headers: &HeaderMap) -> Response {
    let hash = v3::hash_of_all(served, specs.iter().map(|spec| spec.hash.as_str()));
    if is_known(headers, &hash) {
        return unchanged(&hash);
    }
    let mut response = match format(headers) {
        Format::Json => respond::bytes(StatusCode::OK, "application/json", v2::json(served, specs)),
        Format::Protobuf => respond::bytes(StatusCode::OK, v2::PROTOBUF, v2::protobuf(served, specs)),
        Format::Other => return not_acceptable(),
    };
    add_tag(&mut response, &hash);
    response
}

fn version_three(name: &str, served: &[Served<'_>], headers: &HeaderMap, query: &Query) -> Response {
    let Some(hash) = v3::hashes(served).remove(name) else { return nothing(StatusCode::NOT_FOUND) };
    let wanted = query.get("hash");
    if !wanted.is_empty() && wanted != hash {
        let mut response = nothing(StatusCode::MOVED_PERMANENTLY);
        if let Ok(location) = HeaderValue::from_str(&format!("/openapi/v3/{name}?hash={hash}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        return response;
    }
    if is_known(headers, &hash) {
        return unchanged(&hash);
    }
    if format(headers) != Format::Json {
        return not_acceptable();
    }
    let Some(document) = v3::document(name, served) else { return nothing(StatusCode::NOT_FOUND) };
    let mut response = respond::bytes(StatusCode::OK, "application/json", document);
    add_tag(&mut response, &hash);
    if !wanted.is_empty() {
        // What a hash names never changes.
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    }
    response
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Protobuf,
    Other,
}

/// The first format that the client accepts and that there is.
fn format(headers: &HeaderMap) -> Format {
    let accepted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accepted.trim().is_empty() {
        return Format::Json;
    }
    let formats = accepted.split(',').filter_map(|range| match range.split(';').next()?.trim() {
        "*/*" | "application/*" | "application/json" => Some(Format::Json),
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        | "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" => Some(Format::Protobuf),
        _ => None,
    });
    formats.into_iter().next().unwrap_or(Format::Other)
}

/// What the real server says to those who accept none of the formats: nothing.
fn not_acceptable() -> Response {
    let mut response = nothing(StatusCode::NOT_ACCEPTABLE);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn nothing(code: StatusCode) -> Response {
    let mut response = Response::new(body::empty());
    *response.status_mut() = code;
    response
}

fn is_known(headers: &HeaderMap, hash: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    known.split(',').any(|tag| tag.trim().trim_start_matches("W/").trim_matches('"') == hash)
}

fn unchanged(hash: &str) -> Response {
    let mut response = nothing(StatusCode::NOT_MODIFIED);
    add_tag(&mut response, hash);
    response
}

fn add_tag(response: &mut Response, hash: &str) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{hash}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
}

impl<'a> From<&'a Resource> for Served<'a> {
    fn from(resource: &'a Resource) -> Self {
        let subresources = resource.subresources.iter();
        Self {
            group: resource.group,
            version: resource.version,
            kind: resource.kind,
            list_kind: format!("{}List", resource.kind),
            plural: resource.plural,
            namespaced: resource.namespaced,
            verbs: resource.verbs,
            subresources: subresources
                .map(|s| subresource(s, resource.group, resource.version, resource.kind))
                .collect(),
            schema: Schema::Builtin(resource.type_name),
        }
    }
}

impl<'a> From<&'a CustomResource> for Served<'a> {
    fn from(resource: &'a CustomResource) -> Self {
        let (group, version, kind) = (&resource.group, &resource.version, &resource.kind);
        Self {
            group,
            version,
            kind,
            list_kind: resource.list_kind.clone(),
            plural: &resource.plural,
            namespaced: resource.namespaced,
            verbs: CUSTOM_VERBS,
            subresources: resource
                .subresources
                .iter()
                .map(|s| subresource(s, group, version, kind))
                .collect(),
            schema: Schema::Custom(&resource.schema),
        }
    }
}

/// What a subresource leaves out is that of its resource.
fn subresource<'a>(
    subresource: &'a Subresource,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
) -> ServedSubresource<'a> {
    let or = |own: &'a str, other: &'a str| if own.is_empty() { other } else { own };
    ServedSubresource {
        name: subresource.name,
        // The core group is empty, so the version tells whether there is a group.
        group: if subresource.version.is_empty() { group } else { subresource.group },
        version: or(subresource.version, version),
        kind: or(subresource.kind, kind),
        verbs: subresource.verbs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        headers
    }

    fn code(segments: &[&str], headers: &HeaderMap, query: &str) -> StatusCode {
        serve(&Catalog::default(), &Remote::default(), segments, headers, &Query::parse(query)).status()
    }

    #[test]
    fn documents_of_the_index_are_served_and_known_by_their_hash() {
        let catalog = Catalog::default();
        let served: Vec<Served<'_>> = RESOURCES.iter().map(Served::from).collect();
        let hashes = v3::hashes(&served);
        for name in ["api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version"] {
            assert!(hashes.contains_key(name), "{name}");
            let segments: Vec<&str> = ["openapi", "v3"].into_iter().chain(name.split('/')).collect();
            assert_eq!(code(&segments, &HeaderMap::new(), ""), StatusCode::OK, "{name}");
        }

        let segments = ["openapi", "v3", "apis", "batch", "v1"];
        let hash = &hashes["apis/batch/v1"];
        assert_eq!(code(&segments, &HeaderMap::new(), "hash=old"), StatusCode::MOVED_PERMANENTLY);
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, format!("\"{hash}\"").parse().unwrap());
        assert_eq!(code(&segments, &headers, &format!("hash={hash}")), StatusCode::NOT_MODIFIED);
        let none = serve(
            &catalog,
            &Remote::default(),
            &["openapi", "v3", "nope"],
            &HeaderMap::new(),
            &Query::parse(""),
        );
        assert_eq!(none.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn clients_get_the_format_that_they_ask_for() {
        let kind = |accepted: &str| {
            let headers = accept(accepted);
            let response = serve(
                &Catalog::default(),
                &Remote::default(),
                &["openapi", "v2"],
                &headers,
                &Query::parse(""),
            );
            response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned()
        };
        assert_eq!(kind("application/json, */*"), "application/json");
        assert_eq!(kind("application/com.github.proto-openapi.spec.v2@v1.0+protobuf"), v2::PROTOBUF);
        let refused = serve(
            &Catalog::default(),
            &Remote::default(),
            &["openapi", "v2"],
            &accept("text/html"),
            &Query::parse(""),
        );
        assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
    }

    #[test]
    fn every_served_kind_has_its_definition() {
        let served: Vec<Served<'_>> = RESOURCES.iter().map(Served::from).collect();
        let document: serde_json::Value = serde_json::from_slice(&v2::json(&served, &[])).unwrap();
        for resource in &served {
            let definition = &document["definitions"][resource.definition()];
            let kind = &definition["x-kubernetes-group-version-kind"][0];
            assert_eq!(kind["kind"], resource.kind, "{}", resource.plural);
            assert_eq!(kind["group"], resource.group, "{}", resource.plural);
        }
    }
}
