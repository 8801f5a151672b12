//! What the versions of a definition must be: deprecation, schema, subresources, columns, selectable
//! fields.

use serde_json::Value;

use super::{internal, schema, structural};
use crate::{
    custom::field_path,
    field::{Errors, Path},
    registry::access::{at, bool_at, get, has, list_at, opt_str, str_at},
};

const MAX_SELECTABLE_FIELDS: usize = 8;
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] =
    &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

/// What each version may have of its own, and all may have in common.
const PARTS: [(&str, Judge); 4] = [
    ("/schema", judge_schema),
    ("/subresources", |version, _, path, errors| subresources(at(version, "/subresources"), path, errors)),
    ("/additionalPrinterColumns", |version, _, path, errors| {
        columns(list_at(version, "/additionalPrinterColumns"), path, errors);
    }),
    ("/selectableFields", selectable_fields),
];

type Judge = fn(&Value, Option<&Value>, &Path<'_>, &mut Errors);

/// Whether all versions have the same of something.
pub fn is_common(versions: &[Value], pointer: &str) -> bool {
    versions.iter().all(|version| get(version, pointer) == versions.first().and_then(|v| get(v, pointer)))
}

/// Judges what one version has of its own.
pub fn each(versions: &[Value], index: usize, old: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    let version = &versions[index];
    deprecation(version, path, errors);
    for (pointer, judge) in PARTS {
        if !is_common(versions, pointer) && has(version, pointer) {
            judge(version, same_version(version, old), &path.child(&pointer[1..]), errors);
        }
    }
}

/// Judges what all versions have in common.
pub fn common(versions: &[Value], old: Option<&Value>, errors: &mut Errors) {
    let Some(first) = versions.first() else { return };
    let spec = Path::new("spec");
    for (pointer, judge) in PARTS {
        if is_common(versions, pointer) && has(first, pointer) {
            let name = if pointer == "/schema" { "validation" } else { &pointer[1..] };
            judge(first, same_version(first, old), &spec.child(name), errors);
        }
    }
}

fn same_version<'v>(version: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
    let name = str_at(version, "/name");
    list_at(old?, "/spec/versions").iter().find(|v| str_at(v, "/name") == name)
}

fn deprecation(version: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(warning) = opt_str(version, "/deprecationWarning") else { return };
    let path = path.child("deprecationWarning");
    if !bool_at(version, "/deprecated") {
        return errors.invalid_str(&path, warning, "can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        errors.invalid_str(&path, warning, "must be <= 256 characters long");
    }
    if warning.is_empty() {
        errors.invalid_str(&path, warning, "must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        );
        errors.invalid_str(&path, warning, &why);
    }
}

fn judge_schema(version: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    let schema = at(version, "/schema/openAPIV3Schema");
    if !schema.is_object() || old.is_some_and(|old| at(old, "/schema/openAPIV3Schema") == schema) {
        return;
    }
    let path = path.child("openAPIV3Schema");
    if has(version, "/subresources/status") {
        root_fields(schema, &path, errors);
    }
    if bool_at(schema, "/nullable") {
        errors.forbidden(&path.child("nullable"), "nullable cannot be true at the root");
    }
    let is_structural = structural::validate(schema, &path, errors);
    schema::validate(schema, &path, is_structural, errors);
}

/// With a status subresource, the schema of the status must say all that there is to it.
fn root_fields(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = str_at(schema, "/type");
    if !kind.is_empty() && kind != "object" {
        let why = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.invalid_str(&path.child("type"), kind, why);
    } else if internal::fields(schema).any(|field| !internal::ROOT_FIELDS.contains(&field)) {
        let why = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            internal::ROOT_FIELDS.join(" ")
        );
        internal::invalid(errors, path, &internal::schema(schema), &why);
    }
}

fn subresources(subresources: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(scale) = get(subresources, "/scale") else { return };
    for (field, under) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let name = format!("scale.{field}");
        let path = path.child(&name);
        let json_path = str_at(scale, &format!("/{field}"));
        if json_path.is_empty() {
            errors.required(&path, "");
        } else if simple(json_path, &path, errors) && !json_path.starts_with(under) {
            let why = format!("should be a json path under {}", under.trim_end_matches('.'));
            errors.invalid_str(&path, json_path, &why);
        }
    }
    if let Some(selector) = opt_str(scale, "/labelSelectorPath").filter(|p| !p.is_empty()) {
        let path = path.child("scale.labelSelectorPath");
        let placed = selector.starts_with(".spec.") || selector.starts_with(".status.");
        if simple(selector, &path, errors) && !placed {
            errors.invalid_str(&path, selector, "should be a json path under either .spec or .status");
        }
    }
}

fn simple(json_path: &str, path: &Path<'_>, errors: &mut Errors) -> bool {
    let simple = json_path.starts_with('.');
    if !simple {
        errors.invalid_str(path, json_path, "must be a simple json path starting with .");
    }
    simple
}

fn columns(columns: &[Value], path: &Path<'_>, errors: &mut Errors) {
    for (i, column) in columns.iter().enumerate() {
        let path = path.index(i);
        if str_at(column, "/name").is_empty() {
            errors.required(&path.child("name"), "");
        }
        let (kind, format) = (str_at(column, "/type"), str_at(column, "/format"));
        let why = format!("must be one of {}", COLUMN_TYPES.join(","));
        if kind.is_empty() {
            errors.required(&path.child("type"), &why);
        } else if !COLUMN_TYPES.contains(&kind) {
            errors.invalid_str(&path.child("type"), kind, &why);
        }
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.invalid_str(&path.child("format"), format, &why);
        }
        match str_at(column, "/jsonPath") {
            "" => errors.required(&path.child("JSONPath"), ""),
            json_path => drop(simple(json_path, &path.child("JSONPath"), errors)),
        }
    }
}

fn selectable_fields(version: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    let fields = list_at(version, "/selectableFields");
    let mut seen = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        let json_path = str_at(field, "/jsonPath");
        let path = path.index(i);
        let path = path.child("jsonPath");
        if json_path.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let schema = match find(at(version, "/schema/openAPIV3Schema"), json_path, false) {
            Ok(schema) => schema,
            Err(why) => {
                errors.invalid_str(&path, json_path, &format!("is an invalid path: {why}"));
                continue;
            }
        };
        if json_path == ".metadata" || json_path.starts_with(".metadata.") {
            errors.invalid_str(&path, json_path, "must not point to fields in metadata");
        }
        if !matches!(str_at(schema, "/type"), "string" | "boolean" | "integer") {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.invalid_str(&path, json_path, why);
        }
        if seen.contains(&json_path) {
            errors.duplicate(&path, &json_path.into());
        } else {
            seen.push(json_path);
        }
    }
    let unchanged = old.is_some_and(|old| at(old, "/selectableFields") == at(version, "/selectableFields"));
    if seen.len() > MAX_SELECTABLE_FIELDS && !unchanged {
        errors.too_many(path, seen.len(), MAX_SELECTABLE_FIELDS);
    }
}

/// The schema of the field that a simple path names; `brackets` says whether names may be in brackets.
pub fn find<'s>(root: &'s Value, json_path: &str, brackets: bool) -> Result<&'s Value, field_path::Error> {
    let mut schema = root;
    field_path::walk(json_path, brackets, |name| {
        let part = match get(schema, "/properties") {
            Some(properties) => properties.get(name),
            None => schema.get("additionalProperties").filter(|additional| additional.is_object()),
        };
        schema = part.ok_or(field_path::Error::NoField)?;
        Ok(())
    })?;
    Ok(schema)
}
