//! CSI storage capacities.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, entries, get, list_at, str_at};
use crate::registry::core::pod_spec::deprecated_label;
use crate::registry::kind::Kind;
use crate::validation::fields::{dns_subdomain, immutable_field, non_negative_quantity};
use crate::validation::labels;

/// The rules of CSI storage capacities.
pub struct CsiStorageCapacity;

impl Kind for CsiStorageCapacity {
    fn warnings(&self, capacity: &Value, _old: Option<&Value>) -> Vec<String> {
        let path = Path::new("nodeTopology");
        let topology = at(capacity, "/nodeTopology");
        let mut warnings = Vec::new();
        for (index, expression) in list_at(topology, "/matchExpressions").iter().enumerate() {
            let key = str_at(expression, "/key");
            if let Some(why) = deprecated_label(key) {
                warnings.push(format!("{}: {key} is {why}", path.child("matchExpressions").index(index)));
            }
        }
        for (key, _) in entries(topology, "/matchLabels") {
            if let Some(why) = deprecated_label(key) {
                warnings.push(format!("{}: {why}", path.child("matchLabels").child(key)));
            }
        }
        warnings
    }

    fn validate(&self, capacity: &Value) -> Errors {
        let mut errors = Errors::default();
        labels::selector(&mut errors, &Path::new("nodeTopology"), at(capacity, "/nodeTopology"));
        let class = str_at(capacity, "/storageClassName");
        dns_subdomain(&mut errors, &Path::new("storageClassName"), class);
        for field in ["capacity", "maximumVolumeSize"] {
            if let Some(amount) = get(capacity, &format!("/{field}")) {
                non_negative_quantity(&mut errors, &Path::new(field), amount);
            }
        }
        errors
    }

    fn validate_update(&self, capacity: &Value, old: &Value) -> Errors {
        let mut errors = self.validate(capacity);
        for field in ["nodeTopology", "storageClassName"] {
            immutable_field(&mut errors, &Path::ROOT, capacity, old, field);
        }
        errors
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_goes_by_old_labels_of_nodes_is_warned() {
        let capacity = json!({"nodeTopology": {
            "matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}],
            "matchLabels": {"beta.kubernetes.io/arch": "a"},
        }});
        assert_eq!(
            CsiStorageCapacity.warnings(&capacity, None),
            [
                "nodeTopology.matchExpressions[0]: beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "nodeTopology.matchLabels.beta.kubernetes.io/arch: deprecated since v1.14; use \"kubernetes.io/arch\" instead",
            ]
        );
    }
}
