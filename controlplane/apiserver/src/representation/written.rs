//! Lists in JSON, written from the stored bytes of their items without making documents of them.
//!
//! Stored documents of built-in kinds have their fields in Go's order, and so has what is cut out of them.

use std::io::Write;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use vkube_store::Entry;

use super::{cells, column_definitions, object};
use crate::{
    handlers::call::Call,
    negotiation::{Encoding, Target},
    resource::Definition,
    status::ApiError,
    stored,
};

/// The part of a document that every representation shows.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// The list, if it can be written like that.
pub fn list(call: &Call, metadata: &Value, entries: &[Entry]) -> Result<Option<Vec<u8>>, ApiError> {
    let definition = &call.definition;
    if call.accepted.encoding != Encoding::Json || definition.is_converted() {
        return Ok(None);
    }
    // Metadata of custom objects have another order, and some kinds hide a part of theirs.
    let whole = matches!(definition, Definition::Builtin(_))
        && definition.rules().annotations_of_versions().is_empty();
    Ok(match call.accepted.target {
        Target::Object => Some(objects(call, metadata, entries)?),
        Target::Metadata(version) | Target::MetadataList(version) if whole => {
            Some(outlines(metadata, entries, version)?)
        }
        Target::Table(version) if whole => Some(table(call, metadata, entries, version)?),
        _ => None,
    })
}

fn objects(call: &Call, metadata: &Value, entries: &[Entry]) -> Result<Vec<u8>, ApiError> {
    let size: usize = entries.iter().map(|e| e.value.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 256);
    write!(
        out,
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        call.definition.list_kind(),
        call.definition.api_version()
    )
    .map_err(ApiError::internal)?;
    // Items of built-in lists carry no type of their own, as in the real server.
    let skip =
        matches!(call.definition, Definition::Builtin(_)).then(|| stored::type_length(&call.definition));
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match skip {
            Some(length) => {
                out.push(b'{');
                out.extend_from_slice(stored::without_type(&entry.value, length));
            }
            None => out.extend_from_slice(&entry.value),
        }
    }
    out.extend_from_slice(b"]}\n");
    Ok(out)
}

fn outlines(metadata: &Value, entries: &[Entry], version: &str) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::with_capacity(entries.len() * 512 + 256);
    write!(
        out,
        "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{metadata},\"items\":["
    )
    .map_err(ApiError::internal)?;
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        outline(&mut out, entry, version)?;
    }
    out.extend_from_slice(b"]}\n");
    Ok(out)
}

fn outline(out: &mut Vec<u8>, entry: &Entry, version: &str) -> Result<(), ApiError> {
    let outline: Outline<'_> = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
    let metadata = outline.metadata.get();
    let kind = "PartialObjectMetadata";
    write!(out, "{{\"kind\":\"{kind}\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{metadata}}}")
        .map_err(ApiError::internal)
}

fn table(call: &Call, metadata: &Value, entries: &[Entry], version: &str) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::with_capacity(entries.len() * 768 + 4096);
    let columns = column_definitions(&call.definition);
    write!(
        out,
        "{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{metadata},\"columnDefinitions\":{columns},\"rows\":["
    )
    .map_err(ApiError::internal)?;
    let include = call.query.get("includeObject");
    for (at, entry) in entries.iter().enumerate() {
        let object = object(call, entry)?;
        let separator = if at > 0 { "," } else { "" };
        write!(out, "{separator}{{\"cells\":").map_err(ApiError::internal)?;
        serde_json::to_writer(&mut out, &cells(call, &object)).map_err(ApiError::internal)?;
        let conditions = call.definition.rules().row_conditions(&object);
        if !conditions.is_empty() {
            out.extend_from_slice(b",\"conditions\":");
            serde_json::to_writer(&mut out, &conditions).map_err(ApiError::internal)?;
        }
        out.extend_from_slice(b",\"object\":");
        match include {
            "None" => out.extend_from_slice(b"null"),
            "Object" => out.extend_from_slice(&entry.value),
            _ => outline(&mut out, entry, version)?,
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}\n");
    Ok(out)
}
