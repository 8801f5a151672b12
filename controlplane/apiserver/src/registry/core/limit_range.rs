//! Limit ranges.

use std::collections::BTreeSet;

use serde_json::Value;

use super::pod_spec::{
    is_huge_page, is_native, round_up_quantities, validate_container_resource_name, validate_resource_name,
};
use crate::field::{Errors, Path};
use crate::registry::access::{at, count_at, entries, get, list_at, list_mut, make_map, str_at};
use crate::registry::kind::Kind;
use crate::schema::quantity::{Format, Quantity};
use crate::validation::fields::qualified_name;

/// The rules of limit ranges.
pub struct LimitRange;

impl Kind for LimitRange {
    fn default(&self, range: &mut Value) {
        for limit in list_mut(range, "/spec/limits") {
            for field in ["/max", "/min", "/default", "/defaultRequest", "/maxLimitRequestRatio"] {
                round_up_quantities(limit, field);
            }
            if str_at(limit, "/type") == "Container" {
                default_from(limit, "/default", "/max");
                default_from(limit, "/defaultRequest", "/default");
                default_from(limit, "/defaultRequest", "/min");
            }
        }
    }

    fn validate(&self, range: &Value) -> Errors {
        let mut errors = Errors::default();
        let spec = Path::new("spec");
        let limits = spec.child("limits");
        let list = list_at(range, "/spec/limits");
        for (index, limit) in list.iter().enumerate() {
            let path = limits.index(index);
            let kind = str_at(limit, "/type");
            validate_type(&mut errors, &path.child("type"), kind);
            if list[..index].iter().any(|other| str_at(other, "/type") == kind) {
                errors.duplicate(&path.child("type"), &kind.into());
            }
            validate_limit(&mut errors, &path, limit);
        }
        errors
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn validate_type(errors: &mut Errors, path: &Path<'_>, kind: &str) {
    let before = errors.0.len();
    qualified_name(errors, path, kind);
    let standard = kind.contains('/') || ["Pod", "Container", "PersistentVolumeClaim"].contains(&kind);
    if errors.0.len() == before && !standard {
        errors.invalid_str(path, kind, "must be a standard limit type or fully qualified");
    }
}

fn validate_limit(errors: &mut Errors, path: &Path<'_>, limit: &Value) {
    const FIELDS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    let kind = str_at(limit, "/type");
    let mut resources = BTreeSet::new();
    for field in FIELDS {
        let pointer = format!("/{field}");
        if field == "maxLimitRequestRatio"
            && kind == "PersistentVolumeClaim"
            && get(limit, "/min/storage").or_else(|| get(limit, "/max/storage")).is_none()
        {
            errors.required(
                &path.child("limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            );
        }
        if kind == "Pod" && field.starts_with("default") {
            if count_at(limit, &pointer) > 0 {
                errors.forbidden(&path.child(field), "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (resource, _) in entries(limit, &pointer) {
            let list = path.child(field);
            if matches!(kind, "Pod" | "Container") {
                validate_container_resource_name(errors, &list.key(resource), resource);
            } else {
                validate_resource_name(errors, &list.key(resource), resource);
            }
            resources.insert(resource.as_str());
        }
    }
    for resource in resources {
        compare(errors, path, limit, resource);
    }
}

/// Demands that the amounts of one resource go together.
fn compare(errors: &mut Errors, path: &Path<'_>, limit: &Value, resource: &str) {
    let of = |field: &str| -> Option<(&Value, Quantity)> {
        let amount = limit.get(field)?.get(resource)?;
        Some((amount, Quantity::from_value(amount).ok()?))
    };
    let text = |amount: &Value| amount.as_str().unwrap_or_default().to_owned();
    let is_pod = str_at(limit, "/type") == "Pod";
    let (min, max, ratio) = (of("min"), of("max"), of("maxLimitRequestRatio"));
    let (default, request) = if is_pod { (None, None) } else { (of("default"), of("defaultRequest")) };
    // The field, which side of the comparison is shown, and what the two amounts are called.
    let mut order = |field: &str,
                     low: Option<&(&Value, Quantity)>,
                     high: Option<&(&Value, Quantity)>,
                     show_high: bool,
                     names: (&str, &str)| {
        if let (Some((low, low_amount)), Some((high, high_amount))) = (low, high)
            && low_amount > high_amount
        {
            let shown = if show_high { high } else { low };
            let why =
                format!("{} value {} is greater than {} value {}", names.0, text(low), names.1, text(high));
            errors.invalid(&path.child(field).key(resource), shown, &why);
        }
    };
    order("min", min.as_ref(), max.as_ref(), false, ("min", "max"));
    order("defaultRequest", min.as_ref(), request.as_ref(), true, ("min", "default request"));
    order("defaultRequest", request.as_ref(), max.as_ref(), false, ("default request", "max"));
    order("defaultRequest", request.as_ref(), default.as_ref(), false, ("default request", "default limit"));
    order("default", min.as_ref(), default.as_ref(), false, ("min", "default"));
    order("default", default.as_ref(), max.as_ref(), true, ("default", "max"));
    if let Some((shown, ratio)) = &ratio {
        let path = path.child("maxLimitRequestRatio");
        if *ratio < Quantity::new(1, Format::Decimal) {
            errors.invalid(&path.key(resource), shown, &format!("ratio {} is less than 1", text(shown)));
        }
        if let (Some((_, min)), Some((_, max))) = (&min, &max) {
            let most = max.to_f64() / min.to_f64();
            if ratio.to_f64() > most {
                let why = format!("ratio {} is greater than max/min = {most:.6}", text(shown));
                errors.invalid(&path.key(resource), shown, &why);
            }
        }
    }
    if let (Some((default, amount)), Some((request, requested))) = (&default, &request)
        && amount != requested
        && (!is_native(resource) || is_huge_page(resource))
    {
        let why = format!(
            "default value {} must equal to defaultRequest value {} in {resource}",
            text(default),
            text(request)
        );
        errors.invalid(&path.child("defaultRequest").key(resource), request, &why);
    }
}

fn default_from(limit: &mut Value, path: &str, source: &str) {
    if let Some(source) = at(limit, source).as_object().filter(|source| !source.is_empty()).cloned() {
        let target = make_map(limit, path);
        for (resource, amount) in source {
            target.entry(resource).or_insert(amount);
        }
    }
}
