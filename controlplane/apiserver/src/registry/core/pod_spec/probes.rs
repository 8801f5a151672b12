//! Probes and lifecycle hooks.

use serde_json::Value;

use super::Subject;
use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, int_at, list_at, opt_int, opt_str, str_at};
use crate::validation::fields::{non_negative, port_number_or_name};
use crate::validation::formats;

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// `lifecycle` and the probes of a container.
pub fn validate_lifecycle_and_probes(
    errors: &mut Errors,
    path: &Path<'_>,
    container: &Value,
    subject: &Subject<'_>,
) {
    if let Some(lifecycle) = get(container, "/lifecycle") {
        let path = path.child("lifecycle");
        for hook in ["postStart", "preStop"] {
            if let Some(handler) = get(lifecycle, &format!("/{hook}")) {
                validate_handler(errors, &path.child(hook), handler, subject);
            }
        }
        validate_stop_signal(errors, &path.child("stopSignal"), lifecycle, subject);
    }
    for probe in PROBES {
        if let Some(found) = get(container, &format!("/{probe}")) {
            validate_probe(errors, &path.child(probe), found, probe, subject);
        }
    }
}

/// Containers that must not have hooks or probes.
pub fn forbid_lifecycle(errors: &mut Errors, path: &Path<'_>, container: &Value, why: &str) {
    for field in ["lifecycle"].into_iter().chain(PROBES) {
        if has(container, &format!("/{field}")) {
            errors.forbidden(&path.child(field), why);
        }
    }
}

fn validate_stop_signal(errors: &mut Errors, path: &Path<'_>, lifecycle: &Value, subject: &Subject<'_>) {
    let Some(signal) = opt_str(lifecycle, "/stopSignal") else { return };
    let supported: &[&str] = match str_at(subject.spec, "/os/name") {
        _ if !has(subject.spec, "/os") => {
            return errors.forbidden(path, "may not be set for containers with empty `spec.os.name`");
        }
        "windows" => &["SIGKILL", "SIGTERM"],
        "linux" => LINUX_SIGNALS,
        _ => return,
    };
    if !supported.contains(&signal) {
        errors.not_supported(path, &signal.into(), supported);
    }
}

fn validate_probe(errors: &mut Errors, path: &Path<'_>, probe: &Value, kind: &str, subject: &Subject<'_>) {
    validate_handler(errors, path, probe, subject);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        non_negative(errors, path, probe, field);
    }
    let grace = opt_int(probe, "/terminationGracePeriodSeconds");
    if let Some(seconds) = grace.filter(|seconds| *seconds <= 0) {
        errors.invalid(
            &path.child("terminationGracePeriodSeconds"),
            &seconds.into(),
            "must be greater than 0",
        );
    }
    if kind == "readinessProbe" {
        if let Some(seconds) = grace {
            errors.invalid(
                &path.child("terminationGracePeriodSeconds"),
                &seconds.into(),
                "must not be set for readinessProbes",
            );
        }
    } else if int_at(probe, "/successThreshold") != 1 {
        errors.invalid(&path.child("successThreshold"), at(probe, "/successThreshold"), "must be 1");
    }
}

fn validate_handler(errors: &mut Errors, path: &Path<'_>, handler: &Value, subject: &Subject<'_>) {
    let mut found = false;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let Some(action) = get(handler, &format!("/{kind}")) else { continue };
        let path = path.child(kind);
        if found {
            errors.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match kind {
            "exec" if list_at(action, "/command").is_empty() => errors.required(&path.child("command"), ""),
            "httpGet" => validate_http_get(errors, &path, action),
            "tcpSocket" => port_number_or_name(errors, &path.child("port"), at(action, "/port")),
            "grpc" => {
                port_number_or_name(errors, &path.child("port"), &int_at(action, "/port").into());
            }
            "sleep" => validate_sleep(errors, &path, action, subject),
            _ => {}
        }
    }
    if !found {
        errors.required(path, "must specify a handler type");
    }
}

fn validate_sleep(errors: &mut Errors, path: &Path<'_>, action: &Value, subject: &Subject<'_>) {
    let seconds = int_at(action, "/seconds");
    if let Some(grace) = opt_int(subject.spec, "/terminationGracePeriodSeconds")
        && !(0..=grace).contains(&seconds)
    {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(path, &seconds.into(), &why);
    }
}

fn validate_http_get(errors: &mut Errors, path: &Path<'_>, action: &Value) {
    if str_at(action, "/path").is_empty() {
        errors.required(&path.child("path"), "");
    }
    port_number_or_name(errors, &path.child("port"), at(action, "/port"));
    let scheme = str_at(action, "/scheme");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.not_supported(&path.child("scheme"), &scheme.into(), &["HTTP", "HTTPS"]);
    }
    for header in list_at(action, "/httpHeaders") {
        let name = str_at(header, "/name");
        for why in formats::http_header_name(name) {
            errors.invalid_str(&path.child("httpHeaders"), name, &why);
        }
    }
}

const LINUX_SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];
