//! The syncer between two real API servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod behaviours;
mod definitions;
mod enforcement;
mod exports;
mod from_host;
mod gateways;
/// The way between the virtual API server and the syncer, as a control plane has it.
#[path = "../../../vkube/src/controlplane/link.rs"]
mod link;
mod namespaces;
mod nodes;
mod pod_behaviours;
mod pods;
mod resync;
mod rules;
mod scheduling;
mod services;
mod storage;
mod volumes;
mod world;
