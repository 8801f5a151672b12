//! Which policy shapes a cluster, and what the cluster becomes by it. Pure.
//!
//! A setting is the policy's `enforced`, else the cluster's own, else the policy's `defaults`; what is still open is
//! filled in by [`crate::settings`].

mod bind;
mod constrain;
mod merge;
#[cfg(test)]
mod tests;

pub use bind::{Binding, bind, malformed};
pub use constrain::{constrain, constrain_export};
pub use merge::{merge, overlay};
