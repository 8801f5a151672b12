//! What a client sees of objects: themselves, a Table of them, or just their metadata.

use std::io::Write;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use vkube_store::Entry;

use crate::{
    body::Response,
    codec,
    handlers::{call::Call, list::Listing},
    negotiation::{Accepted, Encoding, Target},
    resource::Definition,
    respond,
    schema::types::Type,
    status::ApiError,
    stored,
};

/// One object in the representation asked for.
pub fn one(call: &Call, code: StatusCode, object: &Value) -> Result<Response, ApiError> {
    let document = transformed(call, object, true);
    Ok(respond::document(code, &document, encoding(call)?, metadata_type(call, "PartialObjectMetadata")))
}

/// The metadata types have a protobuf form, tables do not.
fn encoding(call: &Call) -> Result<Encoding, ApiError> {
    match call.accepted {
        Accepted { encoding: Encoding::Protobuf, target: Target::Table(_) } => Err(ApiError::not_acceptable(
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
        accepted => Ok(accepted.encoding),
    }
}

/// The type of metadata documents, if they are what is asked for.
pub fn metadata_type(call: &Call, kind: &str) -> Option<Type<'static>> {
    match call.accepted.target {
        Target::Metadata(_) => Type::builtin(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}")),
        _ => None,
    }
}

/// An object of the version asked for, as the target says. `columns` are left out of a watch's later tables.
pub fn transformed(call: &Call, object: &Value, columns: bool) -> Value {
    match call.accepted.target {
        Target::Object => object.clone(),
        Target::Metadata(version) => partial(object, version),
        Target::Table(version) => {
            let revision = crate::metadata::text(object, "resourceVersion");
            let rows = vec![row(call, object)];
            table(call, version, json!({"resourceVersion": revision}), rows, columns)
        }
    }
}

fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

/// A page of objects in the representation asked for.
pub fn list(call: &Call, code: StatusCode, listing: &Listing) -> Result<Response, ApiError> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), listing.revision.to_string().into());
    // Lists of custom objects always say whether there is more.
    let always = matches!((&call.definition, call.accepted.target), (Definition::Custom(_), Target::Object));
    if always || !listing.continue_token.is_empty() {
        metadata.insert("continue".into(), listing.continue_token.as_str().into());
    }
    if let Some(remaining) = listing.remaining {
        metadata.insert("remainingItemCount".into(), remaining.into());
    }
    let metadata = Value::Object(metadata);
    let encoding = encoding(call)?;
    match call.accepted.target {
        Target::Object if encoding == Encoding::Json && !call.definition.is_converted() => {
            Ok(respond::bytes(code, encoding.media_type(), as_stored(call, &metadata, &listing.entries)?))
        }
        Target::Object => {
            let mut items = Vec::with_capacity(listing.entries.len());
            for entry in &listing.entries {
                let mut item = object(call, entry)?;
                if let (Definition::Builtin(_), Some(map)) = (&call.definition, item.as_object_mut()) {
                    map.remove("apiVersion");
                    map.remove("kind");
                }
                items.push(item);
            }
            let list = json!({
                "kind": call.definition.list_kind(),
                "apiVersion": call.definition.api_version(),
                "metadata": metadata,
                "items": items,
            });
            let (media_type, bytes) = codec::encode_list(&list, encoding, call.definition.ty()?)?;
            Ok(respond::bytes(code, media_type, bytes))
        }
        Target::Metadata(version) => {
            let mut items = Vec::with_capacity(listing.entries.len());
            for entry in &listing.entries {
                items.push(partial(&object(call, entry)?, version));
            }
            let list = json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata,
                "items": items,
            });
            Ok(respond::document(code, &list, encoding, metadata_type(call, "PartialObjectMetadataList")))
        }
        Target::Table(version) => {
            let mut rows = Vec::with_capacity(listing.entries.len());
            for entry in &listing.entries {
                rows.push(row(call, &object(call, entry)?));
            }
            let table = table(call, version, metadata, rows, true);
            Ok(respond::document(code, &table, encoding, None))
        }
    }
}

/// The object of an entry, at the version asked for.
pub fn object(call: &Call, entry: &Entry) -> Result<Value, ApiError> {
    let object = stored::decode(entry)?;
    Ok(if call.definition.is_converted() {
        call.definition.stored().convert(object, &call.definition)
    } else {
        object
    })
}

/// The JSON of a list, made of the stored bytes of its items.
fn as_stored(call: &Call, metadata: &Value, entries: &[Entry]) -> Result<Vec<u8>, ApiError> {
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

fn table(call: &Call, version: &str, metadata: Value, rows: Vec<Value>, columns: bool) -> Value {
    let definitions = if columns { column_definitions(&call.definition) } else { Value::Null };
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

/// The table that stands for a bookmark: a row with the bookmark's object and empty cells.
pub fn empty_table(call: &Call, revision: u64, object: &Value, columns: bool) -> Value {
    let Target::Table(version) = call.accepted.target else { return object.clone() };
    let rows = vec![json!({"cells": [], "object": partial(object, version)})];
    table(call, version, json!({"resourceVersion": revision.to_string()}), rows, columns)
}

fn column_definitions(definition: &Definition) -> Value {
    if let Definition::Custom(custom) = definition {
        return custom.column_definitions();
    }
    definition
        .rules()
        .columns()
        .iter()
        .map(|c| {
            json!({
                "name": c.name,
                "type": c.kind,
                "format": c.format,
                "description": c.description,
                "priority": c.priority,
            })
        })
        .collect()
}

fn row(call: &Call, object: &Value) -> Value {
    // Rules know the stored version; only those of events and autoscalers are served at another.
    let stored = call.definition.stored();
    let cells = if call.definition.judged().version() == call.definition.version() {
        call.definition.rules().cells(object, Timestamp::now())
    } else {
        let converted = call.definition.convert(object.clone(), &stored);
        stored.rules().cells(&converted, Timestamp::now())
    };
    let version = match call.accepted.target {
        Target::Table(version) => version,
        _ => "v1",
    };
    let mut row = json!({"cells": cells});
    match call.query.get("includeObject") {
        "None" => row["object"] = Value::Null,
        "Object" => row["object"] = object.clone(),
        _ => row["object"] = partial(object, version),
    }
    row
}
