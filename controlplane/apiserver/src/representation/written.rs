//! Lists in JSON, written from the stored bytes of their items without making documents of them.
//!
//! Stored documents of built-in kinds have their fields in Go's order, and so has what is cut out of them.

use std::io::Write;

use serde_json::Value;
use vkube_store::Entry;

use super::{cells, column_definitions};
use crate::{
    handlers::call::Call,
    negotiation::{Encoding, Target},
    resource::Definition,
    status::ApiError,
    stored,
};

/// Writes a list, part by part.
pub struct Writer {
    call: Call,
    form: Form,
    /// The length of the type that built-in documents begin with.
    type_length: usize,
    is_empty: bool,
}

#[derive(Clone, Copy)]
enum Form {
    Objects,
    Metadata(&'static str),
    Table(&'static str),
}

impl Writer {
    /// A writer of what the call asks for, if it can be written like that.
    pub fn new(call: &Call) -> Option<Self> {
        let definition = &call.definition;
        if call.accepted.encoding != Encoding::Json || definition.is_converted() {
            return None;
        }
        // Metadata of custom objects have another order, and some kinds hide a part of theirs.
        let whole = matches!(definition, Definition::Builtin(_))
            && definition.rules().annotations_of_versions().is_empty();
        let form = match call.accepted.target {
            Target::Object => Form::Objects,
            Target::Metadata(version) | Target::MetadataList(version) if whole => Form::Metadata(version),
            Target::Table(version) if whole => Form::Table(version),
            _ => return None,
        };
        let type_length = stored::type_length(definition);
        Some(Self { call: call.shared(), form, type_length, is_empty: true })
    }

    /// Begins the list, whose own metadata these are.
    pub fn begin(&self, metadata: &Value, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let (kind, version) = (self.call.definition.list_kind(), self.call.definition.api_version());
        match self.form {
            Form::Objects => write!(
                out,
                "{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":["
            ),
            Form::Metadata(version) => write!(
                out,
                "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{metadata},\"items\":["
            ),
            Form::Table(version) => write!(
                out,
                "{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{metadata},\"columnDefinitions\":{},\"rows\":[",
                column_definitions(&self.call.definition)
            ),
        }
        .map_err(ApiError::internal)
    }

    /// Adds items.
    pub fn entries(&mut self, entries: &[Entry], out: &mut Vec<u8>) -> Result<(), ApiError> {
        out.reserve(match self.form {
            Form::Objects => entries.iter().map(|entry| entry.value.len() + 1).sum(),
            Form::Metadata(_) => entries.len() * 640,
            Form::Table(_) => entries.len() * 768,
        });
        for entry in entries {
            if !std::mem::take(&mut self.is_empty) {
                out.push(b',');
            }
            match self.form {
                Form::Objects => self.object(entry, out),
                Form::Metadata(version) => self.metadata(entry, version, out)?,
                Form::Table(version) => self.row(entry, version, out)?,
            }
        }
        Ok(())
    }

    /// Ends the list.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}\n");
    }

    fn object(&self, entry: &Entry, out: &mut Vec<u8>) {
        // Items of built-in lists carry no type of their own, as in the real server.
        if let Definition::Builtin(_) = self.call.definition {
            out.push(b'{');
            out.extend_from_slice(stored::without_type(&entry.value, self.type_length));
        } else {
            out.extend_from_slice(&entry.value);
        }
    }

    fn metadata(&self, entry: &Entry, version: &str, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let metadata = stored::metadata(&entry.value, self.type_length)?;
        let pieces: [&[u8]; 5] = [
            b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/",
            version.as_bytes(),
            b"\",\"metadata\":",
            metadata,
            b"}",
        ];
        for piece in pieces {
            out.extend_from_slice(piece);
        }
        Ok(())
    }

    fn row(&self, entry: &Entry, version: &str, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let object = stored::decode_shown(entry, self.type_length)?;
        let json = |value: &Vec<Value>, out: &mut Vec<u8>| {
            serde_json::to_writer(out, value).map_err(ApiError::internal)
        };
        out.extend_from_slice(b"{\"cells\":");
        json(&cells(&self.call, &object), out)?;
        let conditions = self.call.definition.rules().row_conditions(&object);
        if !conditions.is_empty() {
            out.extend_from_slice(b",\"conditions\":");
            json(&conditions, out)?;
        }
        out.extend_from_slice(b",\"object\":");
        match self.call.query.get("includeObject") {
            "None" => out.extend_from_slice(b"null"),
            "Object" => out.extend_from_slice(&entry.value),
            _ => self.metadata(entry, version, out)?,
        }
        out.push(b'}');
        Ok(())
    }
}
