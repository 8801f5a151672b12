//! ValidatingAdmissionPolicy
//! (<https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/>).

use std::{collections::BTreeMap, sync::Arc};

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
        let mut annotations = Annotations::new();
        for binding in &hook.bindings {
            match binding.matches(attributes, object).await {
                Ok(true) => {
                    let parameters = parameters.as_ref();
                    self.binding(policy, binding, &matched, parameters, &mut annotations).await?;
                }
                Ok(false) => {}
                Err(error) => self.misconfigured(policy, Some(binding), error.message),
            }
        }
        for (key, values) in annotations {
            audit::annotate(&format!("{}/{key}", policy.name), || values.join(", "));
        }
        Ok(())
    }

    async fn binding(
        &mut self,
        policy: &Policy<Validating>,
        binding: &Binding,
        matched: &Definition,
        parameters: Option<&Definition>,
        annotations: &mut Annotations,
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
            let (findings, annotated) = policy.judge(&subject);
            for finding in findings {
                self.act(policy, binding, finding);
            }
            for annotation in annotated {
                match annotation {
                    Ok((key, value)) => {
                        let values = annotations.entry(key).or_default();
                        if !values.contains(&value) {
                            values.push(value);
                        }
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

/// The audit annotations of a request by their keys: the values that differ, from all bindings and parameters.
type Annotations = BTreeMap<Box<str>, Vec<String>>;

/// Those of an evaluation: keys and values, or why there is none.
type Annotated = Vec<Result<(Box<str>, String), String>>;

impl Policy<Validating> {
    /// Everything that the policy finds wrong, and its audit annotations.
    fn judge(&self, subject: &Subject<'_>) -> (Vec<Finding>, Annotated) {
        match self.conditions.hold(subject, self.fails) {
            Ok(true) => {}
            Ok(false) => return (Vec::new(), Vec::new()),
            Err(why) => return (self.failed(0, &why).collect(), Vec::new()),
        }
        let mut evaluation = subject.evaluation(BUDGET);
        let mut results = Vec::with_capacity(self.body.validations.len());
        for validation in &self.body.validations {
            match evaluation.value(&validation.expression) {
                Ok(value) => results.push(Ok(matches!(value, cel::Value::Bool(true)))),
                Err(failure @ Failure::Budget) => return (self.failed(0, &failure).collect(), Vec::new()),
                Err(failure) => results.push(Err(failure)),
            }
        }
        let messages = if results.contains(&Ok(false)) {
            self.body.messages(subject, evaluation.left())
        } else {
            Ok(Vec::new())
        };
        let mut findings = Vec::new();
        for (index, result) in results.into_iter().enumerate() {
            match (result, &messages) {
                (Err(failure), _) => findings.extend(self.failed(index, &failure)),
                (Ok(_), Err(failure)) => {
                    findings.extend(self.failed(index, &format!("failed messageExpression: {failure}")));
                }
                (Ok(true), _) => {}
                (Ok(false), Ok(messages)) => {
                    let validation = &self.body.validations[index];
                    let message = validation.message(messages[index].as_deref());
                    findings.push(Finding { message, reason: validation.reason, index });
                }
            }
        }
        let mut evaluation = subject.evaluation(BUDGET);
        let annotations = self.body.annotations.iter();
        let annotations = annotations.filter_map(|annotation| self.annotation(annotation, &mut evaluation));
        (findings, annotations.collect())
    }

    /// What is found if a validation has no answer.
    fn failed(&self, index: usize, why: &impl ToString) -> impl Iterator<Item = Finding> {
        let finding =
            self.fails.then(|| Finding { message: why.to_string(), reason: Reason::Invalid, index });
        finding.into_iter()
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

impl Validating {
    /// What the message expressions of all validations make, as far as it can be used, within a budget. They know
    /// nothing of rights.
    fn messages(&self, subject: &Subject<'_>, budget: u64) -> Result<Vec<Option<String>>, Failure> {
        let subject = Subject { authorizer: &cel::Value::Null, ..*subject };
        let mut evaluation = subject.evaluation(budget);
        let mut messages = Vec::with_capacity(self.validations.len());
        for validation in &self.validations {
            messages.push(match validation.message_expression.as_ref().map(|made| evaluation.value(made)) {
                Some(Ok(cel::Value::Text(text))) => usable(&text).map(str::to_owned),
                Some(Err(failure @ Failure::Budget)) => return Err(failure),
                None | Some(Ok(_) | Err(Failure::Expression(_))) => None,
            });
        }
        Ok(messages)
    }
}

/// What an expression has made, if it can be a message.
fn usable(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n')).then_some(text)
}

impl Validation {
    /// What is said of a violation: what the message expression has made, the message, or the expression.
    fn message(&self, made: Option<&str>) -> String {
        match made.or(self.message.as_deref()) {
            Some(message) => message.to_owned(),
            None => format!("failed expression: {}", self.expression.text().trim()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a policy finds wrong with an object `{"a": 1}`.
    fn found(failure_policy: &str, validations: &[Value]) -> Vec<String> {
        let spec = json!({"failurePolicy": failure_policy, "validations": validations});
        let policy = Policy::<Validating>::read(&json!({"metadata": {"name": "p"}, "spec": spec}));
        let (findings, _) = policy.judge(&Subject {
            object: &json!({"a": 1}),
            old: &Value::Null,
            request: &json!({}),
            namespace: &Value::Null,
            parameter: &Value::Null,
            authorizer: &cel::Value::Null,
            variables: &[],
        });
        findings.into_iter().map(|finding| format!("{}: {}", finding.index, finding.message)).collect()
    }

    #[test]
    fn a_message_that_cannot_be_made_gives_way_to_the_one_that_is_written() {
        let said = |mut validation: Value| {
            validation["expression"] = "object.a == 2".into();
            found("Fail", &[validation]).remove(0)
        };
        assert_eq!(said(json!({"messageExpression": "'a is ' + string(object.a)"})), "0: a is 1");
        assert_eq!(said(json!({"message": " m ", "messageExpression": "object.b"})), "0: m");
        assert_eq!(said(json!({"message": "m", "messageExpression": "'a\\nb'"})), "0: m");
        assert_eq!(said(json!({"messageExpression": "'  '"})), "0: failed expression: object.a == 2");
    }

    #[test]
    fn messages_that_cost_more_than_is_left_fail_what_was_fine_too() {
        let dear = "string(lists.range(900000).size())";
        let mut validations = vec![json!({"expression": "object.a == 1", "messageExpression": dear}); 12];
        assert_eq!(found("Fail", &validations), [""; 0]);
        validations[3]["expression"] = "object.a == 2".into();
        validations[5]["expression"] = "object.b == 2".into();
        let findings = found("Fail", &validations);
        let spent = "failed messageExpression: validation failed due to running out of cost budget, no further validation rules will be run";
        assert_eq!(findings.len(), 12);
        assert_eq!(findings[0], format!("0: {spent}"));
        assert_eq!(findings[5], "5: expression 'object.b == 2' resulted in error: no such key: b");
        assert_eq!(found("Ignore", &validations), [""; 0]);
    }

    #[test]
    fn a_policy_that_may_fail_finds_nothing_when_its_budget_is_spent() {
        let mut validations = vec![json!({"expression": "lists.range(900000).size() > 0"}); 13];
        validations[0]["expression"] = "object.a == 2".into();
        assert_eq!(found("Ignore", &validations), [""; 0]);
        let spent =
            "0: validation failed due to running out of cost budget, no further validation rules will be run";
        assert_eq!(found("Fail", &validations), [spent]);
    }
}
