//! Judging values by a schema, with the verdicts and words of `k8s.io/kube-openapi/pkg/validation`.
//!
//! On an update, what has not changed since the old object is not held against the writer: a schema may
//! have become stricter after the object was stored.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{Additional, Bounds, Checks, ListKind, Logic, formats};
use crate::field::{self, Errors, FieldError, Path, Reason};

/// Judges a value. `base` is the path of what is judged; the messages name fields relative to it. With
/// `old`, errors of unchanged parts do not count.
pub fn validate(checks: &Checks, value: &Value, old: Option<&Value>, base: &str) -> Errors {
    let mut judge = Judge { base, path: String::new() };
    let verdict = judge.value(checks, value, old);
    if old.is_some_and(|old| old == value) { Errors::default() } else { verdict.errors }
}

struct Judge<'a> {
    base: &'a str,
    /// Of the value being judged.
    path: String,
}

/// What was found, and how much was as it should be: of several alternatives that fail, the errors of
/// the one that fits best are told.
#[derive(Default)]
struct Verdict {
    errors: Errors,
    matches: u32,
}

impl Verdict {
    fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    fn add(&mut self, error: FieldError) {
        if !self.errors.0.contains(&error) {
            self.errors.0.push(error);
        }
    }

    fn merge(&mut self, other: Self) {
        self.matches += other.matches;
        for error in other.errors.0 {
            self.add(error);
        }
    }
}

