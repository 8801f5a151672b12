//! From a Service to the address of one of its endpoints.

use rand::seq::IndexedRandom;
use serde_json::Value;

use crate::{
    registry::access::{bool_at, has, list_at, opt_int, str_at, strs_at},
    server::Server,
    status::ApiError,
};

/// Why a Service leads nowhere, in the words of kube-apiserver.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such Service.
    #[error("service {0:?} not found")]
    NoService(String),
    /// It does not have the port.
    #[error("no service port {port} found for service {service:?}")]
    NoPort {
        /// The Service's name.
        service: String,
        /// The port.
        port: i64,
    },
    /// Nobody answers for it.
    #[error("no endpoints available for service {0:?}")]
    NoEndpoints(String),
    /// The server failed.
    #[error(transparent)]
    Server(#[from] ApiError),
}

/// Where to connect to for a port of a Service: host and port.
pub async fn endpoint(
    server: &Server,
    namespace: &str,
    name: &str,
    port: i64,
) -> Result<(String, u16), Error> {
    let service = server.find("", "services", namespace, name).await?;
    let service = service.ok_or_else(|| Error::NoService(name.into()))?;
    let ports = list_at(&service, "/spec/ports");
    let found = ports.iter().find(|p| opt_int(p, "/port") == Some(port));
    let no_port = || Error::NoPort { service: name.into(), port };
    if str_at(&service, "/spec/type") == "ExternalName" {
        let port = u16::try_from(port).map_err(|_| no_port())?;
        return Ok((str_at(&service, "/spec/externalName").into(), port));
    }
    let port_name = str_at(found.ok_or_else(no_port)?, "/name");
    let slices = slices(server, namespace, name).await?;
    let addresses: Vec<(String, u16)> = slices.iter().flat_map(|slice| addresses(slice, port_name)).collect();
    addresses.choose(&mut rand::rng()).cloned().ok_or_else(|| Error::NoEndpoints(name.into()))
}

/// The endpoint slices of a Service.
pub async fn slices(server: &Server, namespace: &str, name: &str) -> Result<Vec<Value>, ApiError> {
    let mut slices = server.find_all("discovery.k8s.io", "endpointslices", namespace).await?;
    slices.retain(|slice| service_of(slice) == Some(name));
    Ok(slices)
}

/// The name of the Service that a slice belongs to.
pub fn service_of(slice: &Value) -> Option<&str> {
    slice.pointer("/metadata/labels").and_then(|labels| labels.get(SERVICE_NAME)).and_then(Value::as_str)
}

/// Whether an endpoint takes requests; one that does not say does.
pub fn is_ready(endpoint: &Value) -> bool {
    !has(endpoint, "/conditions/ready") || bool_at(endpoint, "/conditions/ready")
}

/// The label of slices that names their Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The addresses of the endpoints that are ready.
fn addresses(slice: &Value, port_name: &str) -> Vec<(String, u16)> {
    let ports = list_at(slice, "/ports").iter().filter(|port| str_at(port, "/name") == port_name);
    let ports: Vec<u16> =
        ports.filter_map(|port| opt_int(port, "/port")).filter_map(|port| u16::try_from(port).ok()).collect();
    let hosts = list_at(slice, "/endpoints")
        .iter()
        .filter(|e| is_ready(e))
        .filter_map(|e| strs_at(e, "/addresses").next());
    hosts.flat_map(|host| ports.iter().map(move |port| (host.to_owned(), *port))).collect()
}
