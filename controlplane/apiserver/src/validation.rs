//! Rules that many kinds share.

pub mod conditions;
pub mod diff;
pub mod fields;
pub mod formats;
pub mod ip;
pub mod labels;
pub mod metadata;
pub mod names;
pub mod webhook;
