//! The virtual cluster's DNS, inside the process.
//!
//! Names of services and pods are answered from the caches the syncer keeps anyway, as the "Kubernetes DNS-Based
//! Service Discovery" specification has them; everything else is passed to the resolvers of the control plane's
//! own pod. The settings may give names another answer, or a domain resolvers of its own. There is no cache and no zone file: a Service is resolvable the moment it exists.

mod forward;
mod overrides;
mod server;
mod zone;

#[cfg(test)]
mod tests;

pub use self::overrides::DnsOverrides;
pub use self::server::{DnsError, DnsServer};
pub use self::zone::Zone;
