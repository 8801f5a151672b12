//! events.k8s.io/v1 ⇄ core/v1 events (the stored form): the same fields under other names.

use serde_json::Value;

use crate::registry::access::make_map;

/// Names in core/v1 and in events.k8s.io/v1.
const FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Fields that core/v1 shows even if they are empty.
const SHOWN: [&str; 2] = ["reportingComponent", "reportingInstance"];

/// The events.k8s.io/v1 form of a core/v1 event.
pub fn core_to_events(mut event: Value) -> Value {
    let map = make_map(&mut event, "");
    for (core, events) in FIELDS {
        if let Some(value) = map.remove(core) {
            map.insert(events.into(), value);
        }
    }
    for empty in ["reportingController", "reportingInstance"] {
        if map.get(empty).is_some_and(|value| value == "") {
            map.remove(empty);
        }
    }
    map.insert("apiVersion".into(), "events.k8s.io/v1".into());
    event
}

/// The core/v1 form of an events.k8s.io/v1 event.
pub fn events_to_core(mut event: Value) -> Value {
    let map = make_map(&mut event, "");
    for (core, events) in FIELDS {
        if let Some(value) = map.remove(events) {
            map.insert(core.into(), value);
        }
    }
    for shown in SHOWN {
        map.entry(shown).or_insert("".into());
    }
    map.insert("apiVersion".into(), "v1".into());
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_keep_everything_on_the_way_there_and_back() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod"}, "message": "m", "reason": "r", "type": "Normal",
            "source": {"component": "c"}, "firstTimestamp": null, "lastTimestamp": null, "count": 2,
            "eventTime": null, "reportingComponent": "", "reportingInstance": "",
        });
        let events = core_to_events(core.clone());
        assert_eq!(events["regarding"]["kind"], "Pod");
        assert_eq!(events["note"], "m");
        assert!(events.get("reportingController").is_none());
        assert_eq!(events_to_core(events), core);
    }
}
