//! PodSecurity: the security levels that namespaces demand of their pods by labels
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).

mod checks;

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::{
    field::{Errors, Path},
    metadata,
    registry::access::{at, entries, list_at, map_at, str_at},
    status::ApiError,
};

const PREFIX: &str = "pod-security.kubernetes.io/";
const LATEST: &str = "latest";

/// What the audit is told: the level that is enforced, and how pods fall short of the one to be noted.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
const VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";

pub struct PodSecurity;

/// How secure pods must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// They may do everything.
    #[default]
    Privileged,
    /// They may do nothing known to be dangerous.
    Baseline,
    /// They may do only what is known to be harmless.
    Restricted,
}

/// A level, of a version of the standards.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Demand {
    level: Level,
    version: String,
}

impl std::fmt::Display for Demand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        write!(f, "{level}:{}", self.version)
    }
}

/// What a namespace demands.
struct Policy {
    enforce: Demand,
    audit: Demand,
    warn: Demand,
}

impl Policy {
    fn of(namespace: &Value) -> Self {
        let label = |name: &str| {
            let labels = map_at(namespace, "/metadata/labels")?;
            labels.get(&format!("{PREFIX}{name}"))?.as_str()
        };
        let demand = |mode: &str| Demand {
            // A label that says nothing known is on the safe side.
            level: label(mode).map_or(Level::Privileged, |l| level(l).unwrap_or(Level::Restricted)),
            version: label(&format!("{mode}-version")).filter(|v| is_version(v)).unwrap_or(LATEST).to_owned(),
        };
        let enforce = demand("enforce");
        // Who enforces wants to be warned too, if not told otherwise.
        let warn = if label("warn").is_none() { enforce.clone() } else { demand("warn") };
        let audit = if label("audit").is_none() { enforce.clone() } else { demand("audit") };
        Self { enforce, audit, warn }
    }
}

fn level(name: &str) -> Option<Level> {
    match name {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

fn is_version(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text == LATEST
        || text
            .strip_prefix("v1.")
            .is_some_and(|minor| number(minor) && (minor == "0" || !minor.starts_with('0')))
}

impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a Value,
        warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if attributes.operation == Operation::Delete {
                return Ok(());
            }
            if attributes.is("", "namespaces") {
                return namespace(attributes, object, warnings).await;
            }
            let pods = attributes.definition.is("", "pods");
            if pods && matches!(attributes.subresource, "" | "ephemeralcontainers") {
                return pod(attributes, object, warnings).await;
            }
            if let Some(path) = template(attributes)
                && let Some(policy) = policy(attributes).await?
            {
                note(&policy, object, path);
                warnings.extend(warning(&policy, object, path));
            }
            Ok(())
        })
    }
}

