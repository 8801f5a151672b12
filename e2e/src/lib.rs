//! Whole-system tests: a sandbox host and real clients.
//!
//! The tests type what a user would type: their commands are lines for a shell in which `kubectl` is the one on
//! the machine and `vkube` is the one just built. `VKUBE=path/to/vkube` tests another build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "all of this is for tests, which fail by panicking"
)]

mod binary;
mod chart;
mod controlplane;
mod runner;
mod sandbox;
mod shell;

pub use binary::workspace;
pub use chart::render;
pub use controlplane::ControlPlane;
pub use runner::{Case, main};
pub use sandbox::Sandbox;
pub use shell::{Background, Output, Shell, eventually};

/// A manifest of `examples/`, as it is.
pub fn example(file: &str) -> String {
    let path = workspace().join("examples").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
