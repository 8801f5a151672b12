//! The kinds of `events.k8s.io`.

pub mod conversion;
pub mod event;
pub mod validate;
