//! Config maps.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{count_at, entries, map_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::validate_kept_content;
use crate::validation::formats;

/// The rules of config maps.
pub struct ConfigMap;

/// The most that a config map or secret may hold.
pub const MAX_SIZE: usize = 1024 * 1024;

impl Kind for ConfigMap {
    fn validate(&self, map: &Value) -> Errors {
        let mut errors = Errors::default();
        let binary = map_at(map, "/binaryData");
        let mut size = 0;
        for (key, text) in entries(map, "/data") {
            validate_key(&mut errors, "data", key);
            if binary.is_some_and(|binary| binary.contains_key(key)) {
                let path = Path::new("data");
                errors.invalid_str(&path.key(key), key, "duplicate of key present in binaryData");
            }
            size += text.as_str().map_or(0, str::len);
        }
        for (key, data) in entries(map, "/binaryData") {
            validate_key(&mut errors, "binaryData", key);
            size += decoded_size(data);
        }
        if size > MAX_SIZE {
            errors.too_long(&Path::ROOT.key(""), MAX_SIZE);
        }
        errors
    }

    fn validate_update(&self, map: &Value, old: &Value) -> Errors {
        let mut errors = Errors::default();
        validate_kept_content(&mut errors, map, old, &["data", "binaryData"]);
        errors.extend(self.validate(map));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, map: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(map), (count_at(map, "/data") + count_at(map, "/binaryData")).into(), age(map, now)]
    }
}

/// A key of a config map or secret.
pub fn validate_key(errors: &mut Errors, field: &str, key: &str) {
    for why in formats::config_map_key(key) {
        errors.invalid_str(&Path::new(field).key(key), key, &why);
    }
}

/// How many bytes a base64 text stands for.
pub fn decoded_size(data: &Value) -> usize {
    let text = data.as_str().unwrap_or_default();
    text.len() / 4 * 3 - text.len().min(2).min(text.bytes().rev().take_while(|byte| *byte == b'=').count())
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Data",
        "string",
        "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. Values with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap with the keys in the BinaryData field, this is enforced during validation process.",
    ),
    AGE,
];
