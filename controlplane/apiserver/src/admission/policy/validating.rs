//! ValidatingAdmissionPolicy
//! (<https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/>).

use std::sync::Arc;

use futures::future::BoxFuture;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Action, Binding, Body, Hook, Misconfigured, Policy, index::Index};
use crate::{
    admission::{
        Attributes, Plugin,
        authorizer::Authorizer,
        evaluation::{BUDGET, Evaluation, Failure, Subject},
        warn,
    },
    audit,
    cel::{self, Lazy},
    follow::Follower,
    registry::access::{list_at, opt_str, str_at},
    resource::Definition,
    status::{ApiError, Cause},
};

/// The longest message that an expression may make, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;

/// The longest value of an audit annotation, in bytes.
const MAX_ANNOTATION: usize = 10 * 1024;

/// The plugin.
#[derive(Default)]
pub struct ValidatingAdmissionPolicy(Arc<Index<Validating>>);

/// What a validating policy demands.
#[derive(Debug)]
pub struct Validating {
    validations: Box<[Validation]>,
    annotations: Box<[Annotation]>,
}

#[derive(Debug)]
struct Validation {
    expression: Lazy,
    message: Option<Box<str>>,
    message_expression: Option<Lazy>,
    reason: Reason,
}

#[derive(Debug)]
struct Annotation {
    key: Box<str>,
    value: Lazy,
}

/// The reason of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reason {
    Unauthorized,
    Forbidden,
    #[default]
    Invalid,
    RequestEntityTooLarge,
}

impl Reason {
    fn read(reason: Option<&str>) -> Self {
        match reason {
            Some("Unauthorized") => Self::Unauthorized,
            Some("Forbidden") => Self::Forbidden,
            Some("RequestEntityTooLarge") => Self::RequestEntityTooLarge,
            _ => Self::Invalid,
        }
    }

    const fn wire(self) -> (&'static str, StatusCode) {
        match self {
            Self::Unauthorized => ("Unauthorized", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("Forbidden", StatusCode::FORBIDDEN),
            Self::Invalid => ("Invalid", StatusCode::UNPROCESSABLE_ENTITY),
            Self::RequestEntityTooLarge => ("RequestEntityTooLarge", StatusCode::PAYLOAD_TOO_LARGE),
        }
    }
}

impl Body for Validating {
    const RESOURCES: &'static [&'static str; 2] =
        &["validatingadmissionpolicies", "validatingadmissionpolicybindings"];

    fn read(spec: &Value) -> Self {
        let text =
            |of: &Value, path| opt_str(of, path).map(str::trim).filter(|t| !t.is_empty()).map(Into::into);
        let validation = |v: &Value| Validation {
            expression: Lazy::new(str_at(v, "/expression")),
            message: text(v, "/message"),
            message_expression: text(v, "/messageExpression").map(|text: Box<str>| Lazy::new(&text)),
            reason: Reason::read(opt_str(v, "/reason")),
        };
        let annotation = |a: &Value| Annotation {
            key: str_at(a, "/key").into(),
            value: Lazy::new(str_at(a, "/valueExpression")),
        };
        Self {
            validations: list_at(spec, "/validations").iter().map(validation).collect(),
            annotations: list_at(spec, "/auditAnnotations").iter().map(annotation).collect(),
        }
    }
}

impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn follower(&self) -> Option<Arc<dyn Follower>> {
        Some(self.0.clone())
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a Value,
        warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let hooks = self.0.hooks();
        let matches = |hook: &Hook<Validating>| hook.policy.matching.resource(attributes, object).is_some();
        if super::is_exempt(attributes.definition) || !hooks.iter().any(matches) {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move {
            let mut dispatch = Dispatch { attributes, object, warnings, denied: None };
            for hook in hooks.iter() {
                dispatch.hook(hook).await?;
            }
            dispatch.denied.map_or(Ok(()), |denial| Err(denial.refusal(attributes, object)))
        })
    }
}

/// What an evaluation found wrong.
struct Finding {
    message: String,
    reason: Reason,
    /// The validation that found it.
    index: usize,
}

