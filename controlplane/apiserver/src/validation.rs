//! Rules that many kinds share.

pub mod metadata;
pub mod names;
