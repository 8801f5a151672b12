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
    /// What is left of the budget.
    pub fn left(&self) -> u64 {
        self.budget
    }

    /// The value of an expression.
    pub fn value(&mut self, expression: &'a Lazy) -> Result<Value<'a>, Failure> {
        let program = expression
            .program()
            .map_err(|why| Failure::Expression(format!("compilation error: compilation failed: {why}")))?;
        let mut budget = Budget::new(BUDGET_OF_EXPRESSION);
        let result = program.evaluate(&self.variables, &mut budget);
        self.budget = self.budget.checked_sub(budget.spent()).ok_or(Failure::Budget)?;
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
        // Conditions are asked before the namespace is looked up; to them it is null.
        let subject = Subject { namespace: &Json::Null, ..*subject };
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_subject<T>(object: &Json, judge: impl FnOnce(&Subject<'_>) -> T) -> T {
        judge(&Subject {
            object,
            old: &Json::Null,
            request: &json!({}),
            namespace: &Json::Null,
            parameter: &Json::Null,
            authorizer: &Value::Null,
            variables: &[],
        })
    }

    fn conditions(expressions: &[&str]) -> Conditions {
        Conditions(expressions.iter().map(|text| Lazy::new(text)).collect())
    }

    #[test]
    fn one_false_condition_decides_whatever_fails_before_it() {
        let object = json!({"a": 1});
        let hold = |expressions: &[&str], fails| {
            let conditions = conditions(expressions);
            with_subject(&object, |subject| conditions.hold(subject, fails))
        };
        assert_eq!(hold(&["object.a == 1"], true), Ok(true));
        assert_eq!(hold(&["object.b == 1", "object.a == 2"], true), Ok(false));
        assert_eq!(hold(&["object.b == 1", "object.a == 1"], false), Ok(false));
        assert_eq!(
            hold(&["object.b == 1", "object.c == 1"], true),
            Err("[expression 'object.b == 1' resulted in error: no such key: b, expression 'object.c == 1' resulted in error: no such key: c]".into())
        );
    }

    #[test]
    fn expressions_have_a_budget_each_and_one_together() {
        let (object, dear) = (json!({}), Lazy::new("lists.range(900000).all(i, i >= 0)"));
        let (first, second) = with_subject(&object, |subject| {
            let mut evaluation = subject.evaluation(1_500_000);
            (evaluation.value(&dear).map(|_| ()), evaluation.value(&dear).map(|_| ()))
        });
        let cancelled = "expression 'lists.range(900000).all(i, i >= 0)' resulted in error: operation cancelled: actual cost limit exceeded";
        assert_eq!(first, Err(Failure::Expression(cancelled.into())));
        assert_eq!(second, Err(Failure::Budget));
    }
}
