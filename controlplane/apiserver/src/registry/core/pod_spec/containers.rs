//! Containers: regular ones, init containers, ephemeral ones.

use std::collections::BTreeSet;

use serde_json::Value;

use super::environment::{validate_env, validate_env_from};
use super::mounts::{validate_devices, validate_mounts};
use super::probes::{forbid_lifecycle, validate_lifecycle_and_probes};
use super::requirements::{self, Scope};
use super::security::validate_security_context;
use super::{Subject, is_sidecar};
use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, int_at, list_at, map_at, opt_str, str_at};
use crate::validation::fields::{dns_label, one_of, required, required_one_of};
use crate::validation::{fields, formats};

/// The protocols of ports.
pub const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];

/// `containers`
pub fn validate_containers(errors: &mut Errors, path: &Path<'_>, subject: &Subject<'_>) {
    let containers = list_at(subject.spec, "/containers");
    if containers.is_empty() {
        return errors.required(path, "");
    }
    let mut names = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        validate_common(errors, &path, container, subject);
        if !names.insert(str_at(container, "/name")) {
            errors.duplicate(&path.child("name"), at(container, "/name"));
        }
        validate_lifecycle_and_probes(errors, &path, container, subject);
        validate_restart_rules(errors, &path, container);
    }
    validate_host_ports(errors, path, containers);
}

/// `initContainers`
pub fn validate_init_containers(errors: &mut Errors, path: &Path<'_>, subject: &Subject<'_>) {
    let regular = list_at(subject.spec, "/containers");
    let mut names: BTreeSet<&str> = regular.iter().map(|container| str_at(container, "/name")).collect();
    for (index, container) in list_at(subject.spec, "/initContainers").iter().enumerate() {
        let item = path.index(index);
        validate_common(errors, &item, container, subject);
        if is_sidecar(container) {
            if !list_at(container, "/restartPolicyRules").is_empty() {
                errors.forbidden(
                    &item.child("restartPolicyRules"),
                    "restartPolicyRules are not allowed for init containers with restart policy Always",
                );
            }
        } else if has(container, "/restartPolicy") {
            validate_restart_rules(errors, &item, container);
        }
        let name = str_at(container, "/name");
        if names.contains(name) {
            errors.duplicate(&item.child("name"), &name.into());
        } else if !name.is_empty() {
            names.insert(name);
        }
        validate_host_ports(errors, path, std::slice::from_ref(container));
        if is_sidecar(container) {
            validate_lifecycle_and_probes(errors, &item, container, subject);
        } else {
            forbid_lifecycle(
                errors,
                &item,
                container,
                "may not be set for init containers without restartPolicy=Always",
            );
            forbid_restart_by_resize(errors, &item.child("resizePolicy"), container);
        }
    }
}

/// Containers that run to their end are not started again for the sake of their resources.
fn forbid_restart_by_resize(errors: &mut Errors, path: &Path<'_>, container: &Value) {
    const RESTART: &str = "RestartContainer";
    let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
    for (index, policy) in list_at(container, "/resizePolicy").iter().enumerate() {
        if str_at(policy, "/restartPolicy") == RESTART {
            errors.invalid_str(&path.index(index).child("restartPolicy"), RESTART, why);
        }
    }
}

/// `ephemeralContainers`
pub fn validate_ephemeral_containers(errors: &mut Errors, path: &Path<'_>, subject: &Subject<'_>) {
    const UNKNOWN: &str = "cannot be set for an Ephemeral Container";
    let others: BTreeSet<&str> = ["/containers", "/initContainers"]
        .iter()
        .flat_map(|list| list_at(subject.spec, list))
        .map(|container| str_at(container, "/name"))
        .collect();
    let mut names = others.clone();
    for (index, container) in list_at(subject.spec, "/ephemeralContainers").iter().enumerate() {
        let path = path.index(index);
        validate_common(errors, &path, container, subject);
        validate_image_of_pod(errors, &path, container);
        let name = str_at(container, "/name");
        if !names.insert(name) {
            errors.duplicate(&path.child("name"), &name.into());
        }
        let target = str_at(container, "/targetContainerName");
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&path.child("targetContainerName"), &target.into());
        }
        for field in [
            "ports",
            "resources",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "resizePolicy",
            "restartPolicy",
            "restartPolicyRules",
        ] {
            let value = at(container, &format!("/{field}"));
            let empty = value.is_null() || map_at(value, "").is_some_and(serde_json::Map::is_empty);
            if !empty {
                errors.forbidden(&path.child(field), UNKNOWN);
            }
        }
        for (index, mount) in list_at(container, "/volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !str_at(mount, &format!("/{field}")).is_empty() {
                    errors.forbidden(&path.child("volumeMounts").index(index).child(field), UNKNOWN);
                }
            }
        }
    }
}

fn validate_common(errors: &mut Errors, path: &Path<'_>, container: &Value, subject: &Subject<'_>) {
    if required(errors, path, container, "name") {
        dns_label(errors, &path.child("name"), str_at(container, "/name"));
    }
    required(errors, path, container, "image");
    required_one_of(errors, path, container, "terminationMessagePolicy", &["File", "FallbackToLogsOnError"]);
    validate_ports(errors, &path.child("ports"), list_at(container, "/ports"));
    validate_env(errors, &path.child("env"), list_at(container, "/env"));
    validate_env_from(errors, &path.child("envFrom"), list_at(container, "/envFrom"));
    validate_mounts(errors, &path.child("volumeMounts"), container, subject);
    validate_devices(errors, &path.child("volumeDevices"), container, subject);
    required_one_of(errors, path, container, "imagePullPolicy", PULL_POLICIES);
    requirements::validate(
        errors,
        &path.child("resources"),
        at(container, "/resources"),
        Scope::Container,
        &subject.claims,
    );
    validate_resize_policy(errors, &path.child("resizePolicy"), container, subject);
    validate_security_context(errors, &path.child("securityContext"), container, subject);
}

