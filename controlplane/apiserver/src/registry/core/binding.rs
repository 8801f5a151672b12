//! Bindings: what the scheduler posts to give a pod its node.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::str_at;
use crate::registry::kind::Kind;

/// The rules of bindings.
pub struct Binding;

impl Kind for Binding {
    fn validate(&self, binding: &Value) -> Errors {
        let mut errors = Errors::default();
        let target = Path::new("target");
        let kind = str_at(binding, "/target/kind");
        if !kind.is_empty() && kind != "Node" {
            errors.not_supported(&target.child("kind"), &kind.into(), &["Node", "<empty>"]);
        }
        if str_at(binding, "/target/name").is_empty() {
            errors.required(&target.child("name"), "");
        }
        errors
    }
}
