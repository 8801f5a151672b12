//! Requests to a whole server in memory: none may panic, and none may be answered with an internal error.

use std::cell::OnceCell;

use arbitrary::{Result, Unstructured};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::Service;
use vkube_apiserver::{
    body,
    instance::{Instance, Options},
    registry::Resource,
    schema::types::Type,
    user::User,
};

/// Requests to one server; after that a new one is made, so that objects do not pile up.
const REQUESTS: usize = 5_000;

struct World {
    runtime: Runtime,
    instance: Option<Instance>,
    served: usize,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, instance: None, served: 0 }
    }

    fn send(&mut self, request: http::Request<body::Body>) -> (StatusCode, Vec<u8>) {
        if self.served >= REQUESTS
            && let Some(instance) = self.instance.take()
        {
            self.runtime.block_on(instance.stop());
            self.served = 0;
        }
        self.served += 1;
        let Self { runtime, instance, .. } = self;
        runtime.block_on(async {
            let options = Options { authorization_modes: vec!["AlwaysAllow".into()], ..Options::default() };
            if instance.is_none() {
                *instance = Some(Instance::start(options).await.expect("a server in memory starts"));
            }
            let server = &instance.as_ref().expect("it was started").server;
            let Ok(response) = server.service(User::component("fuzz")).call(request).await;
            let status = response.status();
            let bytes = response.into_body().collect().await.map(|body| body.to_bytes().to_vec());
            (status, bytes.unwrap_or_default())
        })
    }
}

fn request(u: &mut Unstructured<'_>) -> Result<Option<http::Request<body::Body>>> {
    const NAMES: &[&str] = &["a", "b", "default", "kubernetes", "a.example.com", "v1.example.com", "%", "A"];
    const QUERIES: &[&str] = &[
        "",
        "dryRun=All",
        "fieldManager=m&force=true",
        "fieldValidation=Strict",
        "limit=1",
        "continue=x",
        "labelSelector=a%3Db",
        "fieldSelector=metadata.name%3Da",
        "resourceVersion=0",
        "pretty=true",
        "propagationPolicy=Foreground",
        "gracePeriodSeconds=0",
        "resourceVersionMatch=Exact&resourceVersion=1",
    ];
    const PATCHES: &[&str] = &[
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];
    const ACCEPTS: &[&str] = &[
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ];
    let resource = crate::resource(u)?;
    let method = u.choose(&[Method::POST, Method::PUT, Method::PATCH, Method::GET, Method::DELETE])?.clone();
    let content_type = if method == Method::PATCH { *u.choose(PATCHES)? } else { "application/json" };
    let mut path = collection(resource);
    let name = *u.choose(NAMES)?;
    let names_one = method != Method::POST && u.ratio(9, 10)?;
    if names_one {
        path = format!("{path}/{name}");
        if let Some(sub) =
            u.choose_iter(resource.subresources.iter()).ok().filter(|_| u.ratio(1, 4).unwrap_or(false))
        {
            path = format!("{path}/{}", sub.name);
        }
    }
    let body = match method {
        Method::GET | Method::DELETE => body::empty(),
        _ => body::full(object(u, resource, name)?.to_string()),
    };
    let uri = format!("{path}?{}", u.choose(QUERIES)?);
    let request = http::Request::builder().method(method).uri(uri).header("content-type", content_type);
    Ok(request.header("accept", *u.choose(ACCEPTS)?).body(body).ok())
}

fn collection(resource: &Resource) -> String {
    let root =
        if resource.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", resource.group) };
    let namespace = if resource.namespaced { "/namespaces/default" } else { "" };
    format!("{root}/{}{namespace}/{}", resource.version, resource.plural)
}

fn object(u: &mut Unstructured<'_>, resource: &Resource, name: &str) -> Result<Value> {
    let ty = Type::builtin(resource.type_name).ok_or(arbitrary::Error::IncorrectFormat)?;
    let mut object = crate::value(u, ty)?;
    if let Some(fields) = object.as_object_mut() {
        let group = resource.group;
        let version = if group.is_empty() { String::new() } else { format!("{group}/") } + resource.version;
        fields.insert("apiVersion".into(), version.into());
        fields.insert("kind".into(), resource.kind.into());
        let metadata = fields.entry("metadata").or_insert_with(|| serde_json::json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("name".into(), name.into());
            metadata.remove("namespace");
            metadata.remove("finalizers");
        }
    }
    Ok(object)
}

thread_local! {
    static WORLD: OnceCell<std::cell::RefCell<World>> = const { OnceCell::new() };
}

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let mut u = Unstructured::new(data);
    for _ in 0..4 {
        let Ok(Some(request)) = request(&mut u) else { return };
        let shown = format!("{} {}", request.method(), request.uri());
        let (status, body) =
            WORLD.with(|world| world.get_or_init(|| World::new().into()).borrow_mut().send(request));
        let said = String::from_utf8_lossy(&body);
        // What the real server takes for a plain error has this code too, but not the reason; invalid bindings have
        // both.
        let fine = status != StatusCode::INTERNAL_SERVER_ERROR
            || shown.contains("binding")
            || !said.contains("InternalError");
        assert!(fine, "{shown}: {said}");
    }
}
