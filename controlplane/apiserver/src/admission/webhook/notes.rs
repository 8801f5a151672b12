//! What the audit is told of webhooks
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#monitoring-admission-webhooks>).

use serde::Serialize;
use serde_json::Value;

use super::Webhook;
use crate::audit::{self, policy::Level};

/// A call of a webhook: the pass of admission, and its place among all webhooks.
#[derive(Clone, Copy, Debug)]
pub struct Call<'h> {
    pub hook: &'h Webhook,
    pub pass: u8,
    pub place: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Note<'a> {
    configuration: &'a str,
    webhook: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'a str>,
}

impl Call<'_> {
    /// Whether it has changed the object.
    pub fn mutated(self, changed: bool) {
        let note = Note { mutated: Some(changed), ..self.note() };
        audit::annotate(&self.key("mutation"), || shown(&note));
    }

    /// How it has changed the object, where requests are told.
    pub fn patched(self, patch: &Value) {
        let note = Note { patch: Some(patch), patch_type: Some("JSONPatch"), ..self.note() };
        audit::annotate_from(Level::Request, &self.key("patch"), || shown(&note));
    }

    /// That it did not answer and was passed over. `sort` is what it is called for.
    pub fn failed_open(self, sort: &str) {
        audit::annotate(&self.key(&format!("failed-open.{sort}")), || self.hook.name.clone());
    }

    fn note(&self) -> Note<'_> {
        // The name of a configuration has no slash.
        let configuration = self.hook.key.split('/').next().unwrap_or_default();
        Note { configuration, webhook: &self.hook.name, mutated: None, patch: None, patch_type: None }
    }

    fn key(&self, what: &str) -> String {
        format!("{what}.webhook.admission.k8s.io/round_{}_index_{}", self.pass, self.place)
    }
}

fn shown(note: &Note<'_>) -> String {
    serde_json::to_string(note).unwrap_or_default()
}
