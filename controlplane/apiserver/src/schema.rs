//! One description of every type, read by decoding, defaulting, patches, apply, protobuf and OpenAPI.
//!
//! Built-in types come from a table generated from registry crates; a CustomResourceDefinition's schema
//! compiles to the same [`types::Type`].

pub mod decode;
pub mod defaults;
pub mod json;
pub mod table;
pub mod time;
pub mod types;

pub use vkube_usage::quantity;
