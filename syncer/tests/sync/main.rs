//! The syncer between two real API servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod behaviours;
mod definitions;
mod from_host;
mod pod_behaviours;
mod pods;
mod rules;
mod services;
mod storage;
mod world;
