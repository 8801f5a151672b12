//! Requests to a whole server in memory: none may panic, and none may be answered with an internal error.

use std::cell::{OnceCell, RefCell};

use arbitrary::{Result, Unstructured};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use vkube_apiserver::{body, registry::Resource, schema::types::Type};

use crate::world::{THINGS, World};

const NAMES: &[&str] = &["a", "b", "default", "kubernetes", "a.example.com", "v1.example.com", "%", "A"];

const QUERIES: &[&str] = &[
    "",
    "dryRun=All",
    "fieldManager=m&force=true",
    "fieldManager=m",
    "fieldValidation=Strict",
    "fieldValidation=Warn",
    "limit=1",
    "limit=2&labelSelector=a",
    "continue=x",
    // Tokens of a known revision, of one that cannot be, of one to come, and for the newest.
    "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJkZWZhdWx0L2FcdTAwMDAifQ",
    "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiZGVmYXVsdC9hXHUwMDAwIn0",
    "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6OTk5OTk5OTk5OSwic3RhcnQiOiIuLi94In0",
    "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiIifQ",
    "labelSelector=a%3Db",
    "labelSelector=a+in+%28b%2Cc%29%2C%21d",
    "fieldSelector=metadata.name%3Da",
    "fieldSelector=spec.name%3Da",
    "resourceVersion=0",
    "pretty=true",
    "includeObject=Object",
    "includeObject=None",
    "propagationPolicy=Foreground",
    "propagationPolicy=Orphan",
    "gracePeriodSeconds=0",
    "resourceVersionMatch=Exact&resourceVersion=1",
    "resourceVersionMatch=NotOlderThan&resourceVersion=0",
];

const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
];

const DOCUMENTS: &[&str] =
    &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor", ""];

const ACCEPTS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/cbor",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/json;stream=watch;q=0.5,*/*",
];

fn request(u: &mut Unstructured<'_>) -> Result<Option<Request<body::Body>>> {
    let resource = if u.ratio(1, 8)? { None } else { Some(crate::resource(u)?) };
    let methods = [Method::POST, Method::PUT, Method::PATCH, Method::GET, Method::DELETE];
    let method = u.choose(&methods)?.clone();
    let mut path = resource.map_or_else(|| THINGS.to_owned(), collection);
    let name = *u.choose(NAMES)?;
    if method != Method::POST && u.ratio(9, 10)? {
        path = format!("{path}/{name}");
        if u.ratio(1, 4)? {
            let subresources = resource.map_or(&[][..], |resource| resource.subresources);
            let names = subresources.iter().map(|sub| sub.name).collect::<Vec<_>>();
            path = format!("{path}/{}", u.choose(&names).unwrap_or(&"status"));
        }
    }
    let types = if method == Method::PATCH { PATCHES } else { DOCUMENTS };
    // Usually the first, so that most documents are read.
    let content_type = *if method != Method::PATCH && u.ratio(4, 5)? { &types[0] } else { u.choose(types)? };
    let uri = format!("{path}?{}", u.choose(QUERIES)?);
    let accept = *u.choose(ACCEPTS)?;
    let body = match method {
        Method::GET | Method::DELETE => body::empty(),
        Method::PATCH if content_type.contains("json-patch") => body::full(operations(u)?.to_string()),
        _ if u.ratio(1, 10)? => body::full(u.arbitrary::<Vec<u8>>()?),
        _ => body::full(object(u, resource, name)?.to_string()),
    };
    let request = Request::builder().method(method).uri(uri).header("content-type", content_type);
    Ok(request.header("accept", accept).body(body).ok())
}

fn collection(resource: &Resource) -> String {
    let root =
        if resource.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", resource.group) };
    let namespace = if resource.namespaced { "/namespaces/default" } else { "" };
    format!("{root}/{}{namespace}/{}", resource.version, resource.plural)
}

fn operations(u: &mut Unstructured<'_>) -> Result<Value> {
    const PATHS: &[&str] =
        &["/metadata/labels", "/metadata/labels/a", "/spec", "/spec/a/-", "/spec/replicas", "/status"];
    let count = u.int_in_range(0..=3)?;
    let operations = (0..count).map(|_| {
        let op = u.choose(&["add", "remove", "replace", "test", "copy", "move"])?;
        Ok(json!({"op": op, "path": u.choose(PATHS)?, "from": u.choose(PATHS)?, "value": crate::any(u, 2)?}))
    });
    Ok(operations.collect::<Result<Vec<_>>>()?.into())
}

/// An object of a resource; without one, of the custom resource.
fn object(u: &mut Unstructured<'_>, resource: Option<&Resource>, name: &str) -> Result<Value> {
    let (api_version, kind, mut object) = match resource {
        Some(resource) => {
            let ty = Type::builtin(resource.type_name).ok_or(arbitrary::Error::IncorrectFormat)?;
            (resource.api_version(), resource.kind, crate::value(u, ty)?)
        }
        None => ("example.com/v1".into(), "Thing", thing(u)?),
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".into(), api_version.into());
        fields.insert("kind".into(), kind.into());
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("name".into(), name.into());
            metadata.remove("namespace");
            metadata.remove("finalizers");
        }
    }
    Ok(object)
}

fn thing(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut spec = json!({});
    for _ in 0..u.int_in_range(0..=4)? {
        let (field, value) = match u.int_in_range(0..=5)? {
            0 => ("replicas", u.int_in_range(-1..=12)?.into()),
            1 => ("name", crate::text(u)?.into()),
            2 => ("a", json!([{"name": crate::text(u)?, "value": crate::any(u, 0)?}, {"name": "a"}])),
            3 => ("b", json!([crate::text(u)?, "a"])),
            4 => ("template", json!({"apiVersion": "v1", "kind": "Pod", "metadata": crate::any(u, 2)?})),
            _ => (*u.choose(&["labels", "zzz", "a", "b"])?, crate::any(u, 3)?),
        };
        spec[field] = value;
    }
    Ok(json!({"spec": spec, "status": crate::any(u, 2)?}))
}

thread_local! {
    static WORLD: OnceCell<RefCell<World>> = const { OnceCell::new() };
}

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let mut u = Unstructured::new(data);
    for _ in 0..4 {
        if u.is_empty() {
            return;
        }
        let Ok(Some(request)) = request(&mut u) else { return };
        let shown = format!("{} {}", request.method(), request.uri());
        let (status, body) =
            WORLD.with(|world| world.get_or_init(RefCell::default).borrow_mut().send(request));
        let said = String::from_utf8_lossy(&body);
        // What the real server takes for a plain error has this code too, but not the reason; invalid bindings have
        // both.
        let fine = status != StatusCode::INTERNAL_SERVER_ERROR
            || shown.contains("binding")
            || !said.contains("InternalError");
        assert!(fine, "{shown}: {said}");
    }
}
