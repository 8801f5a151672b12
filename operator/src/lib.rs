//! Reconciles VirtualCluster resources on the host.
//!
//! [`run`] is the whole operator; [`install_manifests`] is what has to be on the host before it starts. Inside,
//! decisions are pure (`policy`, `settings`, `build`, `pki`, `conditions`, `rollout`) and I/O is at the rim (`apply`,
//! `observe`, `reconcile`, `cleanup`).

mod apply;
mod backoff;
mod build;
mod cleanup;
mod cluster_api;
mod conditions;
mod config;
mod context;
mod document;
mod doors;
mod equality;
mod error;
mod events;
mod finalizer;
mod inside;
pub mod install;
mod inventory;
mod metrics;
mod names;
mod observe;
mod options;
mod pki;
mod policies;
mod policy;
mod quota;
mod reason;
mod reconcile;
mod references;
mod rollout;
mod run;
mod serve;
mod settings;
mod triggers;
mod waiting;

pub use build::{API_PORT, DNS_PORT, MALLOC};
pub use config::markdown as configuration_table;
pub use error::Error;
pub use install::{DEFAULT_IMAGE, install_manifests, install_yaml};
pub use names::{LAST_REQUEST, activity_name};
pub use options::{InternalAddress, Inwards, KUBERNETES_VERSION, Login, NextTime, Options, Refusal};
pub use pki::Error as CertificateError;
pub use reason::Reason;
pub use run::run;
pub use vkube_lease::Error as LeaseError;
