//! One file a verb or subresource.

pub mod binding;
pub mod call;
pub mod create;
pub mod delete;
pub mod eviction;
pub mod get;
pub mod list;
mod log_options;
pub mod parts;
pub mod patch;
pub mod reviews;
pub mod scale;
pub mod streams;
pub mod token;
pub mod update;
pub mod watch;
pub mod write;
