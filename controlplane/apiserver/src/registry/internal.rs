//! Objects as the real server's internal types print in its error messages: fields under their Go names, in
//! the order of their declaration, and with nothing left out.

mod layouts;

use std::fmt::Write;

use serde_json::Value;

use layouts::{Field, Zero};

use super::access::{at, get};
use crate::field::{Errors, Path, Reason, for_html};

/// A value that is ready to be printed.
#[derive(Clone, Debug, PartialEq)]
enum Printed {
    /// JSON of one line.
    Text(String),
    /// The entries of a map, or the fields of a type.
    Fields(Vec<(String, Self)>),
    /// The items of a list.
    Items(Vec<Self>),
}

/// A value of an internal type, such as `PodSpec`.
#[derive(Clone, Debug, PartialEq)]
pub struct Internal(Printed);

impl Internal {
    /// A value of the type with this layout; absent values print as Go's zero values.
    pub fn new(layout: &str, value: &Value) -> Self {
        Self(of_type(layout, value))
    }

    /// The spec of a pod. What Go keeps in the security context is beside it in the API.
    pub fn pod_spec(spec: &Value) -> Self {
        let mut spec = spec.clone();
        let moved: Vec<(&str, Value)> =
            ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"]
                .into_iter()
                .filter_map(|field| Some((field, get(&spec, &format!("/{field}"))?.clone())))
                .collect();
        if let Some(context) =
            super::access::get_mut(&mut spec, "/securityContext").and_then(Value::as_object_mut)
        {
            context.extend(moved.into_iter().map(|(field, value)| (field.to_owned(), value)));
        }
        Self::new("PodSpec", &spec)
    }

    /// The template of pods.
    pub fn pod_template(template: &Value) -> Self {
        Self::with_metadata(template, Self::pod_spec(at(template, "/spec")))
    }

    /// A template of objects whose spec has this layout.
    pub fn template(template: &Value, layout: &str) -> Self {
        Self::with_metadata(template, Self::new(layout, at(template, "/spec")))
    }

    /// Metadata print as they do in the API, beside what they are about.
    fn with_metadata(template: &Value, spec: Self) -> Self {
        let mut fields = Vec::new();
        for field in ["name", "generateName", "namespace", "labels", "annotations"] {
            if let Some(value) = get(template, &format!("/metadata/{field}")) {
                fields.push((field.to_owned(), raw(value)));
            }
        }
        fields.push(("Spec".to_owned(), spec.0));
        Self(Printed::Fields(fields))
    }

    /// The JSON on one line.
    pub fn compact(&self) -> String {
        let mut out = String::new();
        compact(&self.0, &mut out);
        out
    }

    /// The lines of the JSON, indented by one space a level.
    pub fn lines(&self) -> Vec<String> {
        let mut out = String::new();
        pretty(&self.0, 0, &mut out);
        out.lines().map(ToOwned::to_owned).collect()
    }
}

/// A value of an internal type is wrong; `null` is a pointer to nothing.
pub fn invalid(errors: &mut Errors, path: &Path<'_>, layout: &str, value: &Value, why: &str) {
    let shown = if value.is_null() { "null".into() } else { Internal::new(layout, value).compact() };
    errors.push(path, Reason::Invalid, format!("Invalid value: {shown}: {why}"));
}

/// A list of values of an internal type as it prints.
pub fn shown_list(layout: &str, list: &Value) -> String {
    match list.as_array() {
        None => "null".into(),
        Some(items) => {
            let items: Vec<String> = items.iter().map(|item| Internal::new(layout, item).compact()).collect();
            format!("[{}]", items.join(","))
        }
    }
}

fn of_type(layout: &str, value: &Value) -> Printed {
    Printed::Fields(
        layouts::fields(layout)
            .map(|field| {
                let printed = of_field(&field, at(value, &format!("/{}", field.json)));
                (field.name.to_owned(), printed)
            })
            .collect(),
    )
}

fn of_field(field: &Field<'_>, value: &Value) -> Printed {
    match (field.layout, value) {
        (Some(layout), Value::Array(items)) if !items.is_empty() => {
            Printed::Items(items.iter().map(|item| of_type(layout, item)).collect())
        }
        (Some(layout), Value::Object(_)) => of_type(layout, value),
        (Some(layout), Value::Null) if field.zero == Zero::Value => of_type(layout, value),
        (None, value) if !value.is_null() => raw(value),
        _ => Printed::Text(field.zero.to_json().to_owned()),
    }
}

/// A value of a type that prints as it does in the API.
fn raw(value: &Value) -> Printed {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut fields: Vec<(String, Printed)> =
                map.iter().map(|(key, value)| (key.clone(), raw(value))).collect();
            // Selectors print in the order of their declaration.
            fields.sort_by_key(|(key, _)| key != "matchLabels");
            Printed::Fields(fields)
        }
        Value::Array(items) if !items.is_empty() => Printed::Items(items.iter().map(raw).collect()),
        other => Printed::Text(escaped(other)),
    }
}

fn escaped(value: &Value) -> String {
    for_html(&value.to_string())
}

fn compact(printed: &Printed, out: &mut String) {
    match printed {
        Printed::Text(text) => out.push_str(text),
        Printed::Fields(fields) => {
            out.push('{');
            for (at, (name, value)) in fields.iter().enumerate() {
                let _ = write!(out, "{}{}:", if at > 0 { "," } else { "" }, escaped(&name.as_str().into()));
                compact(value, out);
            }
            out.push('}');
        }
        Printed::Items(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                compact(item, out);
            }
            out.push(']');
        }
    }
}

fn pretty(printed: &Printed, depth: usize, out: &mut String) {
    let line = |out: &mut String, at: usize, depth: usize| {
        let _ = write!(out, "{}\n{}", if at > 0 { "," } else { "" }, " ".repeat(depth));
    };
    match printed {
        Printed::Text(text) => out.push_str(text),
        Printed::Fields(fields) => {
            out.push('{');
            for (at, (name, value)) in fields.iter().enumerate() {
                line(out, at, depth + 1);
                let _ = write!(out, "{}: ", escaped(&name.as_str().into()));
                pretty(value, depth + 1, out);
            }
            line(out, 0, depth);
            out.push('}');
        }
        Printed::Items(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                line(out, at, depth + 1);
                pretty(item, depth + 1, out);
            }
            line(out, 0, depth);
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_fields_print_as_zero_values() {
        let claim = Internal::new("PodResourceClaim", &json!({"name": "r"}));
        assert_eq!(
            claim.compact(),
            r#"{"Name":"r","ResourceClaimName":null,"ResourceClaimTemplateName":null}"#
        );
    }

    #[test]
    fn the_security_context_has_what_is_beside_it_in_the_api() {
        let spec = Internal::pod_spec(&json!({"hostNetwork": true, "securityContext": {}, "containers": []}));
        assert!(spec.compact().contains(r#""SecurityContext":{"HostNetwork":true,"HostPID":false,"#));
        assert!(spec.compact().contains(r#""DNSPolicy":"","NodeSelector":null"#));
    }

    #[test]
    fn every_layout_that_is_named_exists() {
        for (name, _) in layouts::LAYOUTS {
            for field in layouts::fields(name) {
                assert!(
                    field.layout.is_none_or(|l| layouts::fields(l).next().is_some()),
                    "{name}.{}",
                    field.name
                );
            }
        }
    }
}
