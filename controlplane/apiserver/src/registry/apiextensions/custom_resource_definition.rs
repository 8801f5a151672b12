//! Custom resource definitions.

mod defaults;
pub mod definition;
mod formats;
mod internal;
mod rules;
mod schema;
mod structural;
mod version;

use serde_json::{Value, json};

use crate::field::{Errors, quoted};
use crate::registry::access::{bool_at, has, list_at, make_map, set, set_default, str_at};
use crate::registry::kind::{Kind, Writer};

/// The rules of custom resource definitions.
pub struct CustomResourceDefinition;

impl Kind for CustomResourceDefinition {
    fn default(&self, definition: &mut Value) {
        let kind = str_at(definition, "/spec/names/kind").to_owned();
        if !kind.is_empty() {
            set_default(definition, "/spec/names/singular", kind.to_lowercase());
            set_default(definition, "/spec/names/listKind", format!("{kind}List"));
        }
        set_default(definition, "/spec/conversion/strategy", "None");
        if has(definition, "/spec/conversion/webhook/clientConfig/service") {
            set_default(definition, "/spec/conversion/webhook/clientConfig/service/port", 443);
        }
        default_status(definition);
    }

    fn prepare_create(&self, definition: &mut Value, _writer: &Writer<'_>) {
        let stored: Vec<Value> = list_at(definition, "/spec/versions")
            .iter()
            .filter(|version| bool_at(version, "/storage"))
            .map(|version| str_at(version, "/name").into())
            .take(1)
            .collect();
        set(definition, "/status", json!({"storedVersions": stored}));
        default_status(definition);
    }

    fn prepare_update(&self, definition: &mut Value, _old: &Value, _writer: &Writer<'_>) {
        let storage =
            list_at(definition, "/spec/versions").iter().find(|version| bool_at(version, "/storage"));
        let Some(name) = storage.map(|version| str_at(version, "/name").to_owned()) else { return };
        let stored = make_map(definition, "/status").entry("storedVersions").or_insert_with(|| json!([]));
        if let Some(list) = stored.as_array_mut()
            && !list.iter().any(|version| *version == name.as_str())
        {
            list.push(name.into());
        }
    }

    fn validate(&self, definition: &Value) -> Errors {
        definition::create(definition)
    }

    fn validate_update(&self, definition: &Value, old: &Value) -> Errors {
        definition::update(definition, old)
    }

    fn validate_status_update(&self, definition: &Value, _old: &Value) -> Errors {
        let mut errors = Errors::default();
        definition::status(definition, &mut errors);
        errors
    }

    fn warnings(&self, definition: &Value, old: Option<&Value>) -> Vec<String> {
        let known = old.map(formats::unknown).unwrap_or_default();
        let mut unknown = formats::unknown(definition);
        unknown.retain(|format| !known.contains(format));
        unknown.iter().map(|format| format!("unrecognized format {}", quoted(format))).collect()
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

fn default_status(definition: &mut Value) {
    let status = make_map(definition, "/status");
    for list in ["conditions", "storedVersions"] {
        status.entry(list).or_insert(Value::Null);
    }
    let names = make_map(definition, "/status/acceptedNames");
    for name in ["plural", "kind"] {
        names.entry(name).or_insert("".into());
    }
}
