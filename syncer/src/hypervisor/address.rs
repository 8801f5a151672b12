//! Where a stream goes on the host, and to which container. Pure.

use std::fmt::Write as _;

use http::uri::{PathAndQuery, Uri};
use k8s_openapi::api::core::v1::Pod;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::Refusal;

/// What has to be escaped in a path.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');

/// An object's subresource.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    pub namespace: &'a str,
    pub resource: &'a str,
    pub name: &'a str,
    pub subresource: &'a str,
    pub rest: &'a str,
}

impl Address<'_> {
    /// The path of the subresource, without what is below it.
    pub fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/{}/{}/{}", self.namespace, self.resource, self.name, self.subresource)
    }

    /// The complete request target. With `container`, the query names exactly that one.
    pub fn uri(&self, query: Option<&str>, container: Option<&str>) -> Uri {
        let mut target = self.path();
        if !self.rest.is_empty() {
            let rest = self.rest.trim_start_matches('/');
            target.push('/');
            target.extend(utf8_percent_encode(rest, PATH));
        }
        let query = match container {
            Some(container) => with_container(query.unwrap_or_default(), container),
            None => query.unwrap_or_default().to_owned(),
        };
        if !query.is_empty() {
            target.push('?');
            target.push_str(&query);
        }
        // Every part is a Kubernetes name, escaped, or came as part of a URI.
        PathAndQuery::try_from(target).map_or_else(|_| Uri::default(), Uri::from)
    }
}

/// A query that names exactly this container.
pub(super) fn with_container(query: &str, container: &str) -> String {
    let mut out = form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key != "container"));
    out.append_pair("container", container);
    out.finish()
}

/// `scheme:name:port`, `name:port` or `name` as the API has them for proxies.
pub(super) fn split(name: &str) -> (Option<&str>, &str, Option<&str>) {
    let mut parts = name.split(':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(scheme), Some(name), Some(port)) => (Some(scheme), name, Some(port)),
        (Some(name), Some(port), None) => (None, name, Some(port)),
        _ => (None, name, None),
    }
}

/// The reverse of [`split`].
pub(super) fn join(scheme: Option<&str>, name: &str, port: Option<&str>) -> String {
    match (scheme, port) {
        (Some(scheme), port) => format!("{scheme}:{name}:{}", port.unwrap_or_default()),
        (None, Some(port)) => format!("{name}:{port}"),
        (None, None) => name.to_owned(),
    }
}

/// The container a query means: the one it names, if the virtual pod has it, or the only one.
pub(super) fn container(pod: &Pod, query: Option<&str>) -> Result<String, Refusal> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let empty = Vec::new();
    let spec = pod.spec.as_ref();
    let containers = spec.map_or(&empty, |spec| &spec.containers);
    let main: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    let init: Vec<&str> =
        spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).map(|c| c.name.as_str()).collect();
    let ephemeral: Vec<&str> = spec
        .iter()
        .flat_map(|spec| spec.ephemeral_containers.iter().flatten())
        .map(|c| c.name.as_str())
        .collect();

    let asked = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(key, value)| key == "container" && !value.is_empty())
        .map(|(_, value)| value.into_owned());
    if let Some(asked) = asked {
        let all = main.iter().chain(&init).chain(&ephemeral);
        if all.into_iter().any(|container| *container == asked) {
            return Ok(asked);
        }
        return Err(Refusal::bad_request(format!("container {asked} is not valid for pod {name}")));
    }

    match main.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Refusal::bad_request(format!("a container name must be specified for pod {name}"))),
        several => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                several.join(" ")
            );
            if !init.is_empty() {
                let _ = write!(message, " or one of the init containers: [{}]", init.join(" "));
            }
            if !ephemeral.is_empty() {
                let _ = write!(message, " or one of the ephemeral containers: [{}]", ephemeral.join(" "));
            }
            Err(Refusal::bad_request(message))
        }
    }
}
