//! Everything wrong with autoscalers.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, int_at, list_at, opt_int, opt_str, str_at};
use crate::registry::core::pod_spec::validate_container_resource_name;
use crate::schema::quantity::Quantity;
use crate::validation::fields::{self, dns_label, required_segment};

const SPEC: Path<'static> = Path::new("spec");
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
const MAX_PERIOD: i64 = 1800;
const MAX_WINDOW: i64 = 3600;

/// An autoscaler, new or changed.
pub fn validate(autoscaler: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let spec = at(autoscaler, "/spec");
    let (min, max) = (opt_int(spec, "/minReplicas"), int_at(spec, "/maxReplicas"));
    // Who scaled to zero before may go on with it.
    let was_zero = old.is_some_and(|old| opt_int(old, "/spec/minReplicas") == Some(0));
    let lowest = i64::from(!was_zero);
    if let Some(min) = min.filter(|min| *min < lowest) {
        let why = format!("must be greater than or equal to {lowest}");
        errors.invalid(&SPEC.child("minReplicas"), &min.into(), &why);
    }
    let path = SPEC.child("maxReplicas");
    if max == 0 {
        errors.required(&path, "must be set and greater than 0");
    } else if max < 0 {
        errors.invalid(&path, &max.into(), "must be greater than 0");
    }
    if min.is_some_and(|min| max < min) {
        errors.invalid(&path, &max.into(), "must be greater than or equal to `minReplicas`");
    }
    let lenient = old.is_some_and(|old| group_error(at(old, "/spec/scaleTargetRef"), false).is_some());
    validate_reference(
        &mut errors,
        &SPEC.child("scaleTargetRef"),
        at(spec, "/scaleTargetRef"),
        false,
        lenient,
    );
    validate_metrics(&mut errors, spec, min);
    let behavior = SPEC.child("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = get(spec, &format!("/behavior/{direction}")) {
            validate_rules(&mut errors, &behavior.child(direction), rules);
        }
    }
    errors
}

/// The status of an autoscaler.
pub fn validate_status(autoscaler: &Value) -> Errors {
    let mut errors = Errors::default();
    for field in ["currentReplicas", "desiredReplicas"] {
        fields::non_negative(&mut errors, &Path::new("status"), at(autoscaler, "/status"), field);
    }
    errors
}

fn group_error(reference: &Value, core_allowed: bool) -> Option<String> {
    let version = str_at(reference, "/apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    if version.matches('/').count() > 1 {
        return Some(format!("unexpected GroupVersion string: {version}"));
    }
    (group.is_empty() && !core_allowed).then(|| "apiVersion must specify API group".into())
}

fn validate_reference(
    errors: &mut Errors,
    path: &Path<'_>,
    reference: &Value,
    core_allowed: bool,
    any_version: bool,
) {
    required_segment(errors, path, reference, "kind");
    required_segment(errors, path, reference, "name");
    if let Some(why) = group_error(reference, core_allowed).filter(|_| !any_version) {
        errors.invalid_str(&path.child("apiVersion"), str_at(reference, "/apiVersion"), &why);
    }
}

fn validate_metrics(errors: &mut Errors, spec: &Value, min: Option<i64>) {
    let path = SPEC.child("metrics");
    let metrics = list_at(spec, "/metrics");
    for (index, metric) in metrics.iter().enumerate() {
        validate_metric(errors, &path.index(index), metric);
    }
    let outside = metrics.iter().any(|metric| matches!(str_at(metric, "/type"), "Object" | "External"));
    if min == Some(0) && !outside {
        errors.forbidden(
            &path,
            "must specify at least one Object or External metric to support scaling to zero replicas",
        );
    }
}

fn validate_metric(errors: &mut Errors, path: &Path<'_>, metric: &Value) {
    let kind = str_at(metric, "/type");
    if kind.is_empty() {
        errors.required(&path.child("type"), "must specify a metric source type");
    }
    let known = TYPES.contains(&kind);
    if !known {
        errors.not_supported(&path.child("type"), &kind.into(), TYPES);
    }
    let present: Vec<&str> =
        SOURCES.iter().map(|(_, field)| *field).filter(|f| has(metric, &format!("/{f}"))).collect();
    if let Some(first) = present.first() {
        validate_source(errors, &path.child(first), first, at(metric, &format!("/{first}")));
    }
    let expected = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    match expected {
        Some(field) if !present.contains(&field) => {
            errors.required(&path.child(field), "must populate information for the given metric source");
        }
        Some(_) => {}
        None => errors.not_supported(&path.child("type"), &kind.into(), TYPES),
    }
    if present.len() != 1 {
        for field in present.into_iter().filter(|field| Some(*field) != expected) {
            errors.forbidden(&path.child(field), "must populate the given metric source only");
        }
    }
}