/// `imagePullPolicy` of an image volume.
pub fn validate_pull_policy(errors: &mut Errors, path: &Path<'_>, owner: &Value) {
    required_one_of(errors, path, owner, "pullPolicy", PULL_POLICIES);
}

/// Pods, unlike templates, demand images without spaces around.
pub fn validate_image_of_pod(errors: &mut Errors, path: &Path<'_>, container: &Value) {
    let image = str_at(container, "/image");
    if image.trim() != image {
        errors.invalid_str(&path.child("image"), image, "must not have leading or trailing whitespace");
    }
}

fn validate_ports(errors: &mut Errors, path: &Path<'_>, ports: &[Value]) {
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        if let Some(name) = opt_str(port, "/name").filter(|name| !name.is_empty()) {
            let wrong = formats::port_name(name);
            if wrong.is_empty() && !names.insert(name) {
                errors.duplicate(&path.child("name"), &name.into());
            }
            for why in wrong {
                errors.invalid_str(&path.child("name"), name, &why);
            }
        }
        let number = int_at(port, "/containerPort");
        if number == 0 {
            errors.required(&path.child("containerPort"), "");
        } else {
            for why in formats::port_number(number) {
                errors.invalid(&path.child("containerPort"), &number.into(), &why);
            }
        }
        let host = int_at(port, "/hostPort");
        if host != 0 {
            for why in formats::port_number(host) {
                errors.invalid(&path.child("hostPort"), &host.into(), &why);
            }
        }
        required_one_of(errors, &path, port, "protocol", PROTOCOLS);
    }
}

fn validate_host_ports(errors: &mut Errors, path: &Path<'_>, containers: &[Value]) {
    let mut taken = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        for (position, port) in list_at(container, "/ports").iter().enumerate() {
            let number = int_at(port, "/hostPort");
            let key = format!("{}/{}/{number}", str_at(port, "/protocol"), str_at(port, "/hostIP"));
            if number != 0 && !taken.insert(key.clone()) {
                let path = path.index(index);
                errors.duplicate(&path.child("ports").index(position).child("hostPort"), &key.into());
            }
        }
    }
}

fn validate_resize_policy(errors: &mut Errors, path: &Path<'_>, container: &Value, subject: &Subject<'_>) {
    let never = str_at(subject.spec, "/restartPolicy") == "Never";
    let mut seen = BTreeSet::new();
    for (index, policy) in list_at(container, "/resizePolicy").iter().enumerate() {
        let (resource, restart) = (str_at(policy, "/resourceName"), str_at(policy, "/restartPolicy"));
        if !seen.insert(resource) {
            errors.duplicate(&path.index(index), &resource.into());
        }
        match resource {
            "cpu" | "memory" => {}
            "" => errors.required(path, ""),
            _ => errors.not_supported(path, &resource.into(), &["cpu", "memory"]),
        }
        match restart {
            "NotRequired" | "RestartContainer" => {}
            "" => errors.required(path, ""),
            _ => errors.not_supported(path, &restart.into(), &["NotRequired", "RestartContainer"]),
        }
        if never && restart != "NotRequired" {
            errors.invalid_str(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'");
        }
    }
}

fn validate_restart_rules(errors: &mut Errors, path: &Path<'_>, container: &Value) {
    const RULES_MAX: usize = 20;
    const CODES_MAX: usize = 255;
    const ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
    let rules = list_at(container, "/restartPolicyRules");
    if has(container, "/restartPolicy") {
        one_of(errors, path, container, "restartPolicy", &["Always", "Never", "OnFailure"]);
    } else if !rules.is_empty() {
        errors
            .required(&path.child("restartPolicy"), "must specify restartPolicy when restart rules are used");
    }
    let rules_path = path.child("restartPolicyRules");
    if rules.len() > RULES_MAX {
        errors.too_long(&rules_path, RULES_MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = rules_path.index(index);
        let action = str_at(rule, "/action");
        if !ACTIONS.contains(&action) {
            errors.not_supported(&path.child("action"), &action.into(), ACTIONS);
        }
        let codes_path = path.child("exitCodes");
        let Some(codes) = get(rule, "/exitCodes") else {
            errors.required(&codes_path, "must be specified");
            continue;
        };
        let operator = str_at(codes, "/operator");
        if !matches!(operator, "In" | "NotIn") {
            errors.not_supported(&codes_path.child("operator"), &operator.into(), &["In", "NotIn"]);
        }
        if list_at(codes, "/values").len() > CODES_MAX {
            errors.too_long(&codes_path.child("values"), CODES_MAX);
        }
    }
}

/// With the host's network, host ports are the containers' own.
pub fn validate_host_network_ports(errors: &mut Errors, path: &Path<'_>, subject: &Subject<'_>) {
    if !fields::is_true(subject.spec, "/hostNetwork") {
        return;
    }
    for (index, container) in list_at(subject.spec, "/containers").iter().enumerate() {
        for (position, port) in list_at(container, "/ports").iter().enumerate() {
            let (host, own) = (int_at(port, "/hostPort"), int_at(port, "/containerPort"));
            if (subject.is_pod || host != 0) && host != own {
                let path = path.child("containers");
                let path = path.index(index);
                errors.invalid(
                    &path.child("ports").index(position).child("hostPort"),
                    &host.into(),
                    "must match `containerPort` when `hostNetwork` is true",
                );
            }
        }
    }
}
