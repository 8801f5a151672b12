//! Who owns which fields: `metadata.managedFields` decoded.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{element::Malformed, set::Set};
use crate::patch::printed;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Everything else.
    Update,
}

/// An entry's identity. There is one entry for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// The field manager's name.
    pub manager: String,
    /// What it did.
    pub operation: Operation,
    /// With which version; empty for Apply, where the version may change.
    pub api_version: String,
    /// Through which subresource; empty for the object itself.
    pub subresource: String,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The fields.
    pub set: Set,
    /// The version in which they are named.
    pub api_version: String,
    /// When the manager last changed its fields.
    pub time: Option<String>,
}

/// All entries of an object.
pub type Managers = BTreeMap<Id, Owned>;

/// Why managed fields cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// An operation that does not exist.
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    /// Fields without a version.
    #[error("apiVersion must not be empty")]
    ApiVersion,
    /// Fields without a format.
    #[error("missing fieldsType in managed fields entry {0}")]
    MissingFieldsType(usize),
    /// Fields in an unknown format.
    #[error("invalid fieldsType {} in managed fields entry {index}", printed::quoted(.name))]
    FieldsType {
        /// The format.
        name: String,
        /// Which entry.
        index: usize,
    },
    /// Fields that are no field set.
    #[error("error decoding set: {0}")]
    Fields(#[from] Malformed),
}

/// The name to show for a manager in conflicts.
impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&printed::quoted(&self.manager))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", printed::quoted(&self.subresource))?;
        }
        if self.operation == Operation::Update {
            write!(f, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// The entries as they are on `object`.
pub(super) fn entries(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields").filter(|entries| !entries.is_null())
}

/// Reads the entries of an object.
pub(super) fn decode(object: &Value) -> Result<Managers, Invalid> {
    let mut managers = Managers::new();
    for (index, entry) in entries(object).and_then(Value::as_array).into_iter().flatten().enumerate() {
        let text = |name| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(Invalid::Operation),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err(Invalid::ApiVersion);
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(Invalid::MissingFieldsType(index)),
            other => return Err(Invalid::FieldsType { name: other.into(), index }),
        }
        let set = entry.get("fieldsV1").map(Set::from_value).transpose()?.unwrap_or_default();
        let id = Id {
            manager: text("manager").into(),
            operation,
            api_version: if operation == Operation::Update { api_version.into() } else { String::new() },
            subresource: text("subresource").into(),
        };
        let time = Some(text("time")).filter(|time| !time.is_empty()).map(str::to_owned);
        managers.insert(id, Owned { set, api_version: api_version.into(), time });
    }
    Ok(managers)
}

/// Writes the entries to an object: Apply first, then by time, manager and version.
pub(super) fn encode(object: &mut Value, managers: Managers) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else { return };
    metadata.remove("managedFields");
    if managers.is_empty() {
        return;
    }
    let mut sorted: Vec<(Id, Owned)> = managers.into_iter().collect();
    sorted.sort_by(|(a, x), (b, y)| {
        (a.operation, &x.time, &a.manager, &x.api_version, &a.subresource).cmp(&(
            b.operation,
            &y.time,
            &b.manager,
            &y.api_version,
            &b.subresource,
        ))
    });
    let entries: Vec<Value> = sorted.into_iter().map(|(id, owned)| entry(id, owned)).collect();
    metadata.insert("managedFields".into(), entries.into());
}

fn entry(id: Id, owned: Owned) -> Value {
    let mut entry = Map::new();
    if !id.manager.is_empty() {
        entry.insert("manager".into(), id.manager.into());
    }
    entry.insert("operation".into(), id.operation.as_str().into());
    entry.insert("apiVersion".into(), owned.api_version.into());
    if let Some(time) = owned.time {
        entry.insert("time".into(), time.into());
    }
    entry.insert("fieldsType".into(), "FieldsV1".into());
    entry.insert("fieldsV1".into(), owned.set.to_value());
    if !id.subresource.is_empty() {
        entry.insert("subresource".into(), id.subresource.into());
    }
    entry.into()
}
