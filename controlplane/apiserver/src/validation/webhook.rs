//! Where a webhook is called: its URL, or the service that serves it.

use serde_json::Value;

use super::{fields::required, formats, names};
use crate::{
    custom::uri::parse_request,
    field::{Errors, Path, quoted},
    registry::access::{int_at, str_at},
};

const FORM: &str = "; desired format: https://host[/path]";

/// Checks the URL of a webhook.
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

/// User, host and port.
fn authority(text: &str) -> &str {
    let after = text.split_once("//").map_or("", |(_, after)| after);
    after.split(['/', '?']).next().unwrap_or_default()
}

/// Why Go cannot parse a URL.
fn fault(text: &str) -> Option<String> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Some("net/url: invalid control character in URL".into());
    }
    if text.starts_with(':') {
        return Some("missing protocol scheme".into());
    }
    let authority = authority(text);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(bad) = host.chars().find(|c| " \\^`{}|".contains(*c)) {
        return Some(format!("invalid character {} in host name", quoted(&bad.to_string())));
    }
    let port = host.get(host.rfind(']').unwrap_or(0)..).and_then(|end| end.find(':').map(|at| &end[at..]));
    port.filter(|port| port[1..].bytes().any(|byte| !byte.is_ascii_digit()))
        .map(|port| format!("invalid port {} after host", quoted(port)))
}

/// Checks the service of a webhook.
pub fn service(errors: &mut Errors, path: &Path<'_>, service: &Value) {
    required(errors, path, service, "name");
    required(errors, path, service, "namespace");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_https_and_a_host_and_nothing_but_a_path() {
        let told = |text: &str| {
            let mut errors = Errors::default();
            url(&mut errors, &Path::new("url"), text);
            errors.0.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(told("https://x.y:8443/z").is_empty());
        assert_eq!(
            told("https://u:p@x/y?q=1#f"),
            [
                "url: Invalid value: \"u:p\": user information is not permitted in the URL",
                "url: Invalid value: \"f\": fragments are not permitted in the URL",
                "url: Invalid value: \"q=1\": query parameters are not permitted in the URL",
            ]
        );
        for (text, fault) in [
            ("::", "missing protocol scheme"),
            ("https://x y", "invalid character \" \" in host name"),
            ("https://x:y/z", "invalid port \":y\" after host"),
        ] {
            let wanted =
                format!("url: Required value: url must be a valid URL: parse {text:?}: {fault}{FORM}");
            assert_eq!(told(text), [wanted]);
        }
    }
}
