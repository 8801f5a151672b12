//! What a client sees of objects: themselves, a Table of them, or just their metadata.

mod written;

use futures::{Stream, StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use vkube_store::{Entry, Part};

pub use self::written::Writer;

use crate::{
    body::{self, Response},
    codec,
    handlers::{call::Call, list::Listing},
    negotiation::Target,
    registry::kind::Column,
    resource::Definition,
    respond,
    schema::types::Type,
    status::ApiError,
    stored,
};

/// One object in the representation asked for.
pub fn one(call: &Call, code: StatusCode, object: &Value) -> Result<Response, ApiError> {
    check(call, &call.definition.kind_in_go(false), false)?;
    let document = transformed(call, object, true);
    let ty = metadata_type(call, "PartialObjectMetadata");
    Ok(respond::document(code, &document, call.accepted.encoding, ty))
}

/// Whether what is asked for can be made of an object or a list; `go_type` names it in the error.
pub fn check(call: &Call, go_type: &str, list: bool) -> Result<(), ApiError> {
    let include = call.query.get("includeObject");
    match call.accepted.target {
        Target::Metadata(_) if list => Err(ApiError::not_acceptable(format!(
            "you requested PartialObjectMetadata, but the requested object is a list ({go_type})"
        ))),
        Target::MetadataList(_) if !list => Err(ApiError::not_acceptable(format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list ({go_type})"
        ))),
        Target::Table(_) if !matches!(include, "" | "None" | "Metadata" | "Object") => {
            Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {include:?}: must be 'Metadata', 'Object', 'None', or empty"
            )))
        }
        _ => Ok(()),
    }
}

/// The type of metadata documents, if they are what is asked for.
pub fn metadata_type(call: &Call, kind: &str) -> Option<Type<'static>> {
    match call.accepted.target {
        Target::Metadata(_) | Target::MetadataList(_) => {
            Type::builtin(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"))
        }
        _ => None,
    }
}

/// An object of the version asked for, as the target says. `columns` are left out of a watch's later tables.
pub fn transformed(call: &Call, object: &Value, columns: bool) -> Value {
    match call.accepted.target {
        Target::Object => object.clone(),
        Target::Metadata(version) | Target::MetadataList(version) => {
            partial(&call.definition, object, version)
        }
        Target::Table(version) => {
            let revision = crate::metadata::text(object, "resourceVersion");
            let rows = vec![row(call, object, version)];
            table(call, version, json!({"resourceVersion": revision}), rows, columns)
        }
    }
}

/// The metadata of an object alone.
pub fn partial(definition: &Definition, object: &Value, version: &str) -> Value {
    let mut metadata = object.get("metadata").cloned().unwrap_or_default();
    let absent = definition.rules().annotations_of_versions();
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !absent.contains(&key.as_str()));
        if annotations.is_empty()
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.remove("annotations");
        }
    }
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
    })
}

/// The metadata of a list.
fn list_metadata(call: &Call, listing: &Listing) -> Value {
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
    Value::Object(metadata)
}

/// A list that `writer` writes while it is read: `listing` and then `rest`.
pub fn stream<S>(
    call: &Call,
    code: StatusCode,
    mut writer: Writer,
    listing: &Listing,
    rest: S,
) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<Part, ApiError>> + Send + 'static,
{
    check(call, &call.definition.kind_in_go(true), true)?;
    let mut first = Vec::with_capacity(4096);
    writer.begin(&list_metadata(call, listing), &mut first)?;
    writer.entries(&listing.entries, &mut first)?;
    let rest = rest.map(move |part| {
        let (part, mut out) = (part?, Vec::new());
        writer.entries(&part.entries, &mut out)?;
        if part.is_last {
            writer.end(&mut out);
        }
        Ok(out.into())
    });
    let mut response = Response::new(body::stream(stream::iter([Ok(first.into())]).chain(rest)));
    *response.status_mut() = code;
    let media_type = HeaderValue::from_static(call.accepted.encoding.media_type());
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}

/// A page of objects in the representation asked for.
pub fn list(call: &Call, code: StatusCode, listing: &Listing) -> Result<Response, ApiError> {
    check(call, &call.definition.kind_in_go(true), true)?;
    let metadata = list_metadata(call, listing);
    let encoding = call.accepted.encoding;
    if let Some(mut writer) = Writer::new(call) {
        let mut written = Vec::with_capacity(4096);
        writer.begin(&metadata, &mut written)?;
        writer.entries(&listing.entries, &mut written)?;
        writer.end(&mut written);
        return Ok(respond::bytes(code, encoding.media_type(), written));
    }
    match call.accepted.target {
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
        Target::Metadata(version) | Target::MetadataList(version) => {
            let mut items = Vec::with_capacity(listing.entries.len());
            for entry in &listing.entries {
                items.push(partial(&call.definition, &object(call, entry)?, version));
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
                rows.push(row(call, &object(call, entry)?, version));
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
    let rows = vec![json!({"cells": [], "object": partial(&call.definition, object, version)})];
    table(call, version, json!({"resourceVersion": revision.to_string()}), rows, columns)
}

fn column_definitions(definition: &Definition) -> Value {
    if let Definition::Custom(custom) = definition {
        return custom.column_definitions();
    }
    definition.rules().columns().iter().map(Column::to_value).collect()
}

fn row(call: &Call, object: &Value, version: &str) -> Value {
    let mut row = json!({"cells": cells(call, object)});
    let conditions = call.definition.rules().row_conditions(object);
    if !conditions.is_empty() {
        row["conditions"] = conditions.into();
    }
    match call.query.get("includeObject") {
        "None" => row["object"] = Value::Null,
        "Object" => row["object"] = object.clone(),
        _ => row["object"] = partial(&call.definition, object, version),
    }
    row
}

fn cells(call: &Call, object: &Value) -> Vec<Value> {
    // Rules know the stored version; only those of events and autoscalers are served at another.
    let stored = call.definition.stored();
    if call.definition.judged().version() == call.definition.version() {
        call.definition.rules().cells(object, Timestamp::now())
    } else {
        let converted = call.definition.convert(object.clone(), &stored);
        stored.rules().cells(&converted, Timestamp::now())
    }
}