/// The name of a value's type; whole numbers that Go reads as floats are numbers.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Judge<'_> {
    fn value(&mut self, checks: &Checks, value: &Value, old: Option<&Value>) -> Verdict {
        let mut verdict = Verdict::default();
        if value.is_null() {
            if checks.types.is_empty() && checks.format.is_none() || checks.nullable {
                verdict.matches += 1;
            } else if !checks.types.is_empty() {
                self.wrong_type(&mut verdict, &checks.types.join(","), "null");
            }
            self.allowed(&mut verdict, checks.bounds.as_deref(), value);
            return verdict;
        }
        self.types(&mut verdict, checks, value);
        self.logic(&mut verdict, checks.logic.as_deref(), value, old);
        match value {
            Value::String(text) => self.text(&mut verdict, checks, text),
            Value::Number(_) => self.number(&mut verdict, checks, value),
            Value::Array(items) => self.list(&mut verdict, checks, items, old),
            _ => {}
        }
        self.allowed(&mut verdict, checks.bounds.as_deref(), value);
        verdict.matches += 1;
        if let Value::Object(map) = value {
            self.object(&mut verdict, checks, map, old);
        }
        verdict.matches += 1;
        verdict
    }

    /// A value below this one. What can be told to be the same as before is judged leniently.
    fn below(&mut self, checks: &Checks, value: &Value, old: Option<&Value>) -> Verdict {
        let mut verdict = self.value(checks, value, old);
        if !verdict.is_valid() && old == Some(value) {
            verdict.errors = Errors::default();
        }
        verdict
    }

    fn types(&self, verdict: &mut Verdict, checks: &Checks, value: &Value) {
        if checks.types.is_empty() && checks.format.is_none() {
            return;
        }
        let found = type_of(value);
        let allows = |kind| checks.types.contains(&kind);
        let whole = value.as_f64().is_some_and(|n| n.fract() == 0.0);
        let fits = allows(found)
            || found == "number" && whole && allows("integer")
            || found == "integer" && allows("number");
        let lenient = matches!(found, "string" | "array");
        if let Some(format) = checks.format.as_deref() {
            let width = match found {
                "integer" => "int64",
                "number" => "float64",
                _ => "",
            };
            if !lenient && !fits && format != width {
                return self.wrong_type(verdict, format, width);
            }
            if lenient && !allows("number") && !allows("integer") {
                verdict.matches += 2;
                return;
            }
        }
        if fits {
            verdict.matches += 2;
        } else {
            self.wrong_type(verdict, &checks.types.join(","), found);
        }
    }

    fn text(&self, verdict: &mut Verdict, checks: &Checks, text: &str) {
        if let Some(bounds) = checks.bounds.as_deref() {
            let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            if let Some(max) = bounds.max_length.filter(|max| length() > *max) {
                let unit = if max == 1 { "byte" } else { "bytes" };
                self.fail(verdict, Reason::TooLong, format!("Too long: may not be more than {max} {unit}"));
            } else if let Some(min) = bounds.min_length.filter(|min| length() < *min) {
                let why = format!("should be at least {min} chars long");
                self.invalid(verdict, &text.into(), &why);
            } else if let Some(pattern) = &bounds.pattern {
                match pattern.matches(text) {
                    Ok(true) => {}
                    Ok(false) => {
                        self.invalid(verdict, &text.into(), &format!("should match '{}'", pattern.text));
                    }
                    Err(why) => {
                        let why = format!("should match '{}, but pattern is invalid: {why}'", pattern.text);
                        self.invalid(verdict, &text.into(), &why);
                    }
                }
            }
        }
        verdict.matches += 1;
        if let Some(format) = checks.format.as_deref().filter(|f| !f.starts_with("int")) {
            if !formats::is_of(format, text) {
                self.wrong_type(verdict, format, text);
            }
            verdict.matches += 1;
        }
    }

    fn number(&self, verdict: &mut Verdict, checks: &Checks, value: &Value) {
        let number = value.as_f64().unwrap_or_default();
        let format = checks.format.as_deref().unwrap_or_default();
        let in_range = match (checks.types, format) {
            (["integer"], "int32") => number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX) + 1.0,
            (["integer"], _) => value.is_i64() || number.fract() == 0.0 && number.abs() < 2_f64.powi(63),
            (["number"], "float") => number.abs() <= f64::from(f32::MAX),
            _ => true,
        };
        if !in_range {
            let kind = checks.types.first().copied().unwrap_or_default();
            let format =
                if format.is_empty() { "(default format)".into() } else { format!("with format {format}") };
            self.composite(
                verdict,
                format!("Checked value must be of type {kind} {format} in {}", self.path),
            );
        }
        if let Some(bounds) = checks.bounds.as_deref() {
            if let Some(factor) = bounds.multiple_of {
                let quotient = if factor < 1.0 { 1.0 / factor * number } else { number / factor };
                if quotient.fract() != 0.0 {
                    self.invalid(
                        verdict,
                        value,
                        &format!("should be a multiple of {}", field::float(factor)),
                    );
                }
            }
            if let Some(max) = bounds.maximum
                && (number > max || bounds.exclusive_maximum && number >= max)
            {
                let relation = if bounds.exclusive_maximum { "less than" } else { "less than or equal to" };
                self.invalid(verdict, value, &format!("should be {relation} {}", field::float(max)));
            }
            if let Some(min) = bounds.minimum
                && (number < min || bounds.exclusive_minimum && number <= min)
            {
                let relation =
                    if bounds.exclusive_minimum { "greater than" } else { "greater than or equal to" };
                self.invalid(verdict, value, &format!("should be {relation} {}", field::float(min)));
            }
        }
        verdict.matches += 2;
    }

    fn list(&mut self, verdict: &mut Verdict, checks: &Checks, items: &[Value], old: Option<&Value>) {
        if let Some(schema) = &checks.items {
            for (i, item) in items.iter().enumerate() {
                let length = self.path.len();
                // Writing to a string cannot fail.
                let _ = write!(self.path, "[{i}]");
                let old = correlated_item(&checks.list, item, old);
                let below = self.below(schema, item, old);
                verdict.merge(below);
                self.path.truncate(length);
            }
        }
        verdict.matches += 2;
        let Some(bounds) = checks.bounds.as_deref() else { return };
        let size = i64::try_from(items.len()).unwrap_or(i64::MAX);
        if let Some(min) = bounds.min_items.filter(|min| size < *min) {
            self.invalid(verdict, &size.into(), &format!("should have at least {min} items"));
        }
        if let Some(max) = bounds.max_items.filter(|max| size > *max) {
            self.too_many(verdict, size, max);
        }
        let repeats = || items.iter().enumerate().any(|(i, item)| items[..i].contains(item));
        if bounds.unique_items && repeats() {
            self.invalid(verdict, &"".into(), "shouldn't contain duplicates");
        }
    }

    fn object(
        &mut self,
        verdict: &mut Verdict,
        checks: &Checks,
        map: &Map<String, Value>,
        old: Option<&Value>,
    ) {
        if let Some(bounds) = checks.bounds.as_deref() {
            let size = i64::try_from(map.len()).unwrap_or(i64::MAX);
            if let Some(min) = bounds.min_properties.filter(|min| size < *min) {
                self.invalid(verdict, &size.into(), &format!("should have at least {min} properties"));
            }
            if let Some(max) = bounds.max_properties.filter(|max| size > *max) {
                self.too_many(verdict, size, max);
            }
        }
        for (key, value) in map {
            let schema = match (checks.property(key), &checks.additional) {
                (Some(schema), _) => schema,
                (None, Additional::Of(schema)) => schema,
                (None, Additional::Forbidden) => {
                    let why = format!("{}.{key} in body is a forbidden property", self.path);
                    let detail = format!("Invalid value: {}: {why}", field::quoted(key));
                    self.fail(verdict, Reason::Invalid, detail);
                    continue;
                }
                (None, Additional::Any) => continue,
            };
            // Maps that are replaced as a whole have their old values, too.
            let correlates = !(self.path.is_empty() && matches!(key.as_str(), "kind" | "apiVersion"));
            let old = old.filter(|_| correlates).and_then(|old| old.get(key));
            let length = self.enter(key);
            let below = self.below(schema, value, old);
            self.path.truncate(length);
            verdict.merge(below);
        }
        for name in &checks.required {
            if !map.contains_key(&**name) {
                let length = self.enter(name);
                self.fail(verdict, Reason::Required, "Required value".into());
                self.path.truncate(length);
            }
        }
        verdict.matches += 1;
    }

    fn logic(&mut self, verdict: &mut Verdict, logic: Option<&Logic>, value: &Value, old: Option<&Value>) {
        verdict.matches += 2;
        let Some(logic) = logic else { return };
        if !logic.any_of.is_empty() {
            let (valid, best) = self.best(&logic.any_of, value, old, true);
            if valid == 0 {
                self.composite(verdict, format!("{:?} must validate at least one schema (anyOf)", self.path));
            }
            verdict.merge(best);
        }
        if !logic.one_of.is_empty() {
            let (valid, best) = self.best(&logic.one_of, value, old, false);
            if valid != 1 {
                let found = match valid {
                    0 => "Found none valid".to_owned(),
                    many => format!("Found {many} valid alternatives"),
                };
                let path = &self.path;
                self.composite(
                    verdict,
                    format!("{path:?} must validate one and only one schema (oneOf). {found}"),
                );
            }
            if valid <= 1 {
                verdict.merge(best);
            }
        }
        if !logic.all_of.is_empty() {
            let mut valid = 0;
            for schema in &logic.all_of {
                let one = self.value(schema, value, old);
                valid += usize::from(one.is_valid());
                verdict.merge(one);
            }
            if valid < logic.all_of.len() {
                let none = if valid == 0 { ". None validated" } else { "" };
                self.composite(
                    verdict,
                    format!("{:?} must validate all the schemas (allOf){none}", self.path),
                );
            }
        }
        if let Some(schema) = &logic.not
            && self.value(schema, value, old).is_valid()
        {
            self.composite(verdict, format!("{:?} must not validate the schema (not)", self.path));
        }
    }

    /// How many alternatives hold, and the verdict of the first that holds or else of the best failure.
    fn best(
        &mut self,
        schemas: &[Checks],
        value: &Value,
        old: Option<&Value>,
        one_is_enough: bool,
    ) -> (usize, Verdict) {
        let mut valid = 0;
        let mut best: Option<Verdict> = None;
        for schema in schemas {
            let one = self.value(schema, value, old);
            if one.is_valid() {
                valid += 1;
                if valid == 1 {
                    best = Some(one);
                }
                if one_is_enough {
                    break;
                }
            } else if valid == 0 && best.as_ref().is_none_or(|best| one.matches > best.matches) {
                best = Some(one);
            }
        }
        (valid, best.unwrap_or_default())
    }

    fn allowed(&self, verdict: &mut Verdict, bounds: Option<&Bounds>, value: &Value) {
        let Some(bounds) = bounds.filter(|b| !b.allowed.is_empty()) else { return };
        let equal = |allowed: &Value| match (allowed.as_f64(), value.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => allowed == value && !value.is_null(),
        };
        if bounds.allowed.iter().any(equal) {
            return;
        }
        let texts: Vec<String> =
            bounds.allowed.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), Into::into)).collect();
        let mut errors = Errors::default();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        errors.not_supported(&Path::ROOT, value, &texts);
        for error in errors.0 {
            self.fail(verdict, Reason::NotSupported, error.detail);
        }
    }

    fn enter(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }

    /// The whole path of the value.
    fn field(&self) -> String {
        match (self.base, self.path.as_str()) {
            ("", "") => "<nil>".into(),
            ("", path) => path.into(),
            (base, "") => base.into(),
            (base, path) => format!("{base}.{path}"),
        }
    }

    fn fail(&self, verdict: &mut Verdict, reason: Reason, detail: String) {
        verdict.add(FieldError { field: self.field(), reason, detail });
    }

    fn invalid(&self, verdict: &mut Verdict, value: &Value, why: &str) {
        let shown = field::shown(value);
        self.fail(verdict, Reason::Invalid, format!("Invalid value: {shown}: {} in body {why}", self.path));
    }

    fn wrong_type(&self, verdict: &mut Verdict, wanted: &str, found: &str) {
        let found = field::quoted(found);
        let why = format!("{} in body must be of type {wanted}: {found}", self.path);
        self.fail(verdict, Reason::TypeInvalid, format!("Invalid value: {found}: {why}"));
    }

    fn too_many(&self, verdict: &mut Verdict, size: i64, max: i64) {
        let unit = if max == 1 { "item" } else { "items" };
        self.fail(verdict, Reason::TooMany, format!("Too many: {size}: must have at most {max} {unit}"));
    }

    /// An error that is about the whole of what is judged.
    fn composite(&self, verdict: &mut Verdict, why: String) {
        let field = if self.base.is_empty() { "<nil>" } else { self.base };
        let detail = format!("Invalid value: \"\": {why}");
        verdict.add(FieldError { field: field.into(), reason: Reason::Invalid, detail });
    }
}

