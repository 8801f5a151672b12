//! Keeps a virtual cluster and its host namespace in step; serves its DNS and its pods' streams.

mod config;
mod labels;
mod names;

pub use config::{Config, Kinds, NodeSync};
pub use labels::{ObjectKey, Translator};
pub use names::Names;