/// The first refusal; it is what the client is told.
struct Denial {
    policy: String,
    binding: Option<String>,
    message: String,
    reason: Reason,
}

impl Denial {
    fn refusal(self, attributes: &Attributes<'_>, object: &Value) -> ApiError {
        let Self { policy, message, .. } = self;
        let message = match self.binding {
            Some(binding) => {
                format!(
                    "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {message}"
                )
            }
            None => format!("ValidatingAdmissionPolicy '{policy}' denied request: {message}"),
        };
        let mut error = attributes.forbidden(object, &message);
        let (reason, code) = self.reason.wire();
        (error.reason, error.code) = (reason.into(), code);
        if let Some(details) = &mut error.details {
            details.causes.push(Cause { reason: "".into(), message, field: String::new() });
        }
        error
    }
}

struct Dispatch<'d, 'a> {
    attributes: &'a Attributes<'a>,
    object: &'a Value,
    warnings: &'d mut Vec<String>,
    denied: Option<Denial>,
}

impl Dispatch<'_, '_> {
    fn deny(
        &mut self,
        policy: &Policy<Validating>,
        binding: Option<&Binding>,
        message: String,
        reason: Reason,
    ) {
        self.denied.get_or_insert_with(|| Denial {
            policy: policy.name.clone(),
            binding: binding.map(|binding| binding.name.clone()),
            message,
            reason,
        });
    }

    fn misconfigured(&mut self, policy: &Policy<Validating>, binding: Option<&Binding>, why: String) {
        if !policy.fails {
            return;
        }
        let why = match binding {
            Some(_) => Misconfigured::Binding(why),
            None => Misconfigured::Policy(why),
        };
        self.deny(policy, binding, why.to_string(), Reason::Invalid);
    }

    async fn hook(&mut self, hook: &Hook<Validating>) -> Result<(), ApiError> {
        let (attributes, object) = (self.attributes, self.object);
        let policy = &*hook.policy;
        let Some(matched) = policy.matching.resource(attributes, object) else { return Ok(()) };
        match policy.matching.selects(attributes, object).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                self.misconfigured(policy, None, error.message);
                return Ok(());
            }
        }
        let parameters = match policy.parameters.as_ref().map(|kind| kind.resource(attributes.server)) {
            Some(Err(why)) => {
                self.misconfigured(policy, None, why);
                return Ok(());
            }
            Some(Ok(resource)) => Some(resource),
            None => None,
        };
        for binding in &hook.bindings {
            match binding.matches(attributes, object).await {
                Ok(true) => self.binding(policy, binding, &matched, parameters.as_ref()).await?,
                Ok(false) => {}
                Err(error) => self.misconfigured(policy, Some(binding), error.message),
            }
        }
        Ok(())
    }

    async fn binding(
        &mut self,
        policy: &Policy<Validating>,
        binding: &Binding,
        matched: &Definition,
        parameters: Option<&Definition>,
    ) -> Result<(), ApiError> {
        let (attributes, object) = (self.attributes, self.object);
        let parameters = match (parameters, &binding.reference) {
            (Some(resource), Some(reference)) => match reference.collect(attributes, resource).await {
                Ok(parameters) => parameters,
                Err(why) => {
                    self.misconfigured(policy, Some(binding), why);
                    return Ok(());
                }
            },
            _ => vec![Value::Null],
        };
        let namespace = super::namespace(attributes).await?;
        let request = attributes.request(object, matched).into();
        let at_version = attributes.at_version(object, matched).await?;
        let old = attributes.at_version(attributes.old.unwrap_or(&Value::Null), matched).await?;
        let authorizer = Authorizer::value(attributes, object);
        for parameter in &parameters {
            let subject = Subject {
                object: &at_version,
                old: &old,
                request: &request,
                namespace: &namespace,
                parameter,
                authorizer: &authorizer,
                variables: &policy.variables,
            };
            let (findings, annotations) = policy.judge(&subject);
            for finding in findings {
                self.act(policy, binding, finding);
            }
            for annotation in annotations {
                match annotation {
                    Ok((key, value)) => {
                        audit::annotate(&format!("{}/{key}", policy.name), || value);
                    }
                    Err(why) => self.deny(policy, Some(binding), why, Reason::Invalid),
                }
            }
        }
        Ok(())
    }

    fn act(&mut self, policy: &Policy<Validating>, binding: &Binding, finding: Finding) {
        for action in &binding.actions {
            let message = finding.message.clone();
            match action {
                Action::Deny => self.deny(policy, Some(binding), message, finding.reason),
                Action::Warn => warn(
                    self.warnings,
                    format!(
                        "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                        policy.name, binding.name
                    ),
                ),
                Action::Audit => {
                    let actions: Vec<&str> = binding.actions.iter().map(|action| action.as_str()).collect();
                    let value = json!([{
                        "message": message,
                        "policy": policy.name,
                        "binding": binding.name,
                        "expressionIndex": finding.index,
                        "validationActions": actions,
                    }]);
                    let key = "validation.policy.admission.k8s.io/validation_failure";
                    audit::annotate(key, || value.to_string());
                }
            }
        }
    }
}

