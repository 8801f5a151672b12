//! `/openapi/v3`: an index, and one document for each group and version.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use super::{
    Flavor, META, Schema, Served, builtin_definition, custom, definitions, module,
    operations::{self, MEDIA_TYPES, PathItem, Plain},
    prose::{Prose, Text},
};
use crate::schema::{json, table};

/// The paths of no group: the name of the document of each, and what it says.
const OTHERS: &[(&str, Plain<'static>)] = &[
    (
        ".well-known/openid-configuration",
        Plain {
            path: "/.well-known/openid-configuration/",
            tag: "WellKnown",
            id: "getServiceAccountIssuerOpenIDConfiguration",
            answer: None,
            types: &["application/json"],
        },
    ),
    (
        "api",
        Plain {
            path: "/api/",
            tag: "core",
            id: "getCoreAPIVersions",
            answer: Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions"),
            types: MEDIA_TYPES,
        },
    ),
    (
        "apis",
        Plain {
            path: "/apis/",
            tag: "apis",
            id: "getAPIVersions",
            answer: Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList"),
            types: MEDIA_TYPES,
        },
    ),
    (
        "openid/v1/jwks",
        Plain {
            path: "/openid/v1/jwks/",
            tag: "openid",
            id: "getServiceAccountIssuerOpenIDKeyset",
            answer: None,
            types: &["application/jwk-set+json"],
        },
    ),
    (
        "version",
        Plain {
            path: "/version/",
            tag: "version",
            id: "getCodeVersion",
            answer: Some("io.k8s.apimachinery.pkg.version.Info"),
            types: &["application/json"],
        },
    ),
];

/// The paths of discovery, and what they answer with. Those of custom resources are in no document.
pub(super) fn discovery(served: &[Served<'_>], flavor: Flavor) -> (Vec<PathItem>, BTreeSet<String>) {
    let mut paths: BTreeMap<String, Value> = OTHERS.iter().map(|(_, plain)| plain.item(flavor)).collect();
    for resource in served.iter().filter(|resource| !resource.is_custom()) {
        if !resource.group.is_empty() {
            paths.extend([of_group(resource.group, flavor)]);
        }
        paths.extend([of_version(resource.group, resource.version, flavor)]);
    }
    let others = OTHERS.iter().filter_map(|(_, plain)| plain.answer.map(str::to_owned));
    let answers = others.chain(["APIGroup", "APIResourceList"].map(|name| format!("{META}{name}"))).collect();
    (paths.into_iter().collect(), answers)
}

fn of_group(group: &str, flavor: Flavor) -> PathItem {
    let answer = format!("{META}APIGroup");
    let plain = Plain {
        path: &format!("/apis/{group}/"),
        tag: &operations::tag(group, ""),
        id: &operations::discovery_id(group, "", "APIGroup"),
        answer: Some(&answer),
        types: MEDIA_TYPES,
    };
    plain.item(flavor)
}

fn of_version(group: &str, version: &str, flavor: Flavor) -> PathItem {
    let answer = format!("{META}APIResourceList");
    let plain = Plain {
        path: &format!("{}/", operations::root(group, version)),
        tag: &operations::tag(group, version),
        id: &operations::discovery_id(group, version, "APIResources"),
        answer: Some(&answer),
        types: MEDIA_TYPES,
    };
    plain.item(flavor)
}

/// The paths that have a document, with the hash of each.
pub fn hashes(served: &[Served<'_>]) -> BTreeMap<String, String> {
    let base = Sha512::new_with_prefix(table::bytes());
    let hash = |parts: &[&[u8]]| {
        let mut digest = base.clone();
        for part in parts {
            digest.update(part);
            digest.update([0]);
        }
        hexadecimal(&digest.finalize())
    };
    let mut hashes: BTreeMap<String, String> =
        OTHERS.iter().map(|(name, ..)| ((*name).to_owned(), hash(&[name.as_bytes()]))).collect();
    for resource in served {
        if !resource.group.is_empty() && !resource.is_custom() {
            let name = format!("apis/{}", resource.group);
            hashes.entry(name).or_insert_with_key(|name| hash(&[name.as_bytes()]));
        }
        let name = document_name(resource.group, resource.version);
        hashes.entry(name).or_insert_with(|| {
            let mut parts: Vec<Vec<u8>> = Vec::new();
            for one in group_version(served, resource.group, resource.version) {
                let names: Vec<&str> = one.subresources.iter().map(|s| s.name).collect();
                parts.push(format!("{}/{}/{}/{names:?}", one.group, one.version, one.plural).into_bytes());
                if let Schema::Custom(schema) = one.schema {
                    parts.push(schema.packed().to_vec());
                }
            }
            hash(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
        });
    }
    hashes
}

/// A hash of everything, with those of what remote servers add.
pub fn hash_of_all<'r>(served: &[Served<'_>], remote: impl Iterator<Item = &'r str>) -> String {
    let mut digest = Sha512::new();
    for (name, hash) in hashes(served) {
        digest.update(name);
        digest.update(hash);
    }
    remote.for_each(|hash| digest.update(hash));
    hexadecimal(&digest.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
}

/// The index, with the documents of remote servers by their names.
pub fn index(served: &[Served<'_>], remote: &BTreeMap<String, String>) -> Vec<u8> {
    let mut paths = serde_json::Map::new();
    for (name, url) in remote {
        paths.insert(name.clone(), json!({"serverRelativeURL": url}));
    }
    for (name, hash) in hashes(served) {
        let url = format!("/openapi/v3/{name}?hash={hash}");
        paths.insert(name, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths}).to_string().into_bytes()
}

/// The document at a path below `/openapi/v3/`, such as `apis/apps/v1`.
pub fn document(name: &str, served: &[Served<'_>]) -> Option<Vec<u8>> {
    let text = Text::unpack();
    let prose = text.index();
    if let Some((_, plain)) = OTHERS.iter().find(|(other, _)| *other == name) {
        let answers = plain.answer.iter().map(|name| (*name).to_owned()).collect();
        return Some(assemble(vec![plain.item(Flavor::V3)], &answers, &[], &prose));
    }
    let mut parts = name.split('/');
    let (group, version) = match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
        ("api", version, None, None) => ("", Some(version)),
        ("apis", group, version, None) => (group, version),
        _ => return None,
    };
    let Some(version) = version else {
        served.iter().find(|s| s.group == group && !s.is_custom())?;
        let answers = BTreeSet::from([format!("{META}APIGroup")]);
        return Some(assemble(vec![of_group(group, Flavor::V3)], &answers, &[], &prose));
    };

    let served: Vec<&Served<'_>> = group_version(served, group, version).collect();
    if served.is_empty() {
        return None;
    }
    let (mut paths, mut roots) = (Vec::new(), BTreeSet::new());
    if served.iter().any(|resource| !resource.is_custom()) {
        paths.push(of_version(group, version, Flavor::V3));
        roots.insert(format!("{META}APIResourceList"));
    }
    for resource in &served {
        paths.extend(operations::paths(resource, Flavor::V3));
    }
    for resource in &served {
        roots.extend(referred(resource));
    }
    Some(assemble(paths, &roots, &served, &prose))
}

fn group_version<'s>(
    served: &'s [Served<'s>],
    group: &'s str,
    version: &'s str,
) -> impl Iterator<Item = &'s Served<'s>> {
    served.iter().filter(move |s| s.group == group && s.version == version)
}

fn document_name(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The built-in definitions that a resource's operations refer to.
pub(super) fn referred(resource: &Served<'_>) -> Vec<String> {
    let mut names: Vec<String> = ["DeleteOptions", "Status", "Patch", "WatchEvent", "ObjectMeta", "ListMeta"]
        .map(|name| format!("{META}{name}"))
        .into();
    if let Schema::Builtin(name) = resource.schema {
        names.push(name.to_owned());
        if resource.has("list") {
            names.push(resource.list_definition());
        }
    }
    names.extend(
        resource
            .subresources
            .iter()
            .filter_map(|s| builtin_definition(s.group, s.version, s.kind).map(str::to_owned)),
    );
    names
}

/// The modules of the built-in kinds among these resources.
pub(super) fn groups<'s>(served: impl Iterator<Item = &'s Served<'s>>) -> Vec<(String, &'s str, &'s str)> {
    let mut groups = Vec::new();
    for resource in served {
        let own = (resource.group, resource.version);
        for (group, version) in resource.subresources.iter().map(|s| (s.group, s.version)).chain([own]) {
            let entry = (module(group, version), group, version);
            if !groups.contains(&entry) {
                groups.push(entry);
            }
        }
    }
    groups
}

fn assemble(
    mut paths: Vec<PathItem>,
    roots: &BTreeSet<String>,
    served: &[&Served<'_>],
    prose: &Prose<'_>,
) -> Vec<u8> {
    let mut names = BTreeSet::new();
    for root in roots {
        definitions::reachable(root, &mut names);
    }
    let groups = groups(served.iter().copied());
    let info = if served.iter().all(|resource| resource.is_custom()) && !served.is_empty() {
        r#"{"title":"Kubernetes CRD Swagger","version":"v0.1.0"}"#
    } else {
        r#"{"title":"Kubernetes","version":"v1.36.2"}"#
    };
    let mut out = format!(r#"{{"openapi":"3.0.0","info":{info},"paths":{{"#).into_bytes();
    paths.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (at, (path, item)) in paths.iter().enumerate() {
        member(&mut out, at, path, item);
    }
    out.extend_from_slice(br#"},"components":{"schemas":{"#);
    let mut at = 0;
    for resource in served {
        if let Schema::Custom(schema) = resource.schema {
            let object = custom::object(resource, &schema.text(), Flavor::V3, prose);
            member(&mut out, at, &resource.definition(), &object);
            let list = custom::list(resource, Flavor::V3, prose);
            member(&mut out, at + 1, &resource.list_definition(), &list);
            at += 2;
        }
    }
    for name in &names {
        member(&mut out, at, name, &definitions::definition(name, Flavor::V3, &groups, prose));
        at += 1;
    }
    out.extend_from_slice(
        br#"},"securitySchemes":{"BearerToken":{"type":"apiKey","description":"Bearer Token authentication","name":"authorization","in":"header"}}}}"#,
    );
    out
}

pub(super) fn member(out: &mut Vec<u8>, at: usize, name: &str, value: &Value) {
    if at > 0 {
        out.push(b',');
    }
    json::write_string(name, out);
    out.push(b':');
    json::write(value, None, out);
}
