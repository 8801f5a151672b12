//! Rules that many kinds share.

pub mod names;
pub mod quantity;
