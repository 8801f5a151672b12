//! Files that flags name.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::codec::yaml;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("failed to parse {path}: {why}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// What is in a file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })
}

/// The document that a file in YAML or JSON holds.
pub fn document(path: &Path) -> Result<Value, Error> {
    let (document, _) = yaml::read(&read(path)?).map_err(|why| Error::Parse { path: path.into(), why })?;
    Ok(document)
}
