//! Discovery: which groups, versions and resources there are, in the plain and the aggregated form
//! (<https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>).

use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::{
    aggregation,
    body::{self, Response},
    bootstrap,
    negotiation::{self, Encoding, Offer, ranges},
    options::Query,
    registry::{RESOURCES, Resource},
    resource::api_version,
    respond,
    server::Server,
    status::ApiError,
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_YAML: &str = "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A resource as discovery shows it, whatever it comes from.
struct Shown<'a> {
    plural: &'a str,
    singular: &'a str,
    namespaced: bool,
    kind: &'a str,
    kind_group: &'a str,
    kind_version: &'a str,
    verbs: Vec<&'a str>,
    short_names: Vec<&'a str>,
    categories: Vec<&'a str>,
    subresources: Vec<ShownSubresource<'a>>,
}

struct ShownSubresource<'a> {
    name: &'a str,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    verbs: Vec<&'a str>,
}

const CUSTOM_VERBS: &[&str] =
    &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// Runs `show` on every resource of a group and version, in the order of discovery.
fn each<R>(server: &Server, group: &str, version: &str, mut show: impl FnMut(Shown<'_>) -> R) -> Vec<R> {
    let mut shown: Vec<R> = RESOURCES
        .iter()
        .filter(|r| r.group == group && r.version == version)
        .map(|r: &Resource| {
            show(Shown {
                plural: r.plural,
                singular: r.singular,
                namespaced: r.namespaced,
                kind: r.kind,
                kind_group: "",
                kind_version: "",
                verbs: r.verbs.to_vec(),
                short_names: r.short_names.to_vec(),
                categories: r.categories.to_vec(),
                subresources: r
                    .subresources
                    .iter()
                    .map(|s| ShownSubresource {
                        name: s.name,
                        group: s.group,
                        version: s.version,
                        kind: s.kind,
                        verbs: s.verbs.to_vec(),
                    })
                    .collect(),
            })
        })
        .collect();
    for ((g, v, _), r) in server.catalog.custom().iter() {
        if g == group && v == version {
            shown.push(show(Shown {
                plural: &r.plural,
                singular: &r.singular,
                namespaced: r.namespaced,
                kind: &r.kind,
                kind_group: group,
                kind_version: version,
                verbs: CUSTOM_VERBS.to_vec(),
                short_names: r.short_names.iter().map(String::as_str).collect(),
                categories: r.categories.iter().map(String::as_str).collect(),
                subresources: r
                    .subresources
                    .iter()
                    .map(|s| ShownSubresource {
                        name: s.name,
                        group: s.group,
                        version: s.version,
                        kind: if s.kind.is_empty() { &r.kind } else { s.kind },
                        verbs: s.verbs.to_vec(),
                    })
                    .collect(),
            }));
        }
    }
    shown
}

/// The groups other than core with their versions, the preferred one first.
pub fn group_versions(server: &Server) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |group: &str, version: &str| match groups.iter_mut().find(|(g, _)| g == group) {
        Some((_, versions)) if versions.iter().any(|v| v == version) => {}
        Some((_, versions)) => versions.push(version.into()),
        None => groups.push((group.into(), vec![version.into()])),
    };
    for resource in RESOURCES.iter().filter(|r| !r.group.is_empty()) {
        add(resource.group, resource.version);
    }
    let custom = server.catalog.custom();
    let mut versions: Vec<(&str, &str)> = custom.keys().map(|(g, v, _)| (g.as_str(), v.as_str())).collect();
    versions.sort_by(|a, b| a.0.cmp(b.0).then_with(|| version_order(b.1).cmp(&version_order(a.1))));
    for (group, version) in versions {
        add(group, version);
    }
    add_remote(server, &mut groups);
    groups
}

/// Adds what other servers answer for, where the priorities of the groups put it.
fn add_remote(server: &Server, groups: &mut Vec<(String, Vec<String>)>) {
    let remotes = server.aggregation.remotes();
    let mut remotes: Vec<_> = remotes.values().filter(|remote| !remote.group.is_empty()).collect();
    remotes.sort_by_cached_key(|r| std::cmp::Reverse((r.version_priority, version_order(&r.version))));
    let remote_priority =
        |group: &str| remotes.iter().filter(|r| r.group == group).map(|r| r.group_priority).max();
    for remote in &remotes {
        let version = remote.version.clone();
        if let Some((_, versions)) = groups.iter_mut().find(|(group, _)| *group == remote.group) {
            if !versions.contains(&version) {
                versions.push(version);
            }
            continue;
        }
        let own = (remote_priority(&remote.group).unwrap_or_default(), std::cmp::Reverse(&remote.group));
        let place = groups.iter().position(|(group, _)| {
            let priority = remote_priority(group).unwrap_or_else(|| bootstrap::group_priority(group));
            (priority, std::cmp::Reverse(group)) < own
        });
        groups.insert(place.unwrap_or(groups.len()), (remote.group.clone(), vec![version]));
    }
}

