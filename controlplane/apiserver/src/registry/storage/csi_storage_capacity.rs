//! CSI storage capacities.

use crate::registry::kind::Kind;

/// The rules of CSI storage capacities.
pub struct CsiStorageCapacity;

impl Kind for CsiStorageCapacity {
    fn unconditional_update(&self) -> bool {
        false
    }
}
