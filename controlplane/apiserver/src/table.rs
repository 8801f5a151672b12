//! Cells that many kinds share, in the words of kubectl.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{at, entries, get, list_at, opt_str, str_at, strs_at};
use crate::registry::kind::Column;

/// The column of names.
pub const NAME: Column = Column {
    format: "name",
    ..column(
        "Name",
        "string",
        "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
    )
};

/// The column of ages.
pub const AGE: Column = column(
    "Age",
    "string",
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
);

/// A column that is always shown.
pub const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description, priority: 0 }
}

/// A column that is shown with `-o wide` only.
pub const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { priority: 1, ..column(name, kind, description) }
}

/// The object's name.
pub fn name(object: &Value) -> Value {
    str_at(object, "/metadata/name").into()
}

/// The time since the object was created.
pub fn age(object: &Value, now: Timestamp) -> Value {
    since(object, "/metadata/creationTimestamp", now).into()
}

/// The time since the one at `path`, in kubectl's short form.
pub fn since(object: &Value, path: &str, now: Timestamp) -> String {
    match time_at(object, path) {
        Some(time) => human_duration(now.duration_since(time).as_secs()),
        None => "<unknown>".into(),
    }
}

/// The time at `path`.
pub fn time_at(object: &Value, path: &str) -> Option<Timestamp> {
    opt_str(object, path).and_then(|text| text.parse().ok())
}

/// A duration with two or three significant digits, for example `47h`, `5m3s` or `2y10d`.
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days, years) =
        (seconds / 60, seconds / 3600, seconds / 86_400, seconds / (365 * 86_400));
    let two = |big: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(days, 'd', hours % 24, 'h'),
        _ if hours < 24 * 365 * 2 => format!("{days}d"),
        _ if hours < 24 * 365 * 8 => two(years, 'y', days % 365, 'd'),
        _ => format!("{years}y"),
    }
}

/// The text at `path`, or `otherwise` where it is absent or empty.
pub fn text_or(object: &Value, path: &str, otherwise: &str) -> Value {
    match str_at(object, path) {
        "" => otherwise.into(),
        text => text.into(),
    }
}

/// The value at `path` as text, or `otherwise` where it is absent.
pub fn shown_or(object: &Value, path: &str, otherwise: &str) -> Value {
    match get(object, path) {
        Some(Value::String(text)) => text.as_str().into(),
        Some(value) => value.to_string().into(),
        None => otherwise.into(),
    }
}

/// The texts of the list at `path`, joined with commas.
pub fn joined(object: &Value, path: &str) -> String {
    strs_at(object, path).collect::<Vec<_>>().join(",")
}

/// The labels at `path`, such as `a=b,c=d`.
pub fn labels(object: &Value, path: &str) -> Value {
    let pairs: Vec<String> = entries(object, path)
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",").into() }
}

/// The label selector at `path`, or `<none>` if it is absent or selects everything.
pub fn label_selector(object: &Value, path: &str) -> Value {
    match selector_text(at(object, path)) {
        text if text.is_empty() => "<none>".into(),
        text => text.into(),
    }
}

/// A label selector in the form of `kubectl get -l`, sorted by key.
pub fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<(&str, String)> = entries(selector, "/matchLabels")
        .map(|(key, value)| (key.as_str(), format!("{key}={}", value.as_str().unwrap_or_default())))
        .collect();
    for expression in list_at(selector, "/matchExpressions") {
        let key = str_at(expression, "/key");
        let mut values: Vec<&str> = strs_at(expression, "/values").collect();
        values.sort_unstable();
        let values = values.join(",");
        parts.push((
            key,
            match str_at(expression, "/operator") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                "DoesNotExist" => format!("!{key}"),
                _ => return "<error>".into(),
            },
        ));
    }
    parts.sort_by_key(|(key, _)| *key);
    parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

/// The names and the images of the containers at `path`.
pub fn containers(object: &Value, path: &str) -> [Value; 2] {
    let all =
        |field| list_at(object, path).iter().map(|c| str_at(c, field)).collect::<Vec<_>>().join(",").into();
    [all("/name"), all("/image")]
}

/// At most `max` of the items, joined with commas, and how many more there are.
pub fn first(items: &[String], max: usize, none: &str) -> String {
    if items.is_empty() {
        return none.into();
    }
    let shown = items.get(..max.min(items.len())).unwrap_or_default().join(",");
    if items.len() > max { format!("{shown} + {} more...", items.len() - max) } else { shown }
}

/// Access modes in short, in their fixed order: `RWO,ROX`.
pub fn access_modes(object: &Value, path: &str) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode| strs_at(object, path).any(|m| m == mode);
    SHORT.iter().filter(|(mode, _)| has(*mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// The addresses of a load balancer's status.
pub fn load_balancer(object: &Value, path: &str) -> String {
    let mut addresses: Vec<&str> = list_at(object, path)
        .iter()
        .map(|ingress| match str_at(ingress, "/ip") {
            "" => str_at(ingress, "/hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_read_as_those_of_kubectl() {
        let cases = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (7 * 3600 + 60, "7h1m"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (49 * 3600, "2d1h"),
            (8 * 86_400, "8d"),
            (2 * 365 * 86_400, "2y"),
            (2 * 365 * 86_400 + 86_400, "2y1d"),
            (9 * 365 * 86_400, "9y"),
        ];
        for (seconds, shown) in cases {
            assert_eq!(human_duration(seconds), shown, "{seconds}");
        }
    }

    #[test]
    fn selectors_are_sorted_by_key() {
        let selector = json!({
            "matchLabels": {"b": "1"},
            "matchExpressions": [
                {"key": "c", "operator": "DoesNotExist"},
                {"key": "a", "operator": "In", "values": ["y", "x"]},
            ],
        });
        assert_eq!(selector_text(&selector), "a in (x,y),b=1,!c");
        assert_eq!(label_selector(&json!({}), "/spec/selector"), "<none>");
    }

    #[test]
    fn long_lists_say_how_many_more() {
        let items: Vec<String> = ["a", "b", "c", "d"].map(String::from).into();
        assert_eq!(first(&items, 3, "<none>"), "a,b,c + 1 more...");
        assert_eq!(first(&[], 3, "<none>"), "<none>");
    }
}
