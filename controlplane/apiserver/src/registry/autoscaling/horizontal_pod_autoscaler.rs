//! Horizontal pod autoscalers.

mod validate;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::field::Errors;
use crate::registry::access::{
    at, count_at, get, has, int_at, list_at, make_map, opt_int, opt_str, set, set_default, str_at,
};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name, shown_or};

/// The rules of autoscaling/v2 autoscalers, the stored form.
pub struct HorizontalPodAutoscaler;

/// The rules of autoscaling/v1 autoscalers as they come and go.
pub struct HorizontalPodAutoscalerV1;

impl Kind for HorizontalPodAutoscaler {
    fn default(&self, autoscaler: &mut Value) {
        set_default(autoscaler, "/spec/minReplicas", 1);
        if count_at(autoscaler, "/spec/metrics") == 0 {
            let target = json!({"type": "Utilization", "averageUtilization": 80});
            let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
            set(autoscaler, "/spec/metrics", json!([metric]));
        }
        if has(autoscaler, "/spec/behavior") {
            default_behavior(autoscaler);
        }
        default_status(autoscaler);
    }

    fn prepare_create(&self, autoscaler: &mut Value, _writer: &Writer<'_>) {
        default_status(autoscaler);
    }

    fn validate(&self, autoscaler: &Value) -> Errors {
        validate::validate(autoscaler, None)
    }

    fn validate_update(&self, autoscaler: &Value, old: &Value) -> Errors {
        validate::validate(autoscaler, Some(old))
    }

    fn validate_status_update(&self, autoscaler: &Value, _old: &Value) -> Errors {
        validate::validate_status(autoscaler)
    }

    fn prepare_status_update(&self, autoscaler: &mut Value, _old: &Value) {
        default_status(autoscaler);
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, autoscaler: &Value, now: Timestamp) -> Vec<Value> {
        let target = "/spec/scaleTargetRef";
        let reference = at(autoscaler, target);
        vec![
            name(autoscaler),
            format!("{}/{}", str_at(reference, "/kind"), str_at(reference, "/name")).into(),
            metrics(autoscaler).into(),
            shown_or(autoscaler, "/spec/minReplicas", "<unset>"),
            int_at(autoscaler, "/spec/maxReplicas").into(),
            int_at(autoscaler, "/status/currentReplicas").into(),
            age(autoscaler, now),
        ]
    }
}

impl Kind for HorizontalPodAutoscalerV1 {
    fn default(&self, autoscaler: &mut Value) {
        set_default(autoscaler, "/spec/minReplicas", 1);
        if !super::conversion::has_other_metrics(autoscaler) {
            set_default(autoscaler, "/spec/targetCPUUtilizationPercentage", 80);
        }
        let status = make_map(autoscaler, "/status");
        for count in ["currentReplicas", "desiredReplicas"] {
            status.entry(count).or_insert(0.into());
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, autoscaler: &Value, now: Timestamp) -> Vec<Value> {
        HorizontalPodAutoscaler.cells(&super::conversion::v1_to_v2(autoscaler.clone()), now)
    }
}

fn default_status(autoscaler: &mut Value) {
    let status = make_map(autoscaler, "/status");
    status.entry("desiredReplicas").or_insert(0.into());
    status.entry("currentMetrics").or_insert(Value::Null);
}

fn default_behavior(autoscaler: &mut Value) {
    let up = json!({
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    });
    let down = json!({
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    });
    for (path, defaults) in [("/spec/behavior/scaleUp", up), ("/spec/behavior/scaleDown", down)] {
        let rules = make_map(autoscaler, path);
        if let Value::Object(defaults) = defaults {
            for (field, value) in defaults {
                rules.entry(field).or_insert(value);
            }
        }
    }
}

/// What each metric is and should be, two at most.
fn metrics(autoscaler: &Value) -> String {
    let current = list_at(autoscaler, "/status/currentMetrics");
    let shown: Vec<String> = list_at(autoscaler, "/spec/metrics")
        .iter()
        .enumerate()
        .map(|(index, spec)| metric(spec, current.get(index).unwrap_or(&Value::Null)))
        .collect();
    match shown.get(..2) {
        _ if shown.is_empty() => "<none>".into(),
        Some(first) if shown.len() > 2 => format!("{} + {} more...", first.join(", "), shown.len() - 2),
        _ => shown.join(", "),
    }
}

fn metric(spec: &Value, status: &Value) -> String {
    const UNKNOWN: &str = "<unknown>";
    let (field, by_resource) = match str_at(spec, "/type") {
        "External" => ("/external", false),
        "Pods" => ("/pods", false),
        "Object" => ("/object", false),
        "Resource" => ("/resource", true),
        "ContainerResource" => ("/containerResource", true),
        _ => return "<unknown type>".into(),
    };
    let (source, seen) = (at(spec, field), get(status, field));
    let seen = |path| seen.and_then(|seen| opt_str(seen, path));
    let average = opt_str(source, "/target/averageValue");
    if by_resource {
        let resource = str_at(source, "/name");
        if let Some(average) = average {
            return format!("{resource}: {}/{average}", seen("/current/averageValue").unwrap_or(UNKNOWN));
        }
        let percent = |value: Option<i64>| value.map(|value| format!("{value}%"));
        let current = get(status, field).and_then(|s| opt_int(s, "/current/averageUtilization"));
        let wanted =
            percent(opt_int(source, "/target/averageUtilization")).unwrap_or_else(|| "<auto>".into());
        return format!("{resource}: {}/{wanted}", percent(current).unwrap_or_else(|| UNKNOWN.into()));
    }
    match average {
        Some(average) if field == "/pods" => {
            format!("{}/{average}", seen("/current/averageValue").unwrap_or(UNKNOWN))
        }
        Some(average) => format!("{}/{average} (avg)", seen("/current/averageValue").unwrap_or(UNKNOWN)),
        None => {
            let wanted = opt_str(source, "/target/value").unwrap_or("<nil>");
            format!("{}/{wanted}", seen("/current/value").unwrap_or(UNKNOWN))
        }
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Reference",
        "string",
        "scaleTargetRef points to the target resource to scale, and is used to the pods for which metrics should be collected, as well as to actually change the replica count.",
    ),
    column(
        "Targets",
        "string",
        "metrics contains the specifications for which to use to calculate the desired replica count (the maximum replica count across all metrics will be used).  The desired replica count is calculated multiplying the ratio between the target value and the current value by the current number of pods.  Ergo, metrics used must decrease as the pod count is increased, and vice-versa.  See the individual metric source types for more information about how each type of metric must respond. If not set, the default metric will be set to 80% average CPU utilization.",
    ),
    column(
        "MinPods",
        "string",
        "minReplicas is the lower limit for the number of replicas to which the autoscaler can scale down.  It defaults to 1 pod.  minReplicas is allowed to be 0 if the alpha feature gate HPAScaleToZero is enabled and at least one Object or External metric is configured.  Scaling is active as long as at least one metric value is available.",
    ),
    column(
        "MaxPods",
        "string",
        "maxReplicas is the upper limit for the number of replicas to which the autoscaler can scale up. It cannot be less that minReplicas.",
    ),
    column(
        "Replicas",
        "string",
        "currentReplicas is current number of replicas of pods managed by this autoscaler, as last seen by the autoscaler.",
    ),
    AGE,
];
