//! Configurations of admission webhooks.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use super::defaults::{default_matching, default_rules};
use crate::field::Errors;
use crate::registry::access::{count_at, has, list_mut, set_default};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of mutating webhook configurations.
pub struct MutatingWebhookConfiguration;

/// The rules of validating webhook configurations.
pub struct ValidatingWebhookConfiguration;

impl Kind for MutatingWebhookConfiguration {
    fn default(&self, configuration: &mut Value) {
        for webhook in list_mut(configuration, "/webhooks") {
            default_webhook(webhook);
            set_default(webhook, "/reinvocationPolicy", "Never");
        }
    }

    fn validate(&self, configuration: &Value) -> Errors {
        validate::validate(configuration, None)
    }

    fn validate_update(&self, configuration: &Value, old: &Value) -> Errors {
        validate::validate(configuration, Some(old))
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["webhooks"]
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, configuration: &Value, now: Timestamp) -> Vec<Value> {
        cells(configuration, now)
    }
}

impl Kind for ValidatingWebhookConfiguration {
    fn default(&self, configuration: &mut Value) {
        list_mut(configuration, "/webhooks").for_each(default_webhook);
    }

    fn validate(&self, configuration: &Value) -> Errors {
        validate::validate(configuration, None)
    }

    fn validate_update(&self, configuration: &Value, old: &Value) -> Errors {
        validate::validate(configuration, Some(old))
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["webhooks"]
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, configuration: &Value, now: Timestamp) -> Vec<Value> {
        cells(configuration, now)
    }
}

fn default_webhook(webhook: &mut Value) {
    set_default(webhook, "/failurePolicy", "Fail");
    default_matching(webhook);
    set_default(webhook, "/timeoutSeconds", 10);
    default_rules(webhook, "/rules");
    if has(webhook, "/clientConfig/service") {
        set_default(webhook, "/clientConfig/service/port", 443);
    }
}

fn cells(configuration: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(configuration), count_at(configuration, "/webhooks").into(), age(configuration, now)]
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Webhooks",
        "integer",
        "Webhooks indicates the number of webhooks registered in this configuration",
    ),
    AGE,
];
