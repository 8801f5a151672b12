//! Evaluating the expressions of policies and webhooks.

use serde_json::Value as Json;

use crate::{
    cel::{Budget, Lazy, Value, Variables, json},
    registry::access::{list_at, str_at},
};

/// How much the expressions of one policy may do for one request, with one parameter.
pub const BUDGET: u64 = 10_000_000;

/// How much the match conditions of one policy or webhook may do for one request.
const BUDGET_OF_CONDITIONS: u64 = BUDGET / 4;

/// How much one expression may do.
const BUDGET_OF_EXPRESSION: u64 = 1_000_000;

/// What expressions speak of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The object, at the version that was matched; null for deletions.
    pub object: &'a Json,
    /// The object before; null for creations.
    pub old: &'a Json,
    /// The request.
    pub request: &'a Json,
    /// The namespace; null at cluster scope.
    pub namespace: &'a Json,
    /// The parameter; null without one.
    pub parameter: &'a Json,
    /// Who answers questions about rights.
    pub authorizer: &'a Value<'static>,
    /// The policy's variables.
    pub variables: &'a [(Box<str>, Lazy)],
}

/// Why an expression has no value, in the words of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// This one has none.
    #[error("{0}")]
    Expression(String),
    /// All together have done too much.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    Budget,
}

/// An evaluation of several expressions about one subject.
pub struct Evaluation<'a> {
    variables: Variables<'a>,
    budget: u64,
}

impl<'a> Subject<'a> {
    /// Begins an evaluation.
    pub fn evaluation(&self, budget: u64) -> Evaluation<'a> {
        let mut variables = Variables::default();
        for (name, document) in [
            ("object", self.object),
            ("oldObject", self.old),
            ("request", self.request),
            ("namespaceObject", self.namespace),
            ("params", self.parameter),
        ] {
            variables.set(name, json::value(document, None));
        }
        variables.set("authorizer", self.authorizer.clone());
        for (name, expression) in self.variables {
            // One that cannot be parsed is not there, which fails those who speak of it.
            if let Ok(program) = expression.program() {
                variables.compose(name, program);
            }
        }
        Evaluation { variables, budget }
    }
}

impl<'a> Evaluation<'a> {
    /// The value of an expression.
    pub fn value(&mut self, expression: &'a Lazy) -> Result<Value<'a>, Failure> {
        let program = expression
            .program()
            .map_err(|why| Failure::Expression(format!("compilation error: compilation failed: {why}")))?;
        let steps = self.budget.min(BUDGET_OF_EXPRESSION);
        let mut budget = Budget::new(steps);
        let result = program.evaluate(&self.variables, &mut budget);
        let spent = steps - budget.left();
        if result.is_err() && budget.left() == 0 && self.budget < BUDGET_OF_EXPRESSION {
            return Err(Failure::Budget);
        }
        self.budget -= spent;
        result.map_err(|why| {
            Failure::Expression(format!("expression '{}' resulted in error: {why}", expression.text()))
        })
    }
}

/// `matchConditions`: expressions that must all be true.
#[derive(Debug, Default)]
pub struct Conditions(Box<[Lazy]>);

impl Conditions {
    /// Reads the conditions of a policy's spec or a webhook.
    pub fn read(owner: &Json) -> Self {
        let conditions = list_at(owner, "/matchConditions").iter();
        Self(conditions.map(|condition| Lazy::new(str_at(condition, "/expression"))).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all are true. One that is false decides, whatever becomes of the others; what fails counts
    /// as false unless the owner `fails` with it.
    pub fn hold(&self, subject: &Subject<'_>, fails: bool) -> Result<bool, String> {
        let mut evaluation = subject.evaluation(BUDGET_OF_CONDITIONS);
        let mut failures = Vec::new();
        for condition in &self.0 {
            match evaluation.value(condition) {
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(failure @ Failure::Budget) => {
                    failures = vec![failure.to_string()];
                    break;
                }
                Err(failure) => failures.push(failure.to_string()),
            }
        }
        match super::joined(failures) {
            None => Ok(true),
            Some(why) if fails => Err(why),
            Some(_) => Ok(false),
        }
    }
}