/// Where kinds that make pods keep what they make them from.
fn template(attributes: &Attributes<'_>) -> Option<&'static str> {
    if !attributes.subresource.is_empty() {
        return None;
    }
    match (attributes.definition.group(), attributes.definition.plural()) {
        ("", "podtemplates") => Some("/template"),
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => Some("/spec/template"),
        ("batch", "cronjobs") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

async fn policy(attributes: &Attributes<'_>) -> Result<Option<Policy>, ApiError> {
    let namespace = attributes.server.find("", "namespaces", "", attributes.namespace).await?;
    Ok(namespace.as_ref().map(Policy::of))
}

async fn pod(attributes: &Attributes<'_>, pod: &Value, warnings: &mut Vec<String>) -> Result<(), ApiError> {
    if attributes.operation == Operation::Update && !attributes.old.is_some_and(|old| matters(pod, old)) {
        return Ok(());
    }
    let Some(policy) = policy(attributes).await? else { return Ok(()) };
    crate::audit::annotate(ENFORCED, || policy.enforce.to_string());
    note(&policy, pod, "");
    let found = checks::violations(pod, policy.enforce.level);
    if !found.is_empty() {
        let why = format!("violates PodSecurity {:?}: {}", policy.enforce.to_string(), found.join(", "));
        return Err(attributes.forbidden(pod, &why));
    }
    warnings.extend(warning(&policy, pod, ""));
    Ok(())
}

fn warning(policy: &Policy, object: &Value, path: &str) -> Option<String> {
    violation(&policy.warn, at(object, path))
}

/// Notes for the audit what the namespace wants to be noted.
fn note(policy: &Policy, object: &Value, path: &str) {
    // Most namespaces want nothing, and most servers have no audit.
    if policy.audit.level > Level::Privileged
        && crate::audit::is_on()
        && let Some(violation) = violation(&policy.audit, at(object, path))
    {
        crate::audit::annotate(VIOLATIONS, || violation);
    }
}

fn violation(demand: &Demand, pod: &Value) -> Option<String> {
    if demand.level == Level::Privileged {
        return None;
    }
    let found = checks::violations(pod, demand.level);
    (!found.is_empty())
        .then(|| format!("would violate PodSecurity {:?}: {}", demand.to_string(), found.join(", ")))
}

/// Whether an update changes what the levels are about and pods can change at all.
fn matters(pod: &Value, old: &Value) -> bool {
    let images = |pod: &Value| -> Vec<String> {
        ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"]
            .iter()
            .flat_map(|list| list_at(pod, list))
            .map(|container| format!("{} {}", str_at(container, "/name"), str_at(container, "/image")))
            .collect()
    };
    let profiles = |pod: &Value| -> Vec<(String, Value)> {
        entries(pod, "/metadata/annotations")
            .filter(|(name, _)| {
                name.starts_with("container.apparmor.security.beta.kubernetes.io/")
                    || name.contains("seccomp.security.alpha.kubernetes.io")
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    images(pod) != images(old) || profiles(pod) != profiles(old)
}

/// The labels of a namespace say something known, and its pods are looked at when it demands more.
async fn namespace(
    attributes: &Attributes<'_>,
    namespace: &Value,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let mut errors = Errors::default();
    let labels = Path::new("metadata.labels");
    for mode in ["enforce", "audit", "warn"] {
        let (name, version) = (format!("{PREFIX}{mode}"), format!("{PREFIX}{mode}-version"));
        let value = |name: &str| map_at(namespace, "/metadata/labels").and_then(|l| l.get(name)?.as_str());
        if let Some(value) = value(&name).filter(|v| level(v).is_none()) {
            errors.invalid_str(&labels.key(&name), value, "must be one of privileged, baseline, restricted");
        }
        if let Some(value) = value(&version).filter(|v| !is_version(v)) {
            errors.invalid_str(&labels.key(&version), value, "must be \"latest\" or \"v1.x\"");
        }
    }
    let before = attributes.old.map(Policy::of);
    let unchanged =
        attributes.old.is_some_and(|old| at(old, "/metadata/labels") == at(namespace, "/metadata/labels"));
    if unchanged {
        return Ok(());
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid(
            attributes.definition.group_kind(),
            metadata::name(namespace),
            &errors,
        ));
    }
    let enforce = Policy::of(namespace).enforce;
    if before.is_none_or(|before| enforce.level <= before.enforce.level) {
        return Ok(());
    }
    warn_of_existing(attributes, metadata::name(namespace), &enforce, warnings).await
}

async fn warn_of_existing(
    attributes: &Attributes<'_>,
    name: &str,
    enforce: &Demand,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let mut groups: Vec<(String, String, usize)> = Vec::new();
    for pod in attributes.server.find_all("", "pods", name).await? {
        let reasons = checks::reasons(&pod, enforce.level);
        if reasons.is_empty() {
            continue;
        }
        let reasons = reasons.join(", ");
        match groups.iter_mut().find(|(_, known, _)| *known == reasons) {
            Some((_, _, others)) => *others += 1,
            None => groups.push((metadata::name(&pod).into(), reasons, 0)),
        }
    }
    if groups.is_empty() {
        return Ok(());
    }
    warnings.push(format!(
        "existing pods in namespace {name:?} violate the new PodSecurity enforce level {:?}",
        enforce.to_string()
    ));
    warnings.extend(groups.into_iter().map(|(pod, reasons, others)| match others {
        0 => format!("{pod}: {reasons}"),
        1 => format!("{pod} (and 1 other pod): {reasons}"),
        many => format!("{pod} (and {many} other pods): {reasons}"),
    }));
    Ok(())
}
