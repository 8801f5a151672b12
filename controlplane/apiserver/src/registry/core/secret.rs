//! Secrets.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{count_at, make_map, remove, set_default, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of secrets.
pub struct Secret;

impl Kind for Secret {
    fn default(&self, secret: &mut Value) {
        set_default(secret, "/type", "Opaque");
        if let Some(Value::Object(texts)) = remove(secret, "/stringData") {
            let data = make_map(secret, "/data");
            for (key, text) in texts {
                data.insert(key, BASE64_STANDARD.encode(text.as_str().unwrap_or_default()).into());
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, secret: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(secret), str_at(secret, "/type").into(), count_at(secret, "/data").into(), age(secret, now)]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn field_values(&self, secret: &Value) -> Vec<String> {
        vec![str_at(secret, "/type").to_owned()]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Type",
        "string",
        "Used to facilitate programmatic handling of secret data. More info: https://kubernetes.io/docs/concepts/configuration/secret/#secret-types",
    ),
    column(
        "Data",
        "string",
        "Data contains the secret data. Each key must consist of alphanumeric characters, '-', '_' or '.'. The serialized form of the secret data is a base64 encoded string, representing the arbitrary (possibly non-string) data value here. Described in https://tools.ietf.org/html/rfc4648#section-4",
    ),
    AGE,
];