fn validate_source(errors: &mut Errors, path: &Path<'_>, kind: &str, source: &Value) {
    let target = at(source, "/target");
    let target_path = path.child("target");
    let (value, average, utilization) =
        (has(target, "/value"), has(target, "/averageValue"), has(target, "/averageUtilization"));
    match kind {
        "object" => {
            let described = at(source, "/describedObject");
            validate_reference(errors, &path.child("describedObject"), described, true, false);
        }
        "resource" if str_at(source, "/name").is_empty() => {
            errors.required(&path.child("name"), "must specify a resource name");
        }
        "containerResource" => validate_container(errors, path, source),
        _ => {}
    }
    if !kind.ends_with("esource") {
        validate_metric_name(errors, &path.child("metric").child("name"), str_at(source, "/metric/name"));
    }
    validate_target(errors, &target_path, target);
    match kind {
        "object" if !value && !average => {
            errors.required(
                &target_path.child("averageValue"),
                "must set either a target value or averageValue",
            );
        }
        "external" if !value && !average => errors.required(
            &target_path.child("averageValue"),
            "must set either a target value for metric or a per-pod target",
        ),
        "external" if value && average => errors.forbidden(
            &target_path.child("value"),
            "may not set both a target value for metric and a per-pod target",
        ),
        "pods" if !average => {
            errors
                .required(&target_path.child("averageValue"), "must specify a positive target averageValue");
        }
        "resource" | "containerResource" if !utilization && !average => errors.required(
            &target_path.child("averageUtilization"),
            "must set either a target raw value or a target utilization",
        ),
        "resource" | "containerResource" if utilization && average => errors.forbidden(
            &target_path.child("averageValue"),
            "may not set both a target raw value and a target utilization",
        ),
        _ => {}
    }
}

fn validate_container(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    match str_at(source, "/name") {
        "" => errors.required(&path.child("name"), "must specify a resource name"),
        name => validate_container_resource_name(errors, &path.child("name"), name),
    }
    match str_at(source, "/container") {
        "" => errors.required(&path.child("container"), "must specify a container"),
        container => dns_label(errors, &path.child("container"), container),
    }
}

fn validate_metric_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    if name.is_empty() {
        errors.required(path, "must specify a metric name");
    } else {
        fields::path_segment(errors, path, name);
    }
}

fn validate_target(errors: &mut Errors, path: &Path<'_>, target: &Value) {
    let kind = str_at(target, "/type");
    if kind.is_empty() {
        errors.required(&path.child("type"), "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.invalid_str(&path.child("type"), kind, why);
    }
    for field in ["value", "averageValue"] {
        if let Some(amount) = get(target, &format!("/{field}"))
            && Quantity::from_value(amount).is_ok_and(|amount| amount.signum() < 1)
        {
            errors.invalid(&path.child(field), amount, "must be positive");
        }
    }
    if let Some(share) = opt_int(target, "/averageUtilization").filter(|share| *share < 1) {
        errors.invalid(&path.child("averageUtilization"), &share.into(), "must be greater than 0");
    }
}

fn validate_rules(errors: &mut Errors, path: &Path<'_>, rules: &Value) {
    const POSITIVE: &str = "must be greater than zero";
    let window = path.child("stabilizationWindowSeconds");
    match opt_int(rules, "/stabilizationWindowSeconds") {
        Some(seconds) if seconds < 0 => {
            errors.invalid(&window, &seconds.into(), "must be greater than or equal to zero");
        }
        Some(seconds) if seconds > MAX_WINDOW => {
            let why = format!("must be less than or equal to {MAX_WINDOW}");
            errors.invalid(&window, &seconds.into(), &why);
        }
        _ => {}
    }
    let choices = ["Disabled", "Max", "Min"];
    if let Some(choice) = opt_str(rules, "/selectPolicy").filter(|choice| !choices.contains(choice)) {
        errors.not_supported(&path.child("selectPolicy"), &choice.into(), &choices);
    }
    let (policies, policies_path) = (list_at(rules, "/policies"), path.child("policies"));
    if policies.is_empty() {
        errors.required(&policies_path, "must specify at least one Policy");
    }
    for (index, policy) in policies.iter().enumerate() {
        let path = policies_path.index(index);
        let (kind, value, period) =
            (str_at(policy, "/type"), int_at(policy, "/value"), int_at(policy, "/periodSeconds"));
        if !["Percent", "Pods"].contains(&kind) {
            errors.not_supported(&path.child("type"), &kind.into(), &["Percent", "Pods"]);
        }
        if value <= 0 {
            errors.invalid(&path.child("value"), &value.into(), POSITIVE);
        }
        if period <= 0 {
            errors.invalid(&path.child("periodSeconds"), &period.into(), POSITIVE);
        } else if period > MAX_PERIOD {
            let why = format!("must be less than or equal to {MAX_PERIOD}");
            errors.invalid(&path.child("periodSeconds"), &period.into(), &why);
        }
    }
    if let Some(tolerance) = get(rules, "/tolerance") {
        fields::non_negative_quantity(errors, &path.child("tolerance"), tolerance);
    }
}