/// The audit annotations of an evaluation: keys and values, or why there is none.
type Annotations = Vec<Result<(Box<str>, String), String>>;

impl Policy<Validating> {
    /// Everything that the policy finds wrong, and its audit annotations.
    fn judge(&self, subject: &Subject<'_>) -> (Vec<Finding>, Annotations) {
        let failed = |index, message| Finding { message, reason: Reason::Invalid, index };
        match self.conditions.hold(subject, self.fails) {
            Ok(true) => {}
            Ok(false) => return (Vec::new(), Vec::new()),
            Err(why) => return (vec![failed(0, why)], Vec::new()),
        }
        let mut evaluation = subject.evaluation(BUDGET);
        let mut findings = Vec::new();
        for (index, validation) in self.body.validations.iter().enumerate() {
            match evaluation.value(&validation.expression) {
                Ok(cel::Value::Bool(true)) => {}
                Ok(_) => {
                    let message = validation.message(&mut evaluation);
                    findings.push(Finding { message, reason: validation.reason, index });
                }
                Err(_) if !self.fails => {}
                Err(failure @ Failure::Budget) => return (vec![failed(0, failure.to_string())], Vec::new()),
                Err(failure) => findings.push(failed(index, failure.to_string())),
            }
        }
        let mut evaluation = subject.evaluation(BUDGET);
        let annotations = self.body.annotations.iter();
        let annotations = annotations.filter_map(|annotation| self.annotation(annotation, &mut evaluation));
        (findings, annotations.collect())
    }

    fn annotation<'a>(
        &'a self,
        annotation: &'a Annotation,
        evaluation: &mut Evaluation<'a>,
    ) -> Option<Result<(Box<str>, String), String>> {
        match evaluation.value(&annotation.value) {
            Ok(cel::Value::Null) => None,
            Ok(cel::Value::Text(text)) => {
                let mut value = text.trim().to_owned();
                let end = (0..=MAX_ANNOTATION.min(value.len())).rev().find(|at| value.is_char_boundary(*at));
                value.truncate(end.unwrap_or_default());
                (!value.is_empty()).then(|| Ok((annotation.key.clone(), value)))
            }
            Ok(other) => Some(Err(format!(
                "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                annotation.value.text(),
                other.type_name()
            ))),
            Err(failure) => self.fails.then(|| Err(failure.to_string())),
        }
    }
}

impl Validation {
    /// What is said of a violation: what the message expression makes, the message, or the expression.
    fn message<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> String {
        if let Some(expression) = &self.message_expression
            && let Ok(cel::Value::Text(text)) = evaluation.value(expression)
        {
            let text = text.trim();
            if !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n') {
                return text.to_owned();
            }
        }
        match &self.message {
            Some(message) => message.to_string(),
            None => format!("failed expression: {}", self.expression.text().trim()),
        }
    }
}
