//! Rights that another server is asked about
//! (<https://kubernetes.io/docs/reference/access-authn-authz/webhook/>).

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Attributes, Decision};
use crate::{
    cel::{self, Budget, Lazy, Variables},
    outbound::{
        answers::{Answers, question},
        kubeconfig::{self, Remote},
        review,
    },
    registry::access::{bool_at, str_at},
};

/// Questions longer than this are not worth keeping.
const MAX_KEPT: usize = 10_000;

/// How much the conditions of a request may do.
const BUDGET: u64 = 10_000_000;

/// How a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The kubeconfig that leads to it.
    pub config_file: PathBuf,
    /// The version of its reviews: `v1` or `v1beta1`.
    pub version: String,
    /// How long it may take.
    pub timeout: Duration,
    /// How long it is good that somebody may do something; nothing if it is not kept.
    pub authorized_ttl: Duration,
    /// How long it is good that somebody may not.
    pub unauthorized_ttl: Duration,
    /// Whether nobody may do anything while it does not answer.
    pub denies_on_failure: bool,
    /// Expressions that must all be true of what it is asked about.
    pub conditions: Vec<String>,
}

impl Options {
    /// What holds for the flags `--authorization-webhook-*` unless they say otherwise.
    pub fn of_file(config_file: PathBuf) -> Self {
        Self {
            config_file,
            version: "v1beta1".into(),
            timeout: Duration::from_secs(30),
            authorized_ttl: Duration::from_secs(5 * 60),
            unauthorized_ttl: Duration::from_secs(30),
            denies_on_failure: false,
            conditions: Vec::new(),
        }
    }
}

/// Why no server can be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no such reviews.
    #[error("unsupported webhook authorizer version {0:?}, supported versions are \"v1\", \"v1beta1\"")]
    Version(String),
    /// It is not known how to reach it.
    #[error("failed to read the configuration of an authorization webhook")]
    Kubeconfig(#[from] kubeconfig::Error),
}

/// A server that knows who may do what.
#[derive(Debug)]
pub struct Webhook {
    remote: Remote,
    api_version: &'static str,
    options: Options,
    conditions: Box<[Lazy]>,
    answers: Answers<Decision>,
}

impl Webhook {
    /// The server that the options lead to.
    pub fn new(options: Options) -> Result<Self, Error> {
        let api_version = match options.version.as_str() {
            "v1" => "authorization.k8s.io/v1",
            "v1beta1" => "authorization.k8s.io/v1beta1",
            other => return Err(Error::Version(other.into())),
        };
        Ok(Self {
            remote: Remote::load(&options.config_file)?,
            api_version,
            conditions: options.conditions.iter().map(|text| Lazy::new(text)).collect(),
            options,
            answers: Answers::default(),
        })
    }

    /// The server's decision.
    pub async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        match holds(&self.conditions, attributes) {
            Ok(true) => {}
            Ok(false) => return Decision::NoOpinion(String::new()),
            Err(why) => return self.failure(why),
        }
        let spec = spec(attributes, self.api_version.ends_with("beta1"));
        let shown = spec.to_string();
        let question = question([shown.as_str()]);
        if let Some(decision) = self.answers.get(&question, Instant::now()) {
            return decision;
        }
        let timeout = self.options.timeout;
        let status = review::ask(&self.remote, self.api_version, "SubjectAccessReview", &spec, timeout).await;
        let status = match status {
            Ok(status) => status,
            Err(why) => {
                tracing::error!(error = why, "failed to make webhook authorizer request");
                return self.failure(why);
            }
        };
        let decision = judge(&status);
        if shown.len() < MAX_KEPT {
            let allowed = bool_at(&status, "/allowed");
            let good_for = if allowed { self.options.authorized_ttl } else { self.options.unauthorized_ttl };
            self.answers.put(question, decision.clone(), Instant::now(), good_for);
        }
        decision
    }

    fn failure(&self, why: String) -> Decision {
        if self.options.denies_on_failure { Decision::Deny(why) } else { Decision::Failed(why) }
    }
}

fn judge(status: &Value) -> Decision {
    let reason = str_at(status, "/reason").to_owned();
    match (bool_at(status, "/denied"), bool_at(status, "/allowed")) {
        (true, _) => Decision::Deny(reason),
        (false, true) => Decision::Allow(reason),
        (false, false) => Decision::NoOpinion(reason),
    }
}

/// What is asked; empty fields are left out.
fn spec(attributes: &Attributes<'_>, old: bool) -> Value {
    let user = attributes.user;
    let mut spec = json!({"user": user.name, "uid": user.uid, "extra": user.extra});
    spec[if old { "group" } else { "groups" }] = json!(user.groups);
    if attributes.is_resource {
        spec["resourceAttributes"] = resource(attributes);
    } else {
        spec["nonResourceAttributes"] = json!({"path": attributes.path, "verb": attributes.verb});
    }
    for part in ["resourceAttributes", "nonResourceAttributes"] {
        if let Some(fields) = spec.get_mut(part).and_then(Value::as_object_mut) {
            fields.retain(|_, value| value != "");
        }
    }
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| *value != json!("") && *value != json!({}) && *value != json!([]));
    }
    spec
}

fn resource(attributes: &Attributes<'_>) -> Value {
    json!({
        "namespace": attributes.namespace, "verb": attributes.verb, "group": attributes.group,
        "version": attributes.version, "resource": attributes.resource,
        "subresource": attributes.subresource, "name": attributes.name,
    })
}

/// Whether all conditions are true. One that is false decides, whatever becomes of the others.
fn holds(conditions: &[Lazy], attributes: &Attributes<'_>) -> Result<bool, String> {
    if conditions.is_empty() {
        return Ok(true);
    }
    let user = attributes.user;
    let mut request = json!({"user": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
    if attributes.is_resource {
        request["resourceAttributes"] = resource(attributes);
    } else {
        request["nonResourceAttributes"] = json!({"path": attributes.path, "verb": attributes.verb});
    }
    let mut variables = Variables::default();
    variables.set("request", cel::json::value(&request, None));
    let (mut budget, mut failures) = (Budget::new(BUDGET), Vec::new());
    for condition in conditions {
        let program = condition.program().map_err(ToString::to_string)?;
        match program.evaluate(&variables, &mut budget) {
            Ok(cel::Value::Bool(true)) => {}
            Ok(cel::Value::Bool(false)) => return Ok(false),
            Ok(_) => failures.push("cel expression must evaluate to bool".to_owned()),
            Err(why) => {
                failures.push(format!("expression '{}' resulted in error: {why}", condition.text()));
            }
        }
    }
    match failures.len() {
        0 => Ok(true),
        1 => Err(failures.remove(0)),
        _ => Err(format!("[{}]", failures.join(", "))),
    }
}
