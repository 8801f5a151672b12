//! Custom objects at their versions: the strategy `None`, which changes `apiVersion` and nothing else.
//!
//! Each version has a schema of its own, so what a version does not know is not shown there. Stored
//! objects get the defaults that the schema of the stored version has now.

use serde_json::Value;

use super::CustomResource;
use crate::{
    metadata,
    resource::api_version,
    schema::{decode, defaults, types::Type},
};

/// Brings an object from one version to another of the same resource.
///
/// What a webhook has brought there already is of that version.
pub fn convert(mut object: Value, from: &CustomResource, to: &CustomResource) -> Value {
    let wanted = api_version(&to.group, &to.version);
    let from =
        if object.get("apiVersion").and_then(Value::as_str) == Some(wanted.as_str()) { to } else { from };
    let same = from.version == to.version;
    if same && !from.revised {
        return object;
    }
    if from.stored.is_none() {
        defaults::apply_defaults(&mut object, Type::Custom(from.schema.structure()));
    }
    metadata::set_top(&mut object, "apiVersion", Some(wanted.into()));
    metadata::set_top(&mut object, "kind", Some(to.kind.as_str().into()));
    // What cannot be decoded (metadata that an older server let pass) is shown as it is.
    match decode::decode(object.clone(), Type::Custom(to.schema.structure())) {
        Ok((pruned, _)) => pruned,
        Err(_) => object,
    }
}
