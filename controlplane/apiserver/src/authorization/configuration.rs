//! `AuthorizationConfiguration`, the file of `--authorization-config`
//! (<https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/#apiserver-config-k8s-io-v1-AuthorizationConfiguration>).

use std::{
    collections::BTreeSet,
    path::{Path as File, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use super::webhook;
use crate::{
    cel::{Issues, Program, Scope, Type},
    custom::checks::formats,
    field::{Errors, Path},
    file,
    validation::names,
};

const MAX_CONDITIONS: usize = 64;
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
const TYPES: &[&str] = &["AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];

/// Who decides, in order.
#[derive(Debug)]
pub enum Authorizer {
    /// One that this server has.
    Mode(String),
    /// Another server.
    Webhook(webhook::Options),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Document {
    api_version: String,
    kind: String,
    authorizers: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Entry {
    r#type: String,
    name: String,
    webhook: Option<Webhook>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Webhook {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: Option<String>,
    cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: Option<String>,
    cache_unauthorized_requests: Option<bool>,
    timeout: String,
    subject_access_review_version: String,
    match_condition_subject_access_review_version: String,
    failure_policy: String,
    connection_info: ConnectionInfo,
    match_conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ConnectionInfo {
    r#type: String,
    kube_config_file: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Condition {
    expression: String,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file is of no use.
    #[error(transparent)]
    File(#[from] file::Error),
    /// It is of another form.
    #[error("failed to decode the configuration of authorization")]
    Shape(#[from] serde_json::Error),
    /// It is something else.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind {
        /// What it says that it is.
        kind: String,
        /// Of which version.
        api_version: String,
    },
    /// It contradicts itself.
    #[error("{}", .0.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Invalid(Errors),
}

/// Reads and validates a file.
pub fn load(path: &File) -> Result<Vec<Authorizer>, Error> {
    read(file::document(path)?)
}

/// Reads and validates a document.
pub fn read(document: Value) -> Result<Vec<Authorizer>, Error> {
    let Document { api_version, kind, authorizers } = serde_json::from_value(document)?;
    let known = matches!(
        api_version.as_str(),
        "apiserver.config.k8s.io/v1" | "apiserver.config.k8s.io/v1beta1" | "apiserver.config.k8s.io/v1alpha1"
    );
    if !known || kind != "AuthorizationConfiguration" {
        return Err(Error::Kind { kind, api_version });
    }
    let mut errors = Errors::default();
    let root = Path::new("authorizers");
    if authorizers.is_empty() {
        errors.required(&root, "at least one authorization mode must be defined");
    }
    let (mut types, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut all = Vec::new();
    for (index, entry) in authorizers.into_iter().enumerate() {
        let path = root.index(index);
        let ty = entry.r#type.as_str();
        if ty.is_empty() {
            errors.required(&path.child("type"), "");
        } else if !TYPES.contains(&ty) {
            errors.not_supported(&path.child("type"), &ty.into(), TYPES);
        } else if !types.insert(entry.r#type.clone()) && ty != "Webhook" {
            errors.duplicate(&path.child("type"), &ty.into());
        } else {
            name(&mut errors, &path.child("name"), &entry.name, &mut names);
            match entry.webhook {
                Some(hook) if ty == "Webhook" => {
                    all.push(Authorizer::Webhook(options(&mut errors, &path, hook)));
                }
                None if ty == "Webhook" => {
                    errors.required(&path.child("webhook"), "required when type=Webhook");
                }
                Some(_) => {
                    let why = "may only be specified when type=Webhook";
                    errors.invalid_str(&path.child("webhook"), "non-null", why);
                }
                None => all.push(Authorizer::Mode(entry.r#type)),
            }
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(Error::Invalid(errors)) }
}

fn name(errors: &mut Errors, path: &Path<'_>, name: &str, seen: &mut BTreeSet<String>) {
    if name.is_empty() {
        errors.required(path, "");
    } else if !seen.insert(name.to_owned()) {
        errors.duplicate(path, &name.into());
    } else {
        let wrong = names::dns1123_subdomain(name);
        if !wrong.is_empty() {
            errors.invalid_str(path, name, &format!("authorizer name is invalid: {}", wrong.join(", ")));
        }
    }
}

fn options(errors: &mut Errors, path: &Path<'_>, hook: Webhook) -> webhook::Options {
    let timeout = duration(errors, &path.child("timeout"), &hook.timeout, Some(MAX_TIMEOUT));
    let authorized = hook.authorized_ttl.as_deref().unwrap_or("5m");
    let authorized_ttl = duration(errors, &path.child("authorizedTTL"), authorized, None);
    let unauthorized = hook.unauthorized_ttl.as_deref().unwrap_or("30s");
    let unauthorized_ttl = duration(errors, &path.child("unauthorizedTTL"), unauthorized, None);
    let kept = |ttl: Duration, kept: Option<bool>| if kept.unwrap_or(true) { ttl } else { Duration::ZERO };
    let review = path.child("subjectAccessReviewVersion");
    one_of(errors, &review, &hook.subject_access_review_version, &["v1", "v1beta1"]);
    let version = hook.match_condition_subject_access_review_version.as_str();
    let of_conditions = path.child("matchConditionSubjectAccessReviewVersion");
    match version {
        "" if hook.match_conditions.is_empty() => {}
        "" => errors.required(&of_conditions, "required if match conditions are specified"),
        version => one_of(errors, &of_conditions, version, &["v1"]),
    }
    one_of(errors, &path.child("failurePolicy"), &hook.failure_policy, &["NoOpinion", "Deny"]);
    let config_file = connection(errors, &path.child("connectionInfo"), &hook.connection_info);
    webhook::Options {
        config_file,
        version: hook.subject_access_review_version,
        timeout,
        authorized_ttl: kept(authorized_ttl, hook.cache_authorized_requests),
        unauthorized_ttl: kept(unauthorized_ttl, hook.cache_unauthorized_requests),
        denies_on_failure: hook.failure_policy == "Deny",
        conditions: conditions(errors, &path.child("matchConditions"), &hook.match_conditions),
    }
}

fn duration(errors: &mut Errors, path: &Path<'_>, text: &str, max: Option<Duration>) -> Duration {
    let nanoseconds = if text.is_empty() { Some(0) } else { formats::duration(text) };
    let duration = nanoseconds.and_then(|n| u64::try_from(n).ok()).map(Duration::from_nanos);
    match (duration, max) {
        (Some(Duration::ZERO), _) => errors.required(path, ""),
        (Some(duration), Some(max)) if duration > max => {
            errors.invalid_str(path, text, "must be > 0s and <= 30s");
        }
        (None, Some(_)) => errors.invalid_str(path, text, "must be > 0s and <= 30s"),
        (None, None) => errors.invalid_str(path, text, "must be > 0s"),
        (Some(_), _) => {}
    }
    duration.unwrap_or_default()
}

fn one_of(errors: &mut Errors, path: &Path<'_>, text: &str, supported: &[&str]) {
    if text.is_empty() {
        errors.required(path, "");
    } else if !supported.contains(&text) {
        errors.not_supported(path, &text.into(), supported);
    }
}

fn connection(errors: &mut Errors, path: &Path<'_>, info: &ConnectionInfo) -> PathBuf {
    let file = info.kube_config_file.as_deref().unwrap_or_default();
    let field = path.child("kubeConfigFile");
    match (info.r#type.as_str(), file) {
        ("KubeConfigFile", "") => errors.required(&field, ""),
        ("KubeConfigFile", file) if !File::new(file).is_absolute() => {
            errors.invalid_str(&field, file, "must be an absolute path");
        }
        ("KubeConfigFile", file) => match std::fs::metadata(file) {
            Ok(found) if found.is_file() => {}
            Ok(_) => errors.invalid_str(&field, file, "must be a regular file"),
            Err(why) => errors.invalid_str(&field, file, &format!("error loading file: {why}")),
        },
        // The server's own service account has no place here: webhooks are reached by their files.
        (other, _) => one_of(errors, &path.child("type"), other, &["KubeConfigFile"]),
    }
    file.into()
}

fn conditions(errors: &mut Errors, path: &Path<'_>, conditions: &[Condition]) -> Vec<String> {
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(path, conditions.len(), MAX_CONDITIONS);
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let (path, text) = (path.index(index), condition.expression.as_str());
        let path = path.child("expression");
        if text.trim().is_empty() {
            errors.required(&path, "");
        } else if seen.insert(text) {
            compile(errors, &path, text);
        } else {
            errors.duplicate(&path, &text.into());
        }
    }
    conditions.iter().map(|condition| condition.expression.clone()).collect()
}

fn compile(errors: &mut Errors, path: &Path<'_>, text: &str) {
    let variables = [("request", Type::Dyn)];
    let compiled = || -> Result<Type, Issues> {
        Program::parse(text)?.check(text, &Scope { variables: &variables, ..Scope::default() })
    };
    match compiled() {
        Ok(Type::BOOL) => {}
        Ok(_) => errors.invalid_str(path, text, "must evaluate to bool"),
        Err(why) => errors.invalid_str(path, text, &format!("compilation failed: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(authorizers: Value) -> Vec<String> {
        let document = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
            "authorizers": authorizers,
        });
        match read(document) {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(errors)) => errors.0.iter().map(ToString::to_string).collect(),
            Err(other) => vec![other.to_string()],
        }
    }

    #[test]
    fn authorizers_are_known_and_have_names_of_their_own() {
        assert_eq!(
            errors(json!([])),
            ["authorizers: Required value: at least one authorization mode must be defined"]
        );
        assert_eq!(errors(json!([{"type": "Node", "name": "a"}, {"type": "RBAC", "name": "b"}])), [""; 0]);
        assert_eq!(
            errors(
                json!([{"type": "ABC"}, {"type": "RBAC", "name": "b"}, {"type": "RBAC", "name": "c"}, {"type": "Node", "name": "b"}])
            ),
            [
                "authorizers[0].type: Unsupported value: \"ABC\": supported values: \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"",
                "authorizers[2].type: Duplicate value: \"RBAC\"",
                "authorizers[3].name: Duplicate value: \"b\"",
            ]
        );
    }

    #[test]
    fn a_webhook_says_how_it_is_asked() {
        let hook = json!({
            "timeout": "31s", "subjectAccessReviewVersion": "v2", "failurePolicy": "Deny",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "a"},
            "matchConditions": [{"expression": "request.user"}],
        });
        assert_eq!(
            errors(json!([{"type": "Webhook", "name": "a", "webhook": hook}])),
            [
                "authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s",
                "authorizers[0].subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\"",
                "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified",
                "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"a\": must be an absolute path",
                "authorizers[0].matchConditions[0].expression: Invalid value: \"request.user\": must evaluate to bool",
            ]
        );
    }
}
