//! What objects use, told from their documents alone: no I/O, no cluster.
//!
//! Admission books usage when objects come and the quota controller counts it anew when they go; both must
//! come to the same figures, so the rules are here, once.

pub mod document;
pub mod pod;
pub mod quantity;
pub mod quota;
pub mod taints;

use std::collections::BTreeMap;

use quantity::Quantity;

/// Amounts by the name of what they are an amount of.
pub type Amounts = BTreeMap<String, Quantity>;
