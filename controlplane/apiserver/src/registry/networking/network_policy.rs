//! Network policies.

mod validate;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::field::Errors;
use crate::registry::access::{count_at, list_mut, make_map, set, set_default};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, label_selector, name};

/// The rules of network policies.
pub struct NetworkPolicy;

impl Kind for NetworkPolicy {
    fn default(&self, policy: &mut Value) {
        make_map(policy, "/spec/podSelector");
        if count_at(policy, "/spec/policyTypes") == 0 {
            let both = count_at(policy, "/spec/egress") != 0;
            set(
                policy,
                "/spec/policyTypes",
                if both { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) },
            );
        }
        for rules in ["/spec/ingress", "/spec/egress"] {
            for port in list_mut(policy, rules).flat_map(|rule| list_mut(rule, "/ports")) {
                set_default(port, "/protocol", "TCP");
            }
        }
    }

    fn validate(&self, policy: &Value) -> Errors {
        validate::validate(policy, None)
    }

    fn validate_update(&self, policy: &Value, old: &Value) -> Errors {
        let mut errors = validate::validate(policy, Some(old));
        errors.extend(errors.clone());
        errors
    }

    fn warnings(&self, policy: &Value, _old: Option<&Value>) -> Vec<String> {
        validate::warnings(policy)
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, policy: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(policy), label_selector(policy, "/spec/podSelector"), age(policy, now)]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Pod-Selector",
        "string",
        "podSelector selects the pods to which this NetworkPolicy object applies. The array of rules is applied to any pods selected by this field. An empty selector matches all pods in the policy's namespace. Multiple network policies can select the same set of pods. In this case, the ingress rules for each are combined additively. This field is optional. If it is not specified, it defaults to an empty selector.",
    ),
    AGE,
];
