//! Conversion of built-in objects between the versions that they are served at.

use serde_json::Value;

use crate::registry::{Resource, autoscaling, events};

/// Brings an object from one version to another of the same resource. The caller sets `apiVersion`.
pub fn convert(object: Value, from: &Resource, to: &Resource) -> Value {
    match (from.kind, from.api_version().as_str(), to.api_version().as_str()) {
        ("Event", "v1", "events.k8s.io/v1") => events::conversion::core_to_events(object),
        ("Event", "events.k8s.io/v1", "v1") => events::conversion::events_to_core(object),
        ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2") => {
            autoscaling::conversion::v1_to_v2(object)
        }
        ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1") => {
            autoscaling::conversion::v2_to_v1(object)
        }
        _ => object,
    }
}
