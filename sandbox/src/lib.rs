//! An embedded host cluster for trying and testing vkube.
//!
//! [`host`] starts it all; the rest are its parts, each written against the Kubernetes API alone.

pub mod exec;
pub mod host;
pub mod node;
mod provisioner;
mod services;
pub mod streams;

pub use host::{Options, Sandbox, Step};
