//! Security contexts.

use std::collections::BTreeSet;

use serde_json::Value;

use super::volumes::validate_descending_path;
use super::{Subject, windows};
use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, list_at, map_at, opt_int, opt_str, str_at, strs_at};
use crate::registry::internal;
use crate::validation::fields::{is_true, one_of};
use crate::validation::formats;

/// `securityContext` of a container.
pub fn validate_security_context(
    errors: &mut Errors,
    path: &Path<'_>,
    container: &Value,
    subject: &Subject<'_>,
) {
    let Some(context) = get(container, "/securityContext") else { return };
    validate_ids(errors, path, context, &["runAsUser", "runAsGroup"]);
    if let Some(mount) = opt_str(context, "/procMount") {
        let path = path.child("procMount");
        if !matches!(mount, "Default" | "Unmasked") {
            errors.not_supported(&path, &mount.into(), &["Default", "Unmasked"]);
        }
        let host_users = at(subject.spec, "/hostUsers") != &Value::Bool(false);
        if host_users && mount == "Unmasked" {
            errors.invalid_str(&path, mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    validate_seccomp(errors, &path.child("seccompProfile"), at(context, "/seccompProfile"));
    if at(context, "/allowPrivilegeEscalation") == &Value::Bool(false) {
        if is_true(context, "/privileged") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            internal::invalid(errors, path, "SecurityContext", context, why);
        }
        for _ in strs_at(context, "/capabilities/add").filter(|capability| *capability == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            internal::invalid(errors, path, "SecurityContext", context, why);
        }
    }
    windows::validate_options(errors, &path.child("windowsOptions"), at(context, "/windowsOptions"));
    validate_app_armor(errors, &path.child("appArmorProfile"), at(context, "/appArmorProfile"));
}

/// `securityContext` of a pod.
pub fn validate_pod_security_context(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let context = at(spec, "/securityContext");
    validate_ids(errors, path, context, &["fsGroup", "runAsUser", "runAsGroup"]);
    for (index, group) in list_at(context, "/supplementalGroups").iter().enumerate() {
        for why in formats::user_id(group.as_i64().unwrap_or_default()) {
            errors.invalid(&path.child("supplementalGroups").index(index), group, &why);
        }
    }
    if is_true(spec, "/shareProcessNamespace") && is_true(spec, "/hostPID") {
        errors.invalid(
            &path.child("shareProcessNamespace"),
            &true.into(),
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    validate_sysctls(errors, &path.child("sysctls"), spec);
    one_of(errors, path, context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"]);
    validate_seccomp(errors, &path.child("seccompProfile"), at(context, "/seccompProfile"));
    windows::validate_options(errors, &path.child("windowsOptions"), at(context, "/windowsOptions"));
    validate_app_armor(errors, &path.child("appArmorProfile"), at(context, "/appArmorProfile"));
    one_of(errors, path, context, "supplementalGroupsPolicy", &["Merge", "Strict"]);
    one_of(errors, path, context, "seLinuxChangePolicy", &["MountOption", "Recursive"]);
}

fn validate_ids(errors: &mut Errors, path: &Path<'_>, context: &Value, fields: &[&str]) {
    for field in fields {
        if let Some(id) = opt_int(context, &format!("/{field}")) {
            for why in formats::user_id(id) {
                errors.invalid(&path.child(field), &id.into(), &why);
            }
        }
    }
}

fn validate_sysctls(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const NAME: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let mut seen = BTreeSet::new();
    for (index, sysctl) in list_at(spec, "/securityContext/sysctls").iter().enumerate() {
        let item = path.index(index);
        let path = item.child("name");
        let name = str_at(sysctl, "/name");
        if name.is_empty() {
            errors.required(&path, "");
        } else if !is_sysctl(name) {
            errors.invalid_str(&path, name, NAME);
        } else if !seen.insert(name) {
            errors.duplicate(&path, &name.into());
        }
        let namespaced = |prefixes: &[&str]| {
            let dotted = name.replace('/', ".");
            prefixes.iter().any(|prefix| dotted.starts_with(prefix))
        };
        if is_true(spec, "/hostNetwork") && namespaced(&["net."]) {
            errors.invalid_str(&path, name, "may not be specified when 'hostNetwork' is true");
        } else if is_true(spec, "/hostIPC")
            && namespaced(&["kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue."])
        {
            errors.invalid_str(&path, name, "may not be specified when 'hostIPC' is true");
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.split(['.', '/']).all(|segment| {
            let bytes = segment.as_bytes();
            matches!((bytes.first(), bytes.last()), (Some(a), Some(b)) if edge(a) && edge(b))
                && bytes.iter().all(|c| edge(c) || b"-_".contains(c))
        })
}

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn validate_seccomp(errors: &mut Errors, path: &Path<'_>, profile: &Value) {
    if profile.is_null() {
        return;
    }
    let kind = str_at(profile, "/type");
    if kind.is_empty() {
        errors.required(&path.child("type"), "type is required when seccompProfile is set");
    } else if !PROFILES.contains(&kind) {
        errors.not_supported(&path.child("type"), &kind.into(), PROFILES);
    }
    let file_path = path.child("localhostProfile");
    match (kind == "Localhost", opt_str(profile, "/localhostProfile")) {
        (true, None) => errors.required(&file_path, "must be set when seccomp type is Localhost"),
        (true, Some(file)) => validate_descending_path(errors, &file_path, file),
        (false, Some(_)) => {
            let why = "can only be set when seccomp type is Localhost";
            internal::invalid(errors, &file_path, "Profile", profile, why);
        }
        (false, None) => {}
    }
}

fn validate_app_armor(errors: &mut Errors, path: &Path<'_>, profile: &Value) {
    const MAX: usize = 4095;
    if profile.is_null() {
        return;
    }
    let file_path = path.child("localhostProfile");
    let file = opt_str(profile, "/localhostProfile");
    match str_at(profile, "/type") {
        "Localhost" => match file {
            None => errors.required(&file_path, "must be set when AppArmor type is Localhost"),
            Some(name) => {
                if name.trim() != name {
                    errors.invalid_str(&file_path, name, "must not be padded with whitespace");
                } else if name.is_empty() {
                    errors.required(&file_path, "must be set when AppArmor type is Localhost");
                }
                if name.len() > MAX {
                    errors.too_long(&file_path, MAX);
                }
            }
        },
        "RuntimeDefault" | "Unconfined" => {
            if let Some(name) = file {
                errors.invalid_str(&file_path, name, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&path.child("type"), "type is required when appArmorProfile is set"),
        other => errors.not_supported(&path.child("type"), &other.into(), PROFILES),
    }
}

/// What pods for one operating system cannot have of the other's.
pub fn validate_os(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    if !has(spec, "/os") {
        return;
    }
    match str_at(spec, "/os/name") {
        "linux" => validate_linux(errors, path, spec),
        "windows" => validate_windows(errors, path, spec),
        "" => errors.required(&path.child("os").child("name"), ""),
        other => errors.not_supported(&path.child("os"), &other.into(), &["linux", "windows"]),
    }
}

fn validate_linux(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const WHY: &str = "windows options cannot be set for a linux pod";
    if has(spec, "/securityContext/windowsOptions") {
        errors.forbidden(&path.child("securityContext").child("windowsOptions"), WHY);
    }
    super::visit_containers(path, spec, &mut |path, container| {
        if has(container, "/securityContext/windowsOptions") {
            errors.forbidden(&path.child("securityContext").child("windowsOptions"), WHY);
        }
    });
}

fn validate_windows(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const WHY: &str = "cannot be set for a windows pod";
    const OF_POD: [&str; 11] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ];
    const OF_CONTAINER: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    for field in OF_POD {
        if has(spec, &format!("/securityContext/{field}")) {
            errors.forbidden(&path.child("securityContext").child(field), WHY);
        }
    }
    for field in ["hostUsers", "shareProcessNamespace"] {
        if has(spec, &format!("/{field}")) {
            errors.forbidden(&path.child(field), WHY);
        }
    }
    for field in ["hostPID", "hostIPC"] {
        if is_true(spec, &format!("/{field}")) {
            errors.forbidden(&path.child(field), WHY);
        }
    }
    super::visit_containers(path, spec, &mut |path, container| {
        let Some(context) = map_at(container, "/securityContext") else { return };
        for field in OF_CONTAINER.into_iter().filter(|field| context.contains_key(*field)) {
            errors.forbidden(&path.child("securityContext").child(field), WHY);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn profiles_that_do_not_fit_print_as_the_real_server_has_them() {
        let mut errors = Errors::default();
        let profile = json!({"type": "RuntimeDefault", "localhostProfile": "x"});
        validate_seccomp(&mut errors, &Path::new("p"), &profile);
        assert_eq!(
            errors.0[0].to_string(),
            r#"p.localhostProfile: Invalid value: {"Type":"RuntimeDefault","LocalhostProfile":"x"}: can only be set when seccomp type is Localhost"#
        );
    }
}
