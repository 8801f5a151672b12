//! The Kubernetes API as a `tower::Service` over a store.

pub mod field;
pub mod registry;
pub mod schema;
pub mod index;
pub mod selectors;
pub mod status;
pub mod table;
pub mod validation;
