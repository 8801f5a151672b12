//! DNS, host names and namespaces shared with the host.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{get, has, list_at, opt_str, str_at, strs_at};
use crate::validation::fields::{dns_subdomain, is_true};
use crate::validation::{ip, names};

const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARACTERS_MAX: usize = 2048;

/// `dnsConfig`
pub fn validate_dns_config(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let config = get(spec, "/dnsConfig");
    if str_at(spec, "/dnsPolicy") == "None" {
        match config {
            None => return errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None"),
            Some(config) if list_at(config, "/nameservers").is_empty() => {
                return errors.required(
                    &path.child("nameservers"),
                    "must provide at least one DNS nameserver when `dnsPolicy` is None",
                );
            }
            Some(_) => {}
        }
    }
    let Some(config) = config else { return };
    let servers = list_at(config, "/nameservers");
    if servers.len() > NAMESERVERS_MAX {
        let why = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.invalid(&path.child("nameservers"), &servers.into(), &why);
    }
    for (index, server) in strs_at(config, "/nameservers").enumerate() {
        ip::address(errors, &path.child("nameservers").index(index), server);
    }
    let searches = list_at(config, "/searches");
    let searches_path = path.child("searches");
    if searches.len() > SEARCHES_MAX {
        let why = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.invalid(&searches_path, &searches.into(), &why);
    }
    let characters: usize = strs_at(config, "/searches").map(|search| search.len() + 1).sum();
    if characters > SEARCH_CHARACTERS_MAX + 1 {
        let why = format!(
            "must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list"
        );
        errors.invalid(&searches_path, &searches.into(), &why);
    }
    for (index, search) in strs_at(config, "/searches").enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        for why in names::dns1123_subdomain_with_underscore(search) {
            errors.invalid_str(&searches_path.index(index), search, &why);
        }
    }
    for (index, option) in list_at(config, "/options").iter().enumerate() {
        if str_at(option, "/name").is_empty() {
            errors.required(&path.child("options").index(index), "must not be empty");
        }
    }
}

/// `hostAliases`
pub fn validate_host_aliases(errors: &mut Errors, path: &Path<'_>, aliases: &[Value]) {
    for (index, alias) in aliases.iter().enumerate() {
        let path = path.index(index);
        ip::address(errors, &path.child("ip"), str_at(alias, "/ip"));
        for (index, name) in strs_at(alias, "/hostnames").enumerate() {
            dns_subdomain(errors, &path.child("hostnames").index(index), name);
        }
    }
}

/// What a pod with users of its own cannot share with the host.
pub fn validate_host_users(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const WHY: &str = "when `hostUsers` is false";
    if !has(spec, "/hostUsers") || is_true(spec, "/hostUsers") {
        return;
    }
    for (field, shown) in [("/hostNetwork", "hostNetwork"), ("/hostPID", "HostPID"), ("/hostIPC", "HostIPC")]
    {
        if is_true(spec, field) {
            errors.forbidden(&path.child(shown), WHY);
        }
    }
    super::visit_containers(path, spec, &mut |path, container| {
        if !list_at(container, "/volumeDevices").is_empty() {
            errors.forbidden(&path.child("volumeDevices"), WHY);
        }
    });
}

/// `hostnameOverride`
pub fn validate_hostname_override(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const MAX: usize = 64;
    let Some(name) = opt_str(spec, "/hostnameOverride") else { return };
    let path = path.child("hostnameOverride");
    if is_true(spec, "/setHostnameAsFQDN") {
        errors.forbidden(&path, "may not be specified when setHostnameAsFQDN is true");
    }
    if is_true(spec, "/hostNetwork") {
        errors.forbidden(&path, "may not be specified when hostNetwork is true");
    }
    if name.len() > MAX {
        errors.too_long(&path, MAX);
    }
    dns_subdomain(errors, &path, name);
}
