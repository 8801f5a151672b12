//! Everything wrong with ingresses.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, int_at, list_at, map_at, opt_str, str_at, strs_at};
use crate::registry::core::service::validate_host;
use crate::validation::fields::{self, dns_label, dns_subdomain, required_segment};
use crate::validation::{formats, ip, names};

const SPEC: Path<'static> = Path::new("spec");

/// The annotation that was the class before there was a field.
pub(super) const CLASS: &str = "kubernetes.io/ingress.class";

/// A new ingress.
pub fn validate_create(ingress: &Value) -> Errors {
    let mut errors = validate(ingress, false, false);
    let annotation = map_at(ingress, "/metadata/annotations").and_then(|all| all.get(CLASS));
    if let (Some(annotation), Some(class)) = (annotation, opt_str(ingress, "/spec/ingressClassName"))
        && annotation != class
    {
        let path = Path::new("annotations");
        let why = "must match `ingressClassName` when both are specified";
        errors.invalid(&path.child(CLASS), annotation, why);
    }
    errors
}

/// A changed ingress. What older servers let through may stay.
pub fn validate_update(ingress: &Value, old: &Value) -> Errors {
    let bad_secret = list_at(old, "/spec/tls")
        .iter()
        .map(|tls| str_at(tls, "/secretName"))
        .any(|name| !name.is_empty() && !names::dns1123_subdomain(name).is_empty());
    let bad_wildcard = list_at(old, "/spec/rules").iter().any(|rule| {
        let mut errors = Errors::default();
        validate_paths(&mut errors, &Path::ROOT, rule);
        str_at(rule, "/host").contains('*') && !errors.is_empty()
    });
    validate(ingress, bad_secret, bad_wildcard)
}

/// The addresses of an ingress.
pub fn validate_status(ingress: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let status = Path::new("status");
    let balancer = status.child("loadBalancer");
    let list = balancer.child("ingress");
    let known: Vec<&str> =
        list_at(old, "/status/loadBalancer/ingress").iter().map(|point| str_at(point, "/ip")).collect();
    for (index, point) in list_at(ingress, "/status/loadBalancer/ingress").iter().enumerate() {
        let path = list.index(index);
        let address = str_at(point, "/ip");
        if !address.is_empty() && !known.contains(&address) {
            ip::address(&mut errors, &path.child("ip"), address);
        }
        validate_host(&mut errors, &path.child("hostname"), str_at(point, "/hostname"));
    }
    errors
}

fn validate(ingress: &Value, any_secret: bool, any_wildcard_rule: bool) -> Errors {
    let mut errors = Errors::default();
    let spec = at(ingress, "/spec");
    let rules = list_at(spec, "/rules");
    let backend = get(spec, "/defaultBackend");
    if rules.is_empty() && backend.is_none() {
        errors.invalid(&SPEC, at(spec, "/rules"), "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(backend) = backend {
        validate_backend(&mut errors, &SPEC.child("defaultBackend"), backend);
    }
    for (index, rule) in rules.iter().enumerate() {
        let list = SPEC.child("rules");
        let path = list.index(index);
        let host = str_at(rule, "/host");
        if ip::parse(host).is_some() {
            errors.invalid_str(&path.child("host"), host, "must be a DNS name, not an IP address");
        }
        if !host.is_empty() {
            validate_name(&mut errors, &path.child("host"), host);
        }
        if !host.contains('*') || !any_wildcard_rule {
            validate_paths(&mut errors, &path, rule);
        }
    }
    for (index, tls) in list_at(spec, "/tls").iter().enumerate() {
        let list = SPEC.child("tls");
        let path = list.index(index);
        for (position, host) in strs_at(tls, "/hosts").enumerate() {
            validate_name(&mut errors, &path.child("hosts").index(position), host);
        }
        let secret = str_at(tls, "/secretName");
        if !secret.is_empty() && !any_secret {
            dns_subdomain(&mut errors, &path.child("secretName"), secret);
        }
    }
    if let Some(class) = opt_str(spec, "/ingressClassName") {
        dns_subdomain(&mut errors, &SPEC.child("ingressClassName"), class);
    }
    errors
}

/// A host, maybe with a wildcard.
fn validate_name(errors: &mut Errors, path: &Path<'_>, host: &str) {
    if host.contains('*') {
        for why in names::wildcard_dns1123_subdomain(host) {
            errors.invalid_str(path, host, &why);
        }
    } else {
        dns_subdomain(errors, path, host);
    }
}

fn validate_paths(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    let Some(http) = get(rule, "/http") else { return };
    let parent = path.child("http");
    let list = parent.child("paths");
    let paths = list_at(http, "/paths");
    if paths.is_empty() {
        errors.required(&list, "");
    }
    for (index, item) in paths.iter().enumerate() {
        validate_path(errors, &list.index(index), item);
    }
}

fn validate_path(errors: &mut Errors, path: &Path<'_>, item: &Value) {
    const SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
    const SUFFIXES: [&str; 2] = ["/..", "/."];
    let Some(kind) = opt_str(item, "/pathType") else {
        return errors.required(&path.child("pathType"), "pathType must be specified");
    };
    let (text, field) = (str_at(item, "/path"), path.child("path"));
    let strict = matches!(kind, "Exact" | "Prefix");
    if !strict && kind != "ImplementationSpecific" {
        let known = ["Exact", "ImplementationSpecific", "Prefix"];
        errors.not_supported(&path.child("pathType"), &kind.into(), &known);
    } else if !text.starts_with('/') && (strict || !text.is_empty()) {
        errors.invalid_str(&field, text, "must be an absolute path");
    }
    if strict {
        for sequence in SEQUENCES.iter().filter(|sequence| text.contains(**sequence)) {
            errors.invalid_str(&field, text, &format!("must not contain '{sequence}'"));
        }
        for suffix in SUFFIXES.iter().filter(|suffix| text.ends_with(**suffix)) {
            errors.invalid_str(&field, text, &format!("cannot end with '{suffix}'"));
        }
    }
    validate_backend(errors, &path.child("backend"), at(item, "/backend"));
}

fn validate_backend(errors: &mut Errors, path: &Path<'_>, backend: &Value) {
    match (get(backend, "/resource"), get(backend, "/service")) {
        (Some(_), Some(_)) => errors.invalid_str(path, "", "cannot set both resource and service backends"),
        (Some(resource), None) => {
            let path = path.child("resource");
            if let Some(group) = opt_str(resource, "/apiGroup") {
                dns_subdomain(errors, &path.child("apiGroup"), group);
            }
            required_segment(errors, &path, resource, "kind");
            required_segment(errors, &path, resource, "name");
        }
        (None, Some(service)) => {
            let name = str_at(service, "/name");
            if fields::required(errors, &path.child("service"), service, "name") {
                dns_label(errors, &path.child("service").child("name"), name);
            }
            validate_port(errors, path, at(service, "/port"));
        }
        (None, None) => errors.invalid_str(path, "", "resource or service backend is required"),
    }
}

fn validate_port(errors: &mut Errors, path: &Path<'_>, port: &Value) {
    let (service, name, number) = (path.child("service"), str_at(port, "/name"), int_at(port, "/number"));
    match (name, number) {
        ("", 0) => errors.required(path, "port name or number is required"),
        ("", number) => {
            for why in formats::port_number(number) {
                errors.invalid(&service.child("port").child("number"), &number.into(), &why);
            }
        }
        (name, 0) => {
            for why in formats::port_name(name) {
                errors.invalid_str(&service.child("port").child("name"), name, &why);
            }
        }
        _ => errors.invalid_str(path, "", "cannot set both port name & port number"),
    }
}
