//! Keeps a virtual cluster and its host namespace in step; serves its DNS and its pods' streams.
//!
//! ```text
//!   virtual API server                                   host API server
//!        │ watches                                            │ watches (one namespace, our label)
//!        ▼                                                    ▼
//!     caches ───────────────► queue ◄────────────────────── caches
//!        │                      │ one object at a time
//!        ▼                      ▼
//!   names for DNS        resources/<kind>.rs: read both sides, decide (pure), write
//! ```
//!
//! There is no stored state. Host objects say in their metadata whose they are ([`Translator`]), names are an
//! injective function ([`Names`]), and where a change has to be told from a difference, the base it is compared
//! with is kept on the host object itself.

mod allocation;
mod cache;
mod config;
mod context;
mod dns;
mod error;
mod hypervisor;
mod labels;
mod ledger;
mod names;
mod network;
mod queue;
mod reference_index;
mod resources;
mod rules;
mod sanitise;
mod spaces;
mod syncer;
mod watch;

pub use allocation::{Allocation, AllocationError, ServiceAllocator};
pub use config::{Config, Images, Kinds, MappedNamespaces, NodeSync};
pub use dns::{DnsError, DnsOverrides, DnsServer, Zone};
pub use error::Error;
pub use hypervisor::{Body, BoxError, Hypervisor, MetricsError, StreamTarget};
pub use labels::{ObjectKey, Translator};
pub use names::Names;
pub use network::{Block, NetworkBounds};
pub use rules::{ChangeSpec, Compile, Direction, Evaluated, Expression, Inputs, PatchSpec, RuleSpec, Rules};
pub use syncer::Syncer;
