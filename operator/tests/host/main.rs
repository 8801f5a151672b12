//! The operator against a real API server with real controllers, as a service account under real RBAC.
//!
//! Only the node is missing: pods become ready because the test says so.

#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value, reason = "tests")]

mod admission;
mod argocd;
mod authority;
mod bootstrap;
mod chaos;
mod cluster_api;
mod config;
mod crd;
mod database;
mod deletion;
mod drift;
mod examples;
mod exposure;
mod faults;
mod gates;
mod health;
mod inventory;
mod lifecycle;
mod malformed;
mod namespaces;
mod policies;
mod sleep;
mod snapshots;
mod tuning;
mod upgrade;
mod world;
