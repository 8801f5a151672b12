//! Defaults of match rules, in webhooks and in policies.

use serde_json::Value;

use crate::registry::access::{list_mut, make_map, set_default};

/// Defaults of the rules of the list at `path`.
pub fn default_rules(object: &mut Value, path: &str) {
    for rule in list_mut(object, path) {
        set_default(rule, "/scope", "*");
    }
}

/// Defaults of what says which requests match.
pub fn default_matching(object: &mut Value) {
    set_default(object, "/matchPolicy", "Equivalent");
    make_map(object, "/namespaceSelector");
    make_map(object, "/objectSelector");
}

/// Defaults of `matchConstraints` and `matchResources`.
pub fn default_match_resources(object: &mut Value) {
    default_matching(object);
    default_rules(object, "/resourceRules");
    default_rules(object, "/excludeResourceRules");
}
