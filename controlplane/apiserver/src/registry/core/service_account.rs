//! Service accounts.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::registry::access::{at, list_mut};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, name};

/// The annotation that lets pods mount only the secrets of their account.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// The rules of service accounts.
pub struct ServiceAccount;

impl Kind for ServiceAccount {
    fn prepare_create(&self, account: &mut Value, _writer: &Writer<'_>) {
        keep_names_of_secrets(account);
    }

    fn prepare_update(&self, account: &mut Value, _old: &Value, _writer: &Writer<'_>) {
        keep_names_of_secrets(account);
    }

    fn warnings(&self, account: &Value, old: Option<&Value>) -> Vec<String> {
        let enforces = |account: &Value| at(account, "/metadata/annotations").get(ENFORCE).is_some();
        if !enforces(account) || old.is_some_and(enforces) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{ENFORCE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        &[NAME, AGE]
    }

    fn cells(&self, account: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(account), age(account, now)]
    }
}

/// The secrets of an account are beside it, so that nothing but their names counts.
fn keep_names_of_secrets(account: &mut Value) {
    for secret in list_mut(account, "/secrets") {
        *secret = secret.get("name").map_or_else(|| json!({}), |name| json!({"name": name}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        let mut account =
            json!({"secrets": [{"name": "a", "namespace": "b", "kind": "Secret"}, {"uid": "c"}]});
        keep_names_of_secrets(&mut account);
        assert_eq!(account, json!({"secrets": [{"name": "a"}, {}]}));
    }

    #[test]
    fn who_begins_to_enforce_mountable_secrets_is_warned() {
        let plain = json!({"metadata": {}});
        let enforcing = json!({"metadata": {"annotations": {ENFORCE: "true"}}});
        assert_eq!(ServiceAccount.warnings(&enforcing, Some(&plain)).len(), 1);
        assert_eq!(ServiceAccount.warnings(&enforcing, Some(&enforcing)), [""; 0]);
    }
}
