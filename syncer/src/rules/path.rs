//! Places in a document: `spec.rules[*].backendRefs[0].name`, `metadata.annotations['example.com/key']`.

use serde_json::Value;

/// A place, or with `[*]` several places, in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    /// Every item of a list.
    Each,
}

/// Why a text is no path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a path: {why}")]
pub(crate) struct PathError {
    text: String,
    why: &'static str,
}

impl Path {
    /// Reads a path. Fields are separated by dots or written as `['field']`; `[3]` is an item, `[*]` is each of them.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        steps(text).map(Self).map_err(|why| PathError { text: text.to_owned(), why })
    }

    /// Calls `change` with every place that exists. A last field that is missing counts as `null`, and is made if
    /// `change` gives it a value; places that become `null` are removed.
    pub fn change<E>(
        &self,
        document: &mut Value,
        change: &mut dyn FnMut(&mut Value) -> Result<(), E>,
    ) -> Result<(), E> {
        walk(&self.0, document, change)
    }

    /// Removes every place.
    pub fn remove(&self, document: &mut Value) {
        let removed: Result<(), std::convert::Infallible> = self.change(document, &mut |value| {
            *value = Value::Null;
            Ok(())
        });
        let Ok(()) = removed;
    }

    /// Whether any of the places exists.
    pub fn exists(&self, document: &Value) -> bool {
        found(&self.0, document)
    }
}

fn steps(text: &str) -> Result<Vec<Step>, &'static str> {
    let mut steps = Vec::new();
    let mut rest = text;
    let mut wants_field = true;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (step, tail) = bracket(inner)?;
            steps.push(step);
            rest = tail;
        } else {
            let field = if wants_field { rest } else { rest.strip_prefix('.').ok_or("a dot is missing")? };
            let end = field.find(['.', '[']).unwrap_or(field.len());
            let (name, tail) = field.split_at(end);
            if name.is_empty() {
                return Err("a field has no name");
            }
            steps.push(Step::Field(name.to_owned()));
            rest = tail;
        }
        wants_field = false;
    }
    if steps.is_empty() { Err("it is empty") } else { Ok(steps) }
}

/// What stands in brackets, and what follows them.
fn bracket(inner: &str) -> Result<(Step, &str), &'static str> {
    for quote in ['\'', '"'] {
        if let Some(quoted) = inner.strip_prefix(quote) {
            let (name, tail) = quoted.split_once(quote).ok_or("a quote is not closed")?;
            let tail = tail.strip_prefix(']').ok_or("a bracket is not closed")?;
            return Ok((Step::Field(name.to_owned()), tail));
        }
    }
    let (item, tail) = inner.split_once(']').ok_or("a bracket is not closed")?;
    if item == "*" {
        return Ok((Step::Each, tail));
    }
    let index = item.parse().map_err(|_| "in brackets stands a number, * or a quoted field")?;
    Ok((Step::Index(index), tail))
}

fn walk<E>(
    steps: &[Step],
    value: &mut Value,
    change: &mut dyn FnMut(&mut Value) -> Result<(), E>,
) -> Result<(), E> {
    let Some((step, rest)) = steps.split_first() else { return change(value) };
    match (step, value) {
        (Step::Field(name), Value::Object(fields)) => match fields.get_mut(name) {
            Some(inner) => {
                walk(rest, inner, change)?;
                if rest.is_empty() && inner.is_null() {
                    fields.remove(name);
                }
            }
            None if rest.is_empty() => {
                let mut made = Value::Null;
                change(&mut made)?;
                if !made.is_null() {
                    fields.insert(name.clone(), made);
                }
            }
            None => {}
        },
        (Step::Index(index), Value::Array(items)) if *index < items.len() => {
            if let Some(item) = items.get_mut(*index) {
                walk(rest, item, change)?;
            }
            drop_null(rest, items);
        }
        (Step::Each, Value::Array(items)) => {
            for item in items.iter_mut() {
                walk(rest, item, change)?;
            }
            drop_null(rest, items);
        }
        _ => {}
    }
    Ok(())
}

fn drop_null(rest: &[Step], items: &mut Vec<Value>) {
    if rest.is_empty() {
        items.retain(|item| !item.is_null());
    }
}

fn found(steps: &[Step], value: &Value) -> bool {
    let Some((step, rest)) = steps.split_first() else { return true };
    match (step, value) {
        (Step::Field(name), Value::Object(fields)) => {
            fields.get(name).is_some_and(|inner| found(rest, inner))
        }
        (Step::Index(index), Value::Array(items)) => items.get(*index).is_some_and(|item| found(rest, item)),
        (Step::Each, Value::Array(items)) => items.iter().any(|item| found(rest, item)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn marked(path: &str, mut document: Value) -> Value {
        let change: Result<(), ()> = Path::parse(path).unwrap().change(&mut document, &mut |value| {
            *value = json!("X");
            Ok(())
        });
        change.unwrap();
        document
    }

    #[test]
    fn a_path_leads_to_every_item_of_a_list() {
        let document = json!({ "rules": [{ "refs": [{ "name": "a" }, { "name": "b" }] }, { "refs": [] }] });
        let expected = json!({ "rules": [{ "refs": [{ "name": "X" }, { "name": "X" }] }, { "refs": [] }] });
        assert_eq!(marked("rules[*].refs[*].name", document), expected);
    }

    #[test]
    fn a_quoted_field_may_hold_dots() {
        let document = json!({ "annotations": { "a.b/c": "1" } });
        assert_eq!(marked("annotations['a.b/c']", document), json!({ "annotations": { "a.b/c": "X" } }));
    }

    #[test]
    fn a_missing_last_field_is_made_and_a_missing_parent_is_not() {
        assert_eq!(marked("a.b", json!({ "a": {} })), json!({ "a": { "b": "X" } }));
        assert_eq!(marked("a.b", json!({})), json!({}));
    }

    #[test]
    fn removing_leaves_no_null_behind() {
        let mut document = json!({ "a": [{ "b": 1 }, { "c": 2 }], "d": [1, 2] });
        Path::parse("a[*].b").unwrap().remove(&mut document);
        Path::parse("d[0]").unwrap().remove(&mut document);
        assert_eq!(document, json!({ "a": [{}, { "c": 2 }], "d": [2] }));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", ".a", "a..b", "a[", "a[x]", "a['b]", "a[0]b"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