/// The priority of a version: stable before beta before alpha, higher numbers first, anything else last.
pub fn version_order(version: &str) -> (u8, u64, u64, std::cmp::Reverse<String>) {
    let other = (0, 0, 0, std::cmp::Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else { return other };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Ok(major) = rest[..digits].parse() else { return other };
    let (stage, minor) = match &rest[digits..] {
        "" => (3, ""),
        tail if tail.starts_with("beta") => (2, &tail[4..]),
        tail if tail.starts_with("alpha") => (1, &tail[5..]),
        _ => return other,
    };
    match minor {
        "" => (stage, major, 0, std::cmp::Reverse(String::new())),
        minor => match minor.parse() {
            Ok(minor) => (stage, major, minor, std::cmp::Reverse(String::new())),
            Err(_) => other,
        },
    }
}

fn group_document(group: &str, versions: &[String]) -> Value {
    let version = |v: &String| json!({"groupVersion": api_version(group, v), "version": v});
    json!({
        "name": group,
        "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version),
    })
}

fn answer(document: &Value, headers: &HeaderMap, type_name: &str) -> Result<Response, ApiError> {
    let accepted = negotiation::accept(headers, Offer::Plain)?;
    let ty =
        crate::schema::types::Type::builtin(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{type_name}"));
    Ok(respond::document(StatusCode::OK, document, accepted.encoding, ty))
}

/// `/api` and `/apis`
pub fn groups(server: &Server, named: bool, headers: &HeaderMap) -> Result<Response, ApiError> {
    if let Some(encoding) = wants_aggregated(headers)? {
        return Ok(aggregate(server, named, encoding, headers));
    }
    if named {
        let groups: Vec<Value> =
            group_versions(server).iter().map(|(g, versions)| group_document(g, versions)).collect();
        return answer(
            &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
            headers,
            "APIGroupList",
        );
    }
    let address = &server.parts.advertise_address;
    answer(
        &json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }),
        headers,
        "APIVersions",
    )
}

/// How to encode the aggregated form, if that is the best that the client accepts; an error if only forms of it
/// are accepted that are not served.
fn wants_aggregated(headers: &HeaderMap) -> Result<Option<Encoding>, ApiError> {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()) else { return Ok(None) };
    let mut refused = false;
    for range in ranges(accept) {
        match (range.media_type, range.parameter("g"), range.parameter("v"), range.parameter("as")) {
            (
                "application/json" | "application/yaml" | "*/*" | "application/*",
                Some("apidiscovery.k8s.io"),
                Some("v2"),
                Some("APIGroupDiscoveryList"),
            ) => {
                let yaml = range.media_type == "application/yaml";
                return Ok(Some(if yaml { Encoding::Yaml } else { Encoding::Json }));
            }
            (_, Some("apidiscovery.k8s.io"), ..) => refused = true,
            (
                "application/json" | "*/*" | "application/yaml" | "application/vnd.kubernetes.protobuf",
                None,
                ..,
            ) => {
                return Ok(None);
            }
            _ => {}
        }
    }
    if refused {
        return Err(negotiation::only_encodings());
    }
    Ok(None)
}

fn aggregate(server: &Server, named: bool, encoding: Encoding, headers: &HeaderMap) -> Response {
    let groups = if named { group_versions(server) } else { vec![(String::new(), vec!["v1".to_owned()])] };
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    if let Some(remote) = server.aggregation.find(&format!("/apis/{group}/{version}")) {
                        return aggregation::discovery::version(&remote);
                    }
                    json!({
                        "version": version,
                        "resources": each(server, group, version, |r| aggregated_resource(&r)),
                        "freshness": "Current",
                    })
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    let hash = Sha512::digest(document.to_string());
    let tag = format!("\"{}\"", hash.iter().map(|byte| format!("{byte:02X}")).collect::<String>());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == &*tag);
    let mut response = if known {
        let mut unchanged = Response::new(body::empty());
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        let mut response = respond::document(StatusCode::OK, &document, encoding, None);
        let shown = if encoding == Encoding::Yaml { AGGREGATED_YAML } else { AGGREGATED };
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(shown));
        response
    };
    let headers = response.headers_mut();
    headers.extend(header::HeaderValue::try_from(tag).ok().map(|tag| (header::ETAG, tag)));
    headers.insert(header::VARY, header::HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("public"));
    response
}

