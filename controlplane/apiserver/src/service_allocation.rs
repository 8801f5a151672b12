//! Addresses and node ports of Services.

pub mod addresses;
pub mod range;
pub mod shared;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::status::ApiError;

/// Gives Services what the cluster allocates for them: cluster IPs, node ports and health check node ports.
pub trait Allocator: Send + Sync + 'static {
    /// Fills in what `service` (of the stored version) still lacks, and claims what it names itself.
    /// `old` is the state before an update. With `dry_run` nothing stays claimed.
    fn allocate<'a>(
        &'a self,
        service: &'a mut Value,
        old: Option<&'a Value>,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<(), ApiError>>;

    /// Gives back what `service` holds and `kept`, if any, does not: after a deletion, after an update,
    /// or because the write failed.
    fn release<'a>(&'a self, service: &'a Value, kept: Option<&'a Value>) -> BoxFuture<'a, ()>;
}
