//! The lines of a watch and the pages of a list, read no deeper than the stream needs.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Marks the bookmark that ends a streamed list (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A line of a watch.
#[derive(Debug)]
pub(crate) enum Frame {
    Apply { object: Box<RawValue>, version: Option<String> },
    Delete { object: Box<RawValue>, version: Option<String> },
    Bookmark { version: String, ends_list: bool },
    Error(Box<Status>),
}

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("not a watch event")]
    Malformed(#[from] serde_json::Error),
    #[error("unknown type of watch event {0:?}")]
    UnknownType(String),
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Box<RawValue>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Frame {
    pub fn parse(line: &str) -> Result<Self, Error> {
        let Line { r#type, object } = serde_json::from_str(line)?;
        if r#type == "ERROR" {
            return Ok(Self::Error(serde_json::from_str(object.get())?));
        }
        let metadata = serde_json::from_str::<Head>(object.get())?.metadata;
        let version = metadata.resource_version;
        match r#type.as_str() {
            "ADDED" | "MODIFIED" => Ok(Self::Apply { object, version }),
            "DELETED" => Ok(Self::Delete { object, version }),
            "BOOKMARK" => {
                let mark = metadata.annotations.as_ref().and_then(|all| all.get(INITIAL_EVENTS_END));
                let ends_list = mark.is_some_and(|mark| mark == "true");
                Ok(Self::Bookmark { version: version.unwrap_or_default(), ends_list })
            }
            _ => Err(Error::UnknownType(r#type)),
        }
    }
}

/// A page of a collection.
#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(default = "Vec::new")]
    pub items: Vec<Box<RawValue>>,
    #[serde(default)]
    pub metadata: ListMeta,
}
