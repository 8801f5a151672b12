//! Volume attachments.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use crate::field::Errors;
use crate::registry::access::{bool_at, count_at, get_mut, make_map, remove, str_at};
use crate::registry::core::persistent_volume::default_spec;
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of volume attachments.
pub struct VolumeAttachment;

impl Kind for VolumeAttachment {
    fn default(&self, attachment: &mut Value) {
        default_status(attachment);
        if let Some(volume) = get_mut(attachment, "/spec/source/inlineVolumeSpec") {
            default_spec(volume);
            if count_at(volume, "/capacity") == 0 {
                remove(volume, "/capacity");
            }
        }
    }

    fn prepare_create(&self, attachment: &mut Value, _writer: &Writer<'_>) {
        default_status(attachment);
    }

    fn prepare_status_update(&self, attachment: &mut Value, _old: &Value) {
        default_status(attachment);
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, attachment: &Value) -> Errors {
        validate::validate_create(attachment)
    }

    fn validate_update(&self, attachment: &Value, old: &Value) -> Errors {
        validate::validate_update(attachment, old)
    }

    fn validate_status_update(&self, attachment: &Value, old: &Value) -> Errors {
        validate::validate_update(attachment, old)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, attachment: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            name(attachment),
            str_at(attachment, "/spec/attacher").into(),
            str_at(attachment, "/spec/source/persistentVolumeName").into(),
            str_at(attachment, "/spec/nodeName").into(),
            bool_at(attachment, "/status/attached").into(),
            age(attachment, now),
        ]
    }
}

fn default_status(attachment: &mut Value) {
    make_map(attachment, "/status").entry("attached").or_insert(false.into());
}

const COLUMNS: &[Column] = &[
    NAME,
    Column {
        format: "name",
        ..column(
            "Attacher",
            "string",
            "attacher indicates the name of the volume driver that MUST handle this request. This is the name returned by GetPluginName().",
        )
    },
    column("PV", "string", "persistentVolumeName represents the name of the persistent volume to attach."),
    column("Node", "string", "nodeName represents the node that the volume should be attached to."),
    column(
        "Attached",
        "boolean",
        "attached indicates the volume is successfully attached. This field must only be set by the entity completing the attach operation, i.e. the external-attacher.",
    ),
    AGE,
];
