//! Where and how webhooks are called, as the definitions of all of them say it (`k8s.io/apiserver/pkg/util/webhook`).

use serde_json::Value;

use super::{formats, names};
use crate::{
    custom::uri::{authority, fault, parse_request},
    field::{Errors, Path, quoted},
    registry::access::{int_at, str_at},
};

const FORM: &str = "; desired format: https://host[/path]";

/// The versions of reviews that this server knows.
pub const VERSIONS: &[&str] = &["v1", "v1beta1"];

/// Judges the URL of a webhook.
pub fn url(errors: &mut Errors, path: &Path<'_>, url: &str) {
    let (text, fragment) = url.split_once('#').unwrap_or((url, ""));
    if let Some(fault) = fault(text) {
        let why = format!("url must be a valid URL: parse {}: {fault}{FORM}", quoted(text));
        return errors.required(path, &why);
    }
    let uri = parse_request(text);
    let (scheme, host, query) =
        uri.as_ref().map_or(("", "", ""), |uri| (uri.scheme.as_str(), uri.host.as_str(), uri.query.as_str()));
    if scheme != "https" {
        errors.invalid_str(path, scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid_str(path, host, &format!("host must be specified{FORM}"));
    }
    if let Some((user, _)) = authority(text).rsplit_once('@') {
        errors.invalid_str(path, user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        errors.invalid_str(path, fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        errors.invalid_str(path, query, "query parameters are not permitted in the URL");
    }
}

/// Judges the Service of a webhook. The real server takes its name and its namespace for each other.
pub fn service(errors: &mut Errors, path: &Path<'_>, service: &Value) {
    for (field, told) in [("/namespace", "name"), ("/name", "namespace")] {
        if str_at(service, field).is_empty() {
            errors.required(&path.child(told), "");
        }
    }
    let port = int_at(service, "/port");
    let wrong = formats::port_number(port);
    if !wrong.is_empty() {
        let why = format!("port is not valid: {}", wrong.join(", "));
        errors.invalid(&path.child("port"), &port.into(), &why);
    }
    let (path, url) = (path.child("path"), str_at(service, "/path"));
    match url {
        "" | "/" => return,
        "//" => return errors.invalid_str(&path, url, "segment[0] may not be empty"),
        _ if !url.starts_with('/') => errors.invalid_str(&path, url, "must start with a '/'"),
        _ => {}
    }
    let steps = url.get(1..).unwrap_or_default();
    for (index, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            errors.invalid_str(&path, url, &format!("segment[{index}] may not be empty"));
            continue;
        }
        for why in names::dns1123_subdomain(step) {
            errors.invalid_str(&path, url, &format!("segment[{index}]: {why}"));
        }
    }
}

/// Judges the versions of reviews that a webhook understands, one of which this server has to know if `known` says so.
pub fn review_versions(errors: &mut Errors, path: &Path<'_>, versions: &[&str], none: &str, known: bool) {
    if versions.is_empty() {
        return errors.required(path, none);
    }
    for (index, version) in versions.iter().enumerate() {
        if versions[..index].contains(version) {
            errors.invalid_str(&path.index(index), version, "duplicate version");
            continue;
        }
        for why in names::dns1035_label(version) {
            errors.invalid_str(&path.index(index), version, &why);
        }
    }
    if known && !versions.iter().any(|version| VERSIONS.contains(version)) {
        let why = format!("must include at least one of {}", VERSIONS.join(", "));
        errors.invalid(path, &Value::from(versions), &why);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(judge: impl FnOnce(&mut Errors)) -> Vec<String> {
        let mut errors = Errors::default();
        judge(&mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn urls_are_of_a_host_and_a_path() {
        let url = |text: &str| told(|errors| url(errors, &Path::new("url"), text));
        assert!(url("https://a.b:8443/c").is_empty());
        assert_eq!(
            url("https://u:p@a?x=1#f"),
            [
                "url: Invalid value: \"u:p\": user information is not permitted in the URL",
                "url: Invalid value: \"f\": fragments are not permitted in the URL",
                "url: Invalid value: \"x=1\": query parameters are not permitted in the URL",
            ]
        );
        assert_eq!(
            url("a"),
            [
                "url: Invalid value: \"\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                "url: Invalid value: \"\": host must be specified; desired format: https://host[/path]",
            ]
        );
        for (text, fault) in [
            ("::", "missing protocol scheme"),
            ("https://x y", "invalid character \" \" in host name"),
            ("https://x:y/z", "invalid port \":y\" after host"),
        ] {
            let wanted =
                format!("url: Required value: url must be a valid URL: parse {text:?}: {fault}{FORM}");
            assert_eq!(url(text), [wanted]);
        }
    }

    #[test]
    fn services_are_named_and_have_a_port() {
        let service = |value: Value| told(|errors| service(errors, &Path::new("s"), &value));
        assert!(service(json!({"name": "a", "namespace": "b", "port": 443, "path": "/x/y/"})).is_empty());
        assert_eq!(service(json!({"name": "a", "port": 443})), ["s.name: Required value"]);
        assert_eq!(
            service(json!({"namespace": "b", "port": 0, "path": "x//y"})),
            [
                "s.namespace: Required value",
                "s.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
                "s.path: Invalid value: \"x//y\": must start with a '/'",
                "s.path: Invalid value: \"x//y\": segment[0] may not be empty",
                "s.path: Invalid value: \"x//y\": segment[1] may not be empty",
            ]
        );
    }
}
