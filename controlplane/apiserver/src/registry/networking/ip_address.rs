//! IP addresses: which service has which.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, str_at};
use crate::registry::internal;
use crate::registry::kind::{Column, Kind, NameRule};
use crate::table::{NAME, age, column, name};
use crate::validation::fields::{IMMUTABLE, dns_subdomain, path_segment, required_segment};
use crate::validation::ip;

/// The rules of IP addresses.
pub struct IpAddress;

impl Kind for IpAddress {
    /// Names are addresses, which `validate` demands.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn validate(&self, address: &Value) -> Errors {
        let mut errors = Errors::default();
        let metadata = Path::new("metadata");
        ip::strict_address(&mut errors, &metadata.child("name"), str_at(address, "/metadata/name"));
        let path = SPEC.child("parentRef");
        let Some(parent) = get(address, "/spec/parentRef") else {
            errors.required(&path, "");
            return errors;
        };
        match str_at(parent, "/group") {
            "" => {}
            group => dns_subdomain(&mut errors, &path.child("group"), group),
        }
        required_segment(&mut errors, &path, parent, "resource");
        required_segment(&mut errors, &path, parent, "name");
        match str_at(parent, "/namespace") {
            "" => {}
            namespace => path_segment(&mut errors, &path.child("namespace"), namespace),
        }
        errors
    }

    fn validate_update(&self, address: &Value, old: &Value) -> Errors {
        let mut errors = Errors::default();
        let parent = at(address, "/spec/parentRef");
        if parent != at(old, "/spec/parentRef") {
            internal::invalid(&mut errors, &SPEC.child("parentRef"), "ParentReference", parent, IMMUTABLE);
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    /// One cell more than columns, as the real server has it.
    fn cells(&self, address: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(address), parent(address).into(), age(address, now)]
    }
}

fn parent(address: &Value) -> String {
    let Some(parent) = get(address, "/spec/parentRef") else { return "<none>".into() };
    let mut text = match str_at(parent, "/group") {
        "" => str_at(parent, "/resource").to_lowercase(),
        group => format!("{}.{group}", str_at(parent, "/resource")).to_lowercase(),
    };
    for part in ["/namespace", "/name"] {
        match str_at(parent, part) {
            "" if part == "/namespace" => {}
            value => {
                text.push('/');
                text.push_str(value);
            }
        }
    }
    text
}

const SPEC: Path<'static> = Path::new("spec");

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "ParentRef",
        "string",
        "ParentRef references the resource that an IPAddress is attached to. An IPAddress must reference a parent object.",
    ),
];
