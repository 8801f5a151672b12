//! What the rules of schemas must be.

use serde_json::Value;

use super::{internal, version::find};
use crate::{
    cel::{Issues, Measured, Program, Scope, Type},
    field::{Errors, Path, Reason},
    registry::access::{bool_at, get, has, list_at, opt_str, str_at},
};

/// The most that one expression may cost.
const LIMIT: u64 = 10_000_000;

/// The most that all rules of a schema may cost.
const TOTAL_LIMIT: u64 = 100_000_000;

/// How many of the rules that make a schema too expensive are named.
const NAMED: usize = 4;

const REASONS: &[&str] =
    &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What a schema's place says of the rules in it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Whether it is the schema of a whole object.
    pub whole: bool,
    /// How many of it there can be in an object, where everything around it says so.
    pub cardinality: Option<u64>,
    /// The schema above that keeps values from being compared with older ones.
    pub uncorrelated: Option<&'a str>,
}

/// What is found about the expressions of a definition's schema, which is told after everything else.
#[derive(Debug, Default)]
pub struct Found {
    errors: Errors,
    total: u64,
    /// The expressions that cost most, with what they cost.
    expensive: Vec<(String, u64)>,
}

impl Found {
    /// Tells it, with what the schema at `path` costs altogether.
    pub fn tell(self, path: &Path<'_>, errors: &mut Errors) {
        errors.extend(self.errors);
        if self.total <= TOTAL_LIMIT {
            return;
        }
        for (path, _) in &self.expensive {
            let why =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.forbidden(&Path::new(path), why);
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.forbidden(path, &exceeds(what, self.total, TOTAL_LIMIT));
    }

    fn observe(&mut self, path: &Path<'_>, cost: u64) {
        self.total = self.total.saturating_add(cost);
        if cost >= TOTAL_LIMIT / 100 {
            self.expensive.push((path.to_string(), cost));
            self.expensive.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            self.expensive.truncate(NAMED);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "only the magnitude is told")]
fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// Judges what the rules of one schema say besides their expressions.
pub fn forms(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("x-kubernetes-validations");
    for (i, rule) in list_at(schema, "/x-kubernetes-validations").iter().enumerate() {
        form(rule, schema, &path.index(i), errors);
    }
}

/// Judges the expressions of the rules of one schema that is sound otherwise.
pub fn expressions(schema: &Value, path: &Path<'_>, place: Place<'_>, found: &mut Found) {
    if !has(schema, "/x-kubernetes-validations") {
        return;
    }
    let path = path.child("x-kubernetes-validations");
    let Some(declared) = Measured::read(schema, place.whole) else {
        let why = "Internal error: internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
        return found.errors.push(&path, Reason::Internal, why.into());
    };
    for (i, rule) in list_at(schema, "/x-kubernetes-validations").iter().enumerate() {
        expression(rule, &path.index(i), &declared, place, found);
    }
}

fn expression(rule: &Value, path: &Path<'_>, declared: &Measured, place: Place<'_>, found: &mut Found) {
    let (text, rule_path) = (str_at(rule, "/rule"), path.child("rule"));
    let scope_of = Variables::new(declared, bool_at(rule, "/optionalOldSelf"));
    let scope = scope_of.scope();
    let compiled = compile(text, &scope, &Type::BOOL, "cel expression must evaluate to a bool");
    let cost = compiled.as_ref().map_or(0, |(_, cost)| *cost);
    let cost = cost.saturating_mul(place.cardinality.unwrap_or_else(|| declared.max_cardinality()));
    if cost > LIMIT {
        found.errors.forbidden(&rule_path, &exceeds("estimated rule cost", cost, LIMIT));
    }
    found.observe(&rule_path, cost);
    let sound = match &compiled {
        Ok((program, _)) => Some(program),
        Err(why) => {
            internal::invalid(&mut found.errors, &rule_path, &internal::rule(rule), why);
            None
        }
    };
    if sound.is_some()
        && let Some(message) = opt_str(rule, "/messageExpression").filter(|message| !message.is_empty())
    {
        let path = path.child("messageExpression");
        match compile(message, &scope, &Type::TEXT, "messageExpression must evaluate to a string") {
            Err(why) => {
                let why = why.replacen("compilation failed", "messageExpression compilation failed", 1);
                internal::invalid(&mut found.errors, &path, &internal::rule(rule), &why);
            }
            Ok((_, cost)) => {
                if cost > LIMIT {
                    let why = exceeds("estimated messageExpression cost", cost, LIMIT);
                    found.errors.forbidden(&path, &why);
                }
                found.observe(&path, cost);
            }
        }
    }
    if sound.is_some_and(|program| program.mentions("oldSelf")) {
        if let Some(schema) = place.uncorrelated {
            let why =
                format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {schema}");
            found.errors.invalid_str(&rule_path, text, &why);
        }
    } else if let Some(optional) = get(rule, "/optionalOldSelf") {
        let why = "may not be set if oldSelf is not used in rule";
        found.errors.invalid(&path.child("optionalOldSelf"), optional, why);
    }
}

/// What rules speak of.
struct Variables<'d> {
    declared: &'d Measured,
    types: [(&'static str, Type); 2],
}

impl<'d> Variables<'d> {
    fn new(declared: &'d Measured, optional: bool) -> Self {
        let ty = declared.ty();
        let old = if optional { Type::optional(ty.clone()) } else { ty.clone() };
        Self { declared, types: [("self", ty), ("oldSelf", old)] }
    }

    fn scope(&self) -> Scope<'_> {
        Scope { variables: &self.types, measured: Some(self.declared), ..Scope::default() }
    }
}

/// An expression and what it costs at most, or what is wrong with it.
fn compile(text: &str, scope: &Scope<'_>, wanted: &Type, otherwise: &str) -> Result<(Program, u64), String> {
    let failed = |why: Issues| format!("compilation failed: {why}");
    let program = Program::parse(text).map_err(|why| failed(why.into()))?;
    let (ty, cost) = program.weigh(text, scope).map_err(failed)?;
    if ty == *wanted { Ok((program, cost)) } else { Err(otherwise.to_owned()) }
}

fn form(rule: &Value, schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    let has_newlines = |text: &str| text.contains(['\n', '\r']);
    let (expression, message) = (str_at(rule, "/rule").trim(), str_at(rule, "/message"));
    if expression.is_empty() {
        errors.required(&path.child("rule"), "rule is not specified");
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.invalid_str(&path.child("message"), message, "must be non-empty if specified");
    } else if has_newlines(message.trim()) {
        errors.invalid_str(&path.child("message"), message, "must not contain line breaks");
    } else if has_newlines(expression) && message.trim().is_empty() {
        errors.required(&path.child("message"), "message must be specified if rule contains line breaks");
    }
    let message_expression = str_at(rule, "/messageExpression");
    if !message_expression.is_empty() && message_expression.trim().is_empty() {
        errors.required(&path.child("messageExpression"), "messageExpression must be non-empty if specified");
    }
    if let Some(reason) = opt_str(rule, "/reason").filter(|r| !REASONS.contains(r)) {
        errors.not_supported(&path.child("reason"), &reason.into(), REASONS);
    }
    let field_path = str_at(rule, "/fieldPath");
    let path = path.child("fieldPath");
    if field_path.is_empty() {
        return;
    }
    if field_path.trim().is_empty() {
        errors.invalid_str(&path, field_path, "must be non-empty if specified");
    }
    if has_newlines(field_path) {
        errors.invalid_str(&path, field_path, "must not contain line breaks");
    }
    if find(schema, field_path, true).is_err() {
        errors.invalid_str(&path, field_path, "must be a valid path");
    }
}
