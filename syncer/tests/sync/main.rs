//! The syncer between two real API servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod behaviours;
mod definitions;
mod exports;
mod from_host;
mod gateways;
mod namespaces;
mod nodes;
mod pod_behaviours;
mod pods;
mod rules;
mod services;
mod storage;
mod volumes;
mod world;