/// The item of an old list that this item was; only lists of maps can tell.
pub fn correlated_item<'v>(list: &ListKind, item: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
    let ListKind::Map(keys) = list else { return None };
    let same = |other: &&Value| keys.iter().all(|key| other.get(&**key) == item.get(&**key));
    old?.as_array()?.iter().find(same)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(schema: &Value, value: &Value) -> Vec<String> {
        let checks = Checks::compile(schema);
        validate(&checks, value, None, "").0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn alternatives_tell_the_best_failure() {
        let schema = json!({"type": "object", "properties": {"a": {"anyOf": [
            {"type": "integer", "minimum": 5}, {"type": "string"}]}}});
        assert!(errors(&schema, &json!({"a": "x"})).is_empty());
        assert_eq!(
            errors(&schema, &json!({"a": 3})),
            [
                "<nil>: Invalid value: \"\": \"a\" must validate at least one schema (anyOf)",
                "a: Invalid value: 3: a in body should be greater than or equal to 5",
            ]
        );
    }

    #[test]
    fn exactly_one_alternative_may_hold() {
        let schema = json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        assert!(errors(&schema, &json!({"a": 1})).is_empty());
        assert_eq!(
            errors(&schema, &json!({"a": 1, "b": 1})),
            [
                "<nil>: Invalid value: \"\": \"\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
            ]
        );
        assert!(errors(&json!({"not": {"required": ["a"]}}), &json!({"a": 1}))[0].ends_with("(not)"));
    }

    #[test]
    fn what_has_not_changed_is_not_judged_again() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "string", "maxLength": 1},
            "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}}}});
        let checks = Checks::compile(&schema);
        let old = json!({"a": "long", "l": [{"k": "x", "v": "bad"}], "b": 1});
        let new = json!({"a": "long", "l": [{"k": "y", "v": 1}, {"k": "x", "v": "bad"}], "b": 2});
        assert!(validate(&checks, &new, Some(&old), "").is_empty());
        let new = json!({"a": "longer", "l": []});
        assert_eq!(validate(&checks, &new, Some(&old), "").0.len(), 1);
    }
}
