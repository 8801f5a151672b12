//! Limit ranges.

use serde_json::Value;

use super::pod_spec::round_up_quantities;
use crate::registry::access::{at, list_mut, make_map, str_at};
use crate::registry::kind::Kind;

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

    fn create_on_update(&self) -> bool {
        true
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
