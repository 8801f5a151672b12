//! What a request is about, read from its method and path
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb>).

use http::Method;
use percent_encoding::percent_decode_str;

/// The attributes of a request that authorization, audit and routing go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether it is about a resource of an API group, and not about a path such as `/healthz`.
    pub is_resource: bool,
    /// `get`, `list`, `create`, …; for other paths the lower-case method.
    pub verb: String,
    /// The API group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The namespace, if the path names one.
    pub namespace: String,
    /// The plural resource.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The object's name.
    pub name: String,
    /// What follows the subresource (for proxies).
    pub rest: String,
    /// The path.
    pub path: String,
}

impl RequestInfo {
    /// Whether its answer may take as long as the client likes.
    pub fn is_lasting(&self) -> bool {
        matches!(self.verb.as_str(), "watch" | "proxy")
            || matches!(self.subresource.as_str(), "attach" | "exec" | "log" | "portforward" | "proxy")
    }

    /// Reads method, path and query.
    pub fn new(method: &Method, path: &str, query: &str) -> Self {
        let mut info = Self { path: path.into(), verb: method.as_str().to_lowercase(), ..Self::default() };
        let segments = segments(path);
        let mut rest = match segments.as_slice() {
            [api, version, rest @ ..] if api == "api" && !rest.is_empty() => {
                info.version.clone_from(version);
                rest
            }
            [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
                info.group.clone_from(group);
                info.version.clone_from(version);
                rest
            }
            _ => return info,
        };
        info.is_resource = true;
        info.verb = match *method {
            Method::POST => "create",
            Method::GET | Method::HEAD => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "",
        }
        .into();
        // The prefixes `watch` and `proxy` are the verbs of old; only `watch` still exists.
        if let [first, more @ ..] = rest
            && first == "watch"
            && !more.is_empty()
        {
            info.verb = "watch".into();
            rest = more;
        }
        match rest {
            [namespaces, namespace, tail @ ..] if namespaces == "namespaces" => {
                info.namespace.clone_from(namespace);
                // `/namespaces/x`, `/namespaces/x/status` and `/finalize` are about the namespace itself.
                let own =
                    tail.is_empty() || (tail.len() == 1 && matches!(tail[0].as_str(), "status" | "finalize"));
                if own && info.group.is_empty() {
                    info.resource = "namespaces".into();
                    info.name.clone_from(namespace);
                    info.subresource = tail.first().cloned().unwrap_or_default();
                } else {
                    info.object(tail);
                }
            }
            tail => info.object(tail),
        }
        if info.name.is_empty() && info.verb == "get" {
            info.verb = if wants_watch(query) { "watch" } else { "list" }.into();
        } else if info.name.is_empty() && info.verb == "delete" {
            info.verb = "deletecollection".into();
        }
        info
    }

    /// Whether a path ends after one of the verbs of old, so that nobody knows what it is about.
    pub fn is_cut_short(path: &str) -> bool {
        let segments = segments(path);
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        matches!(*names, ["api", _, "watch" | "proxy"] | ["apis", _, _, "watch" | "proxy"])
    }

    fn object(&mut self, segments: &[String]) {
        let mut segments = segments.iter();
        let mut next = || segments.next().cloned().unwrap_or_default();
        self.resource = next();
        self.name = next();
        self.subresource = next();
        self.rest = segments.as_slice().join("/");
    }
}

/// The parts of a path, once it is decoded as a whole. Those between two slashes are empty, and count.
fn segments(path: &str) -> Vec<String> {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let path = path.trim_matches('/');
    if path.is_empty() { Vec::new() } else { path.split('/').map(ToOwned::to_owned).collect() }
}

fn wants_watch(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "watch")
        .is_some_and(|(_, value)| is_true(&value))
}

/// How boolean query parameters are read: anything but `0` and `false` is true.
pub fn is_true(value: &str) -> bool {
    !matches!(value, "0") && !value.eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: Method, path: &str) -> RequestInfo {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        RequestInfo::new(&method, path, query)
    }

    #[test]
    fn a_namespaced_subresource_has_all_its_parts() {
        let i = info(Method::GET, "/apis/apps/v1/namespaces/a/deployments/web/scale");
        assert_eq!((i.group.as_str(), i.version.as_str(), i.namespace.as_str()), ("apps", "v1", "a"));
        assert_eq!(
            (i.resource.as_str(), i.name.as_str(), i.subresource.as_str()),
            ("deployments", "web", "scale")
        );
        assert_eq!(i.verb, "get");
    }

    #[test]
    fn collections_are_listed_watched_and_deleted() {
        assert_eq!(info(Method::GET, "/api/v1/pods").verb, "list");
        assert_eq!(info(Method::GET, "/api/v1/pods?watch=1").verb, "watch");
        assert_eq!(info(Method::GET, "/api/v1/pods?watch=false").verb, "list");
        assert_eq!(info(Method::DELETE, "/api/v1/namespaces/a/pods").verb, "deletecollection");
    }

    #[test]
    fn a_namespace_is_in_itself() {
        let i = info(Method::PUT, "/api/v1/namespaces/a/finalize");
        assert_eq!((i.resource.as_str(), i.name.as_str(), i.namespace.as_str()), ("namespaces", "a", "a"));
        assert_eq!(i.subresource, "finalize");
    }

    #[test]
    fn a_path_is_decoded_before_it_is_split_and_empty_parts_count() {
        let i = info(Method::GET, "/api/v1/namespaces/a%2Fpods/b");
        assert_eq!((&*i.namespace, &*i.resource, &*i.name), ("a", "pods", "b"));
        let i = info(Method::GET, "/api/v1/namespaces//pods");
        assert_eq!((&*i.namespace, &*i.resource, &*i.verb), ("", "pods", "list"));
        assert!(RequestInfo::is_cut_short("/apis/apps/v1/watch/"));
        assert!(!RequestInfo::is_cut_short("/api/v1/watch/pods"));
    }

    #[test]
    fn other_paths_are_no_resources() {
        for path in
            ["/", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3/apis/apps/v1"]
        {
            assert!(!info(Method::GET, path).is_resource, "{path}");
        }
    }
}
