//! Whether a remote server can be used, and what an APIService says about it.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use http::header;
use jiff::Timestamp;
use serde_json::Value;
use vkube_store::{Change, Expect, Write};

use super::{
    Remote,
    client::{Purpose, authority},
    front_proxy,
};
use crate::{
    body::{self, Request},
    custom::conditions::set_condition,
    managed_fields::{self, Reset},
    outbound::resolve,
    registry::access::{has, list_at, opt_int, str_at},
    server::{Server, builtin},
    status::ApiError,
    stored,
    user::{MASTERS, User},
};

/// How long a remote server may take to say what it serves.
pub const DISCOVERY: Duration = Duration::from_secs(5);

/// How often it is asked at once: one endpoint that answers is enough.
const ATTEMPTS: usize = 5;

/// What the condition `Available` becomes.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Why, for machines.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl Verdict {
    /// What is said of a group and version that this server answers for.
    pub fn local() -> Self {
        let message = "Local APIServices are always available".into();
        Self { status: "True", reason: "Local", message }
    }

    fn passed() -> Self {
        Self { status: "True", reason: "Passed", message: "all checks passed".into() }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }

    /// Whether only asking again can tell when this changes.
    pub fn must_be_retried(&self) -> bool {
        self.reason == "FailedDiscoveryCheck"
    }
}

/// Looks for the Service and its endpoints, and asks them.
pub async fn judge(server: &Server, remote: &Remote) -> Verdict {
    if remote.hosted {
        return Verdict::passed();
    }
    let shown = format!("service/{} in {:?}", remote.service, remote.namespace);
    let unknown = |reason, why: ApiError| Verdict {
        status: "Unknown",
        reason,
        message: format!("{shown} cannot be checked due to: {}", why.message),
    };
    let service = match server.find("", "services", &remote.namespace, &remote.service).await {
        Ok(Some(service)) => service,
        Ok(None) => return Verdict::no("ServiceNotFound", format!("{shown} is not present")),
        Err(why) => return unknown("ServiceAccessError", why),
    };
    if str_at(&service, "/spec/type") == "ClusterIP" {
        let ports = list_at(&service, "/spec/ports");
        let Some(port) = ports.iter().find(|port| opt_int(port, "/port") == Some(remote.port)) else {
            let message = format!("{shown} is not listening on port {}", remote.port);
            return Verdict::no("ServicePortError", message);
        };
        let slices = match resolve::slices(server, &remote.namespace, &remote.service).await {
            Ok(slices) => slices,
            Err(why) => return unknown("EndpointsAccessError", why),
        };
        if slices.is_empty() {
            return Verdict::no("EndpointsNotFound", format!("cannot find endpointslices for {shown}"));
        }
        let name = str_at(port, "/name");
        if !slices.iter().any(|slice| has_endpoint(slice, name)) {
            let message = format!("endpointslices for {shown} have no addresses with port name {name:?}");
            return Verdict::no("MissingEndpoints", message);
        }
    }
    let mut attempts: FuturesUnordered<_> = (0..ATTEMPTS).map(|_| probe(server, remote)).collect();
    let mut last = String::new();
    while let Some(answer) = attempts.next().await {
        match answer {
            Ok(()) => {
                return Verdict::passed();
            }
            Err(why) => last = why,
        }
    }
    Verdict::no("FailedDiscoveryCheck", last)
}

fn has_endpoint(slice: &Value, port: &str) -> bool {
    list_at(slice, "/endpoints").iter().any(resolve::is_ready)
        && list_at(slice, "/ports").iter().any(|p| str_at(p, "/name") == port && has(p, "/port"))
}

async fn probe(server: &Server, remote: &Remote) -> Result<(), String> {
    let endpoint = resolve::endpoint(server, &remote.namespace, &remote.service, remote.port).await;
    let endpoint = endpoint.map_err(|why| why.to_string())?;
    let path = remote.path();
    let url = format!("https://{}{path}", authority(&endpoint));
    let failing = |why: String| format!("failing or missing response from {url}: {why}");
    let call = remote.client.send(&endpoint, request_as(AGGREGATOR, &path)?, Purpose::Probe);
    match tokio::time::timeout(DISCOVERY, call).await {
        Ok(Ok(response)) if response.status().is_success() => Ok(()),
        Ok(Ok(response)) => Err(failing(format!("bad status from {url}: {}", response.status().as_u16()))),
        Ok(Err(why)) => Err(failing(format!("Get {url:?}: {why}"))),
        Err(_) => Err(failing(format!(
            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        ))),
    }
}

/// Who asks remote servers what they serve.
pub const AGGREGATOR: &str = "system:kube-aggregator";

/// A request of the aggregator for itself.
pub fn request_as(user: &str, path: &str) -> Result<Request, String> {
    let request = http::Request::get(path).header(header::ACCEPT, "application/json");
    let mut request = request.body(body::empty()).map_err(|why| why.to_string())?;
    let user = User { name: user.into(), groups: vec![MASTERS.into()], ..User::default() };
    front_proxy::identify(request.headers_mut(), &user);
    Ok(request)
}

/// Writes the condition of an APIService, if it is not that already.
pub async fn write(server: &Server, name: &str, verdict: &Verdict) -> Result<(), ApiError> {
    let definition = builtin("apiregistration.k8s.io", "apiservices")?;
    let key = definition.key("", name);
    loop {
        let Some(entry) = server.store().get(&key, None).await? else { return Ok(()) };
        let old = stored::decode(&entry)?;
        let (mut new, now) = (old.clone(), Timestamp::now());
        set_condition(&mut new, "Available", verdict.status, verdict.reason, &verdict.message, now);
        if new == old {
            return Ok(());
        }
        let request = managed_fields::Request {
            manager: "kube-apiserver",
            api_version: "apiregistration.k8s.io/v1",
            kind: definition.kind(),
            subresource: "status",
            ty: definition.ty()?,
            now,
            reset: &Reset::Fields(&["spec"]),
            convert: None,
        };
        managed_fields::on_update(Some(&old), &mut new, &request);
        let document = stored::encode(&mut new, &definition)?;
        let change = Change::Put { document, ttl: None };
        let write = Write { key: key.clone(), expect: Expect::Modified(entry.modified), change };
        match server.store().commit(vec![write]).await {
            Ok(_) => return Ok(()),
            // Somebody else has written in between.
            Err(vkube_store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
