//! A container's environment: its sources resolved and `$(NAME)` expanded, in the order Kubernetes does it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret, Service};
use kube::ResourceExt;

use super::downward::{self, Facts};

/// Why a container's configuration cannot be resolved; the message of `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvError {
    /// A referenced object does not exist.
    #[error("{kind} \"{name}\" not found")]
    Missing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A referenced object has no such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    MissingKey {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A field or resource reference names nothing known.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
}

/// Where values come from.
pub(crate) trait Lookup {
    /// A ConfigMap of a namespace.
    fn config_map(&self, namespace: &str, name: &str) -> Option<std::sync::Arc<ConfigMap>>;
    /// A Secret of a namespace.
    fn secret(&self, namespace: &str, name: &str) -> Option<std::sync::Arc<Secret>>;
}

/// The environment of a container. `base` are the variables that Services give, which `env` and `envFrom`
/// override and may refer to.
pub(crate) fn resolve(
    container: &Container,
    pod: &Pod,
    facts: &Facts,
    base: BTreeMap<String, String>,
    lookup: &impl Lookup,
) -> Result<BTreeMap<String, String>, EnvError> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut env = base;
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let optional = reference.optional.unwrap_or(false);
            match lookup.config_map(&namespace, &reference.name) {
                Some(map) => {
                    let data = map.data.iter().flatten();
                    env.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
                }
                None if optional => {}
                None => return Err(EnvError::Missing { kind: "configmap", name: reference.name.clone() }),
            }
        }
        if let Some(reference) = &source.secret_ref {
            let optional = reference.optional.unwrap_or(false);
            match lookup.secret(&namespace, &reference.name) {
                Some(secret) => {
                    let data = secret.data.iter().flatten();
                    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                    env.extend(data.map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))));
                }
                None if optional => {}
                None => return Err(EnvError::Missing { kind: "secret", name: reference.name.clone() }),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let EnvVar { name, value, value_from } = variable;
        let resolved = match (value, value_from) {
            (_, Some(source)) => from_source(source, container, pod, facts, lookup)?,
            (value, None) => Some(expand(value.as_deref().unwrap_or_default(), &env)),
        };
        if let Some(resolved) = resolved {
            env.insert(name.clone(), resolved);
        }
    }
    Ok(env)
}

fn from_source(
    source: &EnvVarSource,
    container: &Container,
    pod: &Pod,
    facts: &Facts,
    lookup: &impl Lookup,
) -> Result<Option<String>, EnvError> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        let value = downward::field(&field.field_path, pod, facts);
        return value.map(Some).ok_or_else(|| EnvError::Field(field.field_path.clone()));
    }
    if let Some(selector) = &source.resource_field_ref {
        let value = downward::resource(selector, container, pod, facts);
        return value.map(Some).ok_or_else(|| EnvError::Field(selector.resource.clone()));
    }
    let (kind, title, name, key, optional, value) = if let Some(selector) = &source.config_map_key_ref {
        let map = lookup.config_map(&namespace, &selector.name);
        let value = map.map(|map| map.data.as_ref().and_then(|data| data.get(&selector.key).cloned()));
        ("configmap", "ConfigMap", &selector.name, &selector.key, selector.optional, value)
    } else if let Some(selector) = &source.secret_key_ref {
        let secret = lookup.secret(&namespace, &selector.name);
        let value = secret.map(|secret| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(&selector.key));
            bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
        });
        ("secret", "Secret", &selector.name, &selector.key, selector.optional, value)
    } else {
        return Ok(Some(String::new()));
    };
    match value {
        Some(Some(value)) => Ok(Some(value)),
        _ if optional.unwrap_or(false) => Ok(None),
        Some(None) => {
            Err(EnvError::MissingKey { key: key.clone(), kind: title, namespace, name: name.clone() })
        }
        None => Err(EnvError::Missing { kind, name: name.clone() }),
    }
}

/// Replaces `$(NAME)` by the variable's value; unknown names stay as written, and `$$` is a dollar sign.
pub(crate) fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        match after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            Some((name, after)) => {
                match env.get(name) {
                    Some(value) => out.push_str(value),
                    None => out.extend(["$(", name, ")"]),
                }
                rest = after;
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The variables that the Services of a namespace give to its pods.
pub(crate) fn service_links<'a>(services: impl Iterator<Item = &'a Service>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !matches!(*ip, "" | "None")) else { continue };
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        let name = service.name_any().to_uppercase().replace('-', "_");
        env.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
        env.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
        for port in ports {
            if let Some(port_name) = &port.name {
                let port_name = port_name.to_uppercase().replace('-', "_");
                env.insert(format!("{name}_SERVICE_PORT_{port_name}"), port.port.to_string());
            }
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let (number, lower) = (port.port, protocol.to_lowercase());
            let stem = format!("{name}_PORT_{number}_{protocol}");
            env.entry(format!("{name}_PORT")).or_insert_with(|| format!("{lower}://{ip}:{number}"));
            env.insert(format!("{stem}_PROTO"), lower.clone());
            env.insert(format!("{stem}_PORT"), number.to_string());
            env.insert(format!("{stem}_ADDR"), ip.to_owned());
            env.insert(stem, format!("{lower}://{ip}:{number}"));
        }
    }
    env
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
