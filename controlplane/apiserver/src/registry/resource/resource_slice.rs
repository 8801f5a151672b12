//! Resource slices: the devices that drivers offer.

mod capacity;
mod device;
mod validate;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::field::Errors;
use crate::registry::access::{get_mut, list_mut, remove, set_default, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of resource slices.
pub struct ResourceSlice;

impl Kind for ResourceSlice {
    fn prepare_create(&self, slice: &mut Value, writer: &Writer<'_>) {
        default_taints(slice, writer.now);
        drop_lists(slice);
    }

    fn prepare_update(&self, slice: &mut Value, _old: &Value, writer: &Writer<'_>) {
        default_taints(slice, writer.now);
        drop_lists(slice);
    }

    fn validate(&self, slice: &Value) -> Errors {
        validate::validate(slice, None)
    }

    fn validate_update(&self, slice: &Value, old: &Value) -> Errors {
        validate::validate(slice, Some(old))
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, slice: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            name(slice),
            str_at(slice, "/spec/nodeName").into(),
            str_at(slice, "/spec/driver").into(),
            str_at(slice, "/spec/pool/name").into(),
            age(slice, now),
        ]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.nodeName", "spec.driver"]
    }

    fn field_values(&self, slice: &Value) -> Vec<String> {
        vec![str_at(slice, "/spec/nodeName").to_owned(), str_at(slice, "/spec/driver").to_owned()]
    }
}

fn default_taints(slice: &mut Value, now: Timestamp) {
    for taint in list_mut(slice, "/spec/devices").flat_map(|device| list_mut(device, "/taints")) {
        set_default(taint, "/timeAdded", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
}

/// Lists of values are not offered (`DRAListTypeAttributes` is off), so they are not kept.
fn drop_lists(slice: &mut Value) {
    for device in list_mut(slice, "/spec/devices") {
        let attributes = get_mut(device, "/attributes").and_then(Value::as_object_mut);
        for attribute in attributes.into_iter().flat_map(Map::values_mut) {
            for list in ["/ints", "/bools", "/strings", "/versions"] {
                remove(attribute, list);
            }
        }
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Node",
        "string",
        "NodeName identifies the node which provides the resources in this pool. A field selector can be used to list only ResourceSlice objects belonging to a certain node.\n\nThis field can be used to limit access from nodes to ResourceSlices with the same node name. It also indicates to autoscalers that adding new nodes of the same type as some old node might also make new resources available.\n\nExactly one of NodeName, NodeSelector, AllNodes, and PerDeviceNodeSelection must be set. This field is immutable.",
    ),
    column(
        "Driver",
        "string",
        "Driver identifies the DRA driver providing the capacity information. A field selector can be used to list only ResourceSlice objects with a certain driver name.\n\nMust be a DNS subdomain and should end with a DNS domain owned by the vendor of the driver. It should use only lower case characters. This field is immutable.",
    ),
    column(
        "Pool",
        "string",
        "Name is used to identify the pool. For node-local devices, this is often the node name, but this is not required.\n\nIt must not be longer than 253 characters and must consist of one or more DNS sub-domains separated by slashes. This field is immutable.",
    ),
    AGE,
];
