//! autoscaling/v1 ⇄ autoscaling/v2 (the stored form).
//!
//! v1 knows CPU utilization only; everything else travels in annotations, so that nothing is lost when a
//! v1 client writes back what it read.

use serde_json::{Map, Value, json};

use crate::registry::access::{at, get, make_map, opt_int, remove, set, str_at};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// How a metric is laid out: its field, then pairs of the v1 field and the path in v2.
type Layout = (&'static str, &'static [(&'static str, &'static str)]);

const SPECS: &[Layout] = &[
    (
        "object",
        &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("targetValue", "/target/value"),
            ("averageValue", "/target/averageValue"),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("targetAverageValue", "/target/averageValue"),
        ],
    ),
    (
        "external",
        &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("targetValue", "/target/value"),
            ("targetAverageValue", "/target/averageValue"),
        ],
    ),
    (
        "resource",
        &[
            ("name", "/name"),
            ("targetAverageUtilization", "/target/averageUtilization"),
            ("targetAverageValue", "/target/averageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", "/name"),
            ("container", "/container"),
            ("targetAverageUtilization", "/target/averageUtilization"),
            ("targetAverageValue", "/target/averageValue"),
        ],
    ),
];

const STATUSES: &[Layout] = &[
    (
        "object",
        &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("currentValue", "/current/value"),
            ("averageValue", "/current/averageValue"),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    ),
    (
        "external",
        &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("currentValue", "/current/value"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    ),
    (
        "resource",
        &[
            ("name", "/name"),
            ("currentAverageUtilization", "/current/averageUtilization"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", "/name"),
            ("container", "/container"),
            ("currentAverageUtilization", "/current/averageUtilization"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    ),
];

/// Amounts that v1 always has, if need be as 0.
const ALWAYS: &[(&str, &str)] = &[
    ("object", "targetValue"),
    ("pods", "targetAverageValue"),
    ("object", "currentValue"),
    ("pods", "currentAverageValue"),
    ("external", "currentValue"),
    ("resource", "currentAverageValue"),
    ("containerResource", "currentAverageValue"),
];

/// Whether a v1 autoscaler carries metrics that v1 cannot say.
pub fn has_other_metrics(object: &Value) -> bool {
    at(object, "/metadata/annotations").get(METRICS).is_some()
}

/// The v2 form of a v1 autoscaler.
pub fn v1_to_v2(mut object: Value) -> Value {
    set(&mut object, "/apiVersion", "autoscaling/v2");
    let mut annotations = take_annotations(&mut object);
    let mut saved =
        |key| annotations.remove(key).and_then(|text| serde_json::from_str::<Value>(text.as_str()?).ok());

    let mut metrics: Vec<Value> = match saved(METRICS) {
        Some(Value::Array(list)) => list.iter().map(|metric| to_v2(metric, SPECS, "target")).collect(),
        _ => Vec::new(),
    };
    if let Some(percent) = remove(&mut object, "/spec/targetCPUUtilizationPercentage") {
        metrics.push(cpu_utilization(&percent));
    }
    if metrics.is_empty() {
        metrics.push(cpu_utilization(&json!(80)));
    }
    set(&mut object, "/spec/metrics", metrics);
    if let Some(behavior) =
        saved(BEHAVIOR).filter(|behavior| behavior.as_object().is_some_and(|b| !b.is_empty()))
    {
        set(&mut object, "/spec/behavior", with_keys(behavior, lower_first));
    }

    let percent = remove(&mut object, "/status/currentCPUUtilizationPercentage");
    if let Some(Value::Array(list)) = saved(CURRENT_METRICS) {
        let statuses: Vec<Value> = list.iter().map(|metric| to_v2(metric, STATUSES, "current")).collect();
        set(&mut object, "/status/currentMetrics", statuses);
    } else if let Some(percent) = percent {
        let resource = json!({"name": "cpu", "current": {"averageUtilization": percent}});
        set(&mut object, "/status/currentMetrics", json!([{"type": "Resource", "resource": resource}]));
    }
    if let Some(conditions) = saved(CONDITIONS) {
        set(&mut object, "/status/conditions", conditions);
    }
    put_annotations(&mut object, annotations);
    object
}

/// The v1 form of a v2 autoscaler.
pub fn v2_to_v1(mut object: Value) -> Value {
    set(&mut object, "/apiVersion", "autoscaling/v1");
    let mut annotations = take_annotations(&mut object);
    for key in [METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS] {
        annotations.remove(key);
    }
    let mut save = |key: &str, value: Value| annotations.insert(key.into(), value.to_string().into());

    let metrics = taken(&mut object, "/spec/metrics");
    let (cpu, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_cpu_utilization);
    if let Some(percent) = cpu.first().and_then(|cpu| opt_int(cpu, "/resource/target/averageUtilization")) {
        set(&mut object, "/spec/targetCPUUtilizationPercentage", percent);
    }
    if !others.is_empty() {
        save(METRICS, others.iter().map(|metric| to_v1(metric, SPECS)).collect());
    }
    if let Some(behavior) = remove(&mut object, "/spec/behavior") {
        save(BEHAVIOR, with_keys(behavior, upper_first));
    }

    let statuses = taken(&mut object, "/status/currentMetrics");
    let percent = statuses
        .iter()
        .rfind(|status| str_at(status, "/resource/name") == "cpu")
        .and_then(|status| opt_int(status, "/resource/current/averageUtilization"));
    if let Some(percent) = percent {
        set(&mut object, "/status/currentCPUUtilizationPercentage", percent);
    }
    if !statuses.is_empty() {
        save(CURRENT_METRICS, statuses.iter().map(|metric| to_v1(metric, STATUSES)).collect());
    }
    let conditions = taken(&mut object, "/status/conditions");
    if !conditions.is_empty() {
        save(CONDITIONS, conditions.into());
    }
    for count in ["currentReplicas", "desiredReplicas"] {
        make_map(&mut object, "/status").entry(count).or_insert(0.into());
    }
    put_annotations(&mut object, annotations);
    object
}

fn cpu_utilization(percent: &Value) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn is_cpu_utilization(metric: &Value) -> bool {
    str_at(metric, "/type") == "Resource"
        && str_at(metric, "/resource/name") == "cpu"
        && opt_int(metric, "/resource/target/averageUtilization").is_some()
}

fn taken(object: &mut Value, path: &str) -> Vec<Value> {
    match remove(object, path) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn take_annotations(object: &mut Value) -> Map<String, Value> {
    match remove(object, "/metadata/annotations") {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn put_annotations(object: &mut Value, annotations: Map<String, Value>) {
    if !annotations.is_empty() {
        set(object, "/metadata/annotations", annotations);
    }
}

fn to_v1(metric: &Value, layouts: &[Layout]) -> Value {
    let mut result = json!({"type": at(metric, "/type")});
    for (field, pairs) in layouts {
        let Some(source) = metric.get(field) else { continue };
        let target = make_map(&mut result, &format!("/{field}"));
        for (v1, v2) in *pairs {
            if let Some(value) = get(source, v2) {
                target.insert((*v1).into(), value.clone());
            } else if ALWAYS.contains(&(*field, *v1)) {
                target.insert((*v1).into(), "0".into());
            }
        }
    }
    result
}

fn to_v2(metric: &Value, layouts: &[Layout], amounts: &str) -> Value {
    let mut result = json!({"type": at(metric, "/type")});
    for (field, pairs) in layouts {
        let Some(source) = metric.get(field) else { continue };
        let mut target = json!({});
        for (v1, v2) in *pairs {
            if let Some(value) = source.get(v1).filter(|value| !value.is_null()) {
                set(&mut target, v2, value.clone());
            }
        }
        if amounts == "target" {
            let kind = target_type(field, &target);
            set(&mut target, "/target/type", kind);
        }
        set(&mut result, &format!("/{field}"), target);
    }
    result
}

fn target_type(field: &str, metric: &Value) -> &'static str {
    let has = |path| get(metric, path).is_some();
    match field {
        "resource" | "containerResource" if has("/target/averageUtilization") => "Utilization",
        "object" if !has("/target/averageValue") => "Value",
        "external" if has("/target/value") => "Value",
        _ => "AverageValue",
    }
}

/// All keys of a document rewritten: the behavior annotation has Go's field names.
fn with_keys(value: Value, rename: fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (rename(&key), with_keys(value, rename)))
            .collect(),
        Value::Array(list) => list.into_iter().map(|value| with_keys(value, rename)).collect(),
        other => other,
    }
}

fn upper_first(key: &str) -> String {
    key.get(..1).map_or_else(String::new, str::to_uppercase) + key.get(1..).unwrap_or_default()
}

fn lower_first(key: &str) -> String {
    key.get(..1).map_or_else(String::new, str::to_lowercase) + key.get(1..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilization_of_cpu_is_a_field_of_v1() {
        let v1 = json!({
            "apiVersion": "autoscaling/v1",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50},
            "status": {"currentReplicas": 0, "desiredReplicas": 0},
        });
        let v2 = v1_to_v2(v1.clone());
        assert_eq!(v2["spec"]["metrics"], json!([cpu_utilization(&json!(50))]));
        assert_eq!(v2_to_v1(v2), v1);
    }

    #[test]
    fn other_metrics_survive_the_way_through_v1() {
        let v2 = json!({
            "apiVersion": "autoscaling/v2",
            "metadata": {"name": "a", "annotations": {"mine": "1"}},
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    {"type": "Pods", "pods": {
                        "metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
                    {"type": "Object", "object": {
                        "describedObject": {"kind": "Ingress", "name": "i"},
                        "metric": {"name": "m"}, "target": {"type": "Value", "value": "2"}}},
                    cpu_utilization(&json!(80)),
                ],
                "behavior": {"scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 1}]}},
            },
            "status": {
                "currentReplicas": 1,
                "desiredReplicas": 1,
                "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "current": {"averageUtilization": 7, "averageValue": "70m"}}}],
            },
        });
        let v1 = v2_to_v1(v2.clone());
        assert_eq!(v1["spec"]["targetCPUUtilizationPercentage"], 80);
        assert_eq!(v1["status"]["currentCPUUtilizationPercentage"], 7);
        assert_eq!(v1_to_v2(v1), v2);
    }
}
