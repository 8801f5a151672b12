//! Labels and label selectors.

use serde_json::{Map, Value};

use super::names;
use crate::field::{Errors, Path, quoted};
use crate::registry::access::{at, entries, has, list_at, map_at, str_at, strs_at};

/// A key of a label.
pub fn label_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    for why in names::qualified_name(name) {
        errors.invalid_str(path, name, &why);
    }
}

/// The labels of a map; every error is about the map's own path.
pub fn labels(errors: &mut Errors, path: &Path<'_>, labels: Option<&Map<String, Value>>) {
    for (key, value) in labels.into_iter().flatten() {
        label_name(errors, path, key);
        let value = value.as_str().unwrap_or_default();
        for why in names::label_value(value) {
            errors.invalid_str(path, value, &why);
        }
    }
}

/// The keys of annotations.
pub fn annotations(errors: &mut Errors, path: &Path<'_>, annotations: Option<&Map<String, Value>>) {
    for key in annotations.into_iter().flatten().map(|(key, _)| key) {
        for why in names::qualified_name(&key.to_lowercase()) {
            errors.invalid_str(path, key, &why);
        }
    }
}

/// The metadata of a template: labels and annotations are all that what is made of it takes over.
pub fn template_metadata(errors: &mut Errors, path: &Path<'_>, metadata: &Value) {
    // Go's names of the fields, in their order, which the real server shows.
    const OTHERS: &[(&str, &str)] = &[
        ("/name", "name"),
        ("/generateName", "generateName"),
        ("/namespace", "namespace"),
        ("/selfLink", "selfLink"),
        ("/uid", "uID"),
        ("/resourceVersion", "resourceVersion"),
        ("/generation", "generation"),
        ("/creationTimestamp", "creationTimestamp"),
        ("/deletionTimestamp", "deletionTimestamp"),
        ("/deletionGracePeriodSeconds", "deletionGracePeriodSeconds"),
        ("/ownerReferences", "ownerReferences"),
        ("/finalizers", "finalizers"),
        ("/managedFields", "managedFields"),
    ];
    annotations(errors, &path.child("annotations"), map_at(metadata, "/annotations"));
    labels(errors, &path.child("labels"), map_at(metadata, "/labels"));
    for (_, shown) in OTHERS.iter().filter(|(pointer, _)| has(metadata, pointer)) {
        errors.forbidden(&path.child(shown), "cannot be set");
    }
}

/// A label selector; an absent one is valid.
pub fn selector(errors: &mut Errors, path: &Path<'_>, selector: &Value) {
    labels(errors, &path.child("matchLabels"), map_at(selector, "/matchLabels"));
    for (index, expression) in list_at(selector, "/matchExpressions").iter().enumerate() {
        requirement(errors, &path.child("matchExpressions").index(index), expression);
    }
}

fn requirement(errors: &mut Errors, path: &Path<'_>, expression: &Value) {
    if !has_known_operator(errors, path, expression) {
        let operator = str_at(expression, "/operator");
        errors.invalid_str(&path.child("operator"), operator, "not a valid selector operator");
    }
    key_and_values(errors, path, expression);
}

/// Whether the operator of a requirement is known; then it has to have values, or none, as the operator wants it.
pub fn has_known_operator(errors: &mut Errors, path: &Path<'_>, expression: &Value) -> bool {
    let values = list_at(expression, "/values");
    match str_at(expression, "/operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => return false,
    }
    true
}

/// The key and the values of a requirement, which have to be those of labels.
pub fn key_and_values(errors: &mut Errors, path: &Path<'_>, expression: &Value) {
    label_name(errors, &path.child("key"), str_at(expression, "/key"));
    for (index, value) in strs_at(expression, "/values").enumerate() {
        for why in names::label_value(value) {
            errors.invalid_str(&path.child("values").index(index), value, &why);
        }
    }
}

/// Whether a selector says nothing, so that it selects everything.
pub fn is_empty(selector: &Value) -> bool {
    entries(selector, "/matchLabels").next().is_none() && list_at(selector, "/matchExpressions").is_empty()
}

/// Whether a selector can be evaluated.
pub fn is_valid(selector_value: &Value) -> bool {
    let mut errors = Errors::default();
    selector(&mut errors, &Path::ROOT, selector_value);
    errors.is_empty()
}

/// Why a selector cannot be evaluated, as Go's parser of requirements tells it.
pub fn unusable(selector: &Value) -> Option<String> {
    let key = |key: &str| {
        let why = names::qualified_name(key);
        (!why.is_empty()).then(|| format!("key: Invalid value: {}: {}", quoted(key), why.join("; ")))
    };
    let value = |name: &str, at: usize, value: &str| {
        let why = names::label_value(value);
        (!why.is_empty())
            .then(|| format!("values[{at}][{name}]: Invalid value: {}: {}", quoted(value), why.join("; ")))
    };
    let of_label = |(name, text): (&String, &Value)| {
        key(name).or_else(|| value(name, 0, text.as_str().unwrap_or_default()))
    };
    let of_expression = |expression: &Value| {
        let (name, operator) = (str_at(expression, "/key"), str_at(expression, "/operator"));
        let given = list_at(expression, "/values");
        if !matches!(operator, "In" | "NotIn" | "Exists" | "DoesNotExist") {
            return Some(format!("{} is not a valid label selector operator", quoted(operator)));
        }
        if let Some(why) = key(name) {
            return Some(why);
        }
        match operator {
            "In" | "NotIn" if given.is_empty() => Some(
                "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
                    .to_owned(),
            ),
            "Exists" | "DoesNotExist" if !given.is_empty() => Some(format!(
                "values: Invalid value: {}: values set must be empty for exists and does not exist",
                at(expression, "/values")
            )),
            _ => strs_at(expression, "/values").enumerate().find_map(|(at, text)| value(name, at, text)),
        }
    };
    entries(selector, "/matchLabels")
        .find_map(of_label)
        .or_else(|| list_at(selector, "/matchExpressions").iter().find_map(of_expression))
}

/// Whether labels are selected. An absent selector selects nothing.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| at(labels, "").get(key).and_then(Value::as_str);
    !selector.is_null()
        && entries(selector, "/matchLabels").all(|(key, value)| label(key) == value.as_str())
        && list_at(selector, "/matchExpressions").iter().all(|expression| {
            let found = label(str_at(expression, "/key"));
            let listed = || strs_at(expression, "/values").any(|value| found == Some(value));
            match str_at(expression, "/operator") {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selects_by_labels_and_expressions() {
        let selector = json!({
            "matchLabels": {"app": "a"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}],
        });
        assert!(selects(&selector, &json!({"app": "a"})));
        assert!(!selects(&selector, &json!({"app": "a", "tier": "x"})));
        assert!(!selects(&selector, &json!({})));
        assert!(!selects(&Value::Null, &json!({})));
        assert!(selects(&json!({}), &Value::Null));
    }
}