/// Built-in kinds leave group and version empty where they are those of the resource; custom ones say them.
fn aggregated_resource(resource: &Shown<'_>) -> Value {
    let mut shown = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.kind_group, "version": resource.kind_version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        shown["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        shown["categories"] = json!(resource.categories);
    }
    if !resource.subresources.is_empty() {
        shown["subresources"] = resource
            .subresources
            .iter()
            .map(|s| {
                json!({
                    "subresource": s.name,
                    "responseKind": {"group": s.group, "version": s.version, "kind": s.kind},
                    "verbs": s.verbs,
                })
            })
            .collect();
    }
    shown
}

/// `/apis/<group>`
pub fn group(server: &Server, group: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let groups = group_versions(server);
    let versions = groups.iter().find(|(g, _)| g == group).map(|(_, v)| v.as_slice()).unwrap_or_default();
    let mut document = group_document(group, versions);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    answer(&document, headers, "APIGroup")
}

/// `/apis/<group>/<version>` and `/api/v1`
pub fn resources(
    server: &Server,
    group: &str,
    version: &str,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let list = each(server, group, version, |r| {
        let mut shown = json!({
            "name": r.plural,
            "singularName": r.singular,
            "namespaced": r.namespaced,
            "kind": r.kind,
            "verbs": r.verbs,
        });
        if !r.short_names.is_empty() {
            shown["shortNames"] = json!(r.short_names);
        }
        if !r.categories.is_empty() {
            shown["categories"] = json!(r.categories);
        }
        let stored = r.verbs.contains(&"list") && r.plural != "componentstatuses";
        if stored {
            let stored = RESOURCES
                .iter()
                .find(|b| (b.group, b.version, b.plural) == (group, version, r.plural))
                .and_then(|b| b.stored_as);
            let (group, version) = stored.unwrap_or((group, version));
            shown["storageVersionHash"] = storage_version_hash(group, version, r.kind).into();
        }
        let mut all = vec![shown];
        for s in &r.subresources {
            let mut shown = json!({
                "name": format!("{}/{}", r.plural, s.name),
                "singularName": "",
                "namespaced": r.namespaced,
                "kind": s.kind,
                "verbs": s.verbs,
            });
            if !s.version.is_empty() && (s.group, s.version) != (group, version) {
                shown["group"] = s.group.into();
                shown["version"] = s.version.into();
            }
            all.push(shown);
        }
        all
    });
    let mut document = json!({
        "kind": "APIResourceList",
        "groupVersion": api_version(group, version),
        "resources": list.into_iter().flatten().collect::<Vec<_>>(),
    });
    if !group.is_empty() {
        document["apiVersion"] = "v1".into();
    }
    answer(&document, headers, "APIResourceList")
}

/// The first eight bytes of the SHA-256 of `group/version/kind`, in base64; what it hashes is the
/// server's own choice, clients only compare it.
fn storage_version_hash(group: &str, version: &str, kind: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use sha2::{Digest, Sha256};
    // Definitions were first stored as v1beta1, and their hash has stayed.
    let version = if kind == "CustomResourceDefinition" { "v1beta1" } else { version };
    let hash = Sha256::digest(format!("{group}/{version}/{kind}"));
    STANDARD.encode(&hash[..8])
}

/// `/`
pub fn roots(server: &Server, headers: &HeaderMap) -> Response {
    let mut paths =
        vec!["/.well-known/openid-configuration".to_owned(), "/api".into(), "/api/v1".into(), "/apis".into()];
    for (group, versions) in group_versions(server) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{group}/{v}")));
    }
    for path in [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ] {
        paths.push(path.into());
    }
    paths.sort();
    respond::document(
        StatusCode::OK,
        &json!({"paths": paths}),
        negotiation::encoding(&Query::default(), headers),
        None,
    )
}

/// `/version`, which is JSON whatever the client likes best.
pub fn answer_version(headers: &HeaderMap) -> Result<Response, ApiError> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let is_json = |media_type| matches!(media_type, "*/*" | "application/json");
    if !accept.trim().is_empty() && !ranges(accept).iter().any(|range| is_json(range.media_type)) {
        return Err(negotiation::no_representation("application/json"));
    }
    Ok(respond::document(StatusCode::OK, &version(), Encoding::Json, None))
}

/// What a build of the release whose API is served says of itself, when it was made from the sources without the stamps
/// of a release: clients compare the versions, and a tenant is told nothing that another cluster would not say.
/// `vkube --version` says what this really is.
fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": "v1.36.2",
        "gitCommit": "$Format:%H$",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.26.6",
        "compiler": "gc",
        "platform": platform(),
    })
}

/// What this was built for, in Go's names.
fn platform() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    format!("{os}/{architecture}")
}
