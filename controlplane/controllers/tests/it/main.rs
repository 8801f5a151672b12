//! The controllers against a real API server in memory, with a kubelet that only pretends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing step of a test is a failing test

mod autoscaling;
mod bootstrap;
mod certificates;
mod cluster;
mod collection;
mod crash_points;
mod crashes;
mod daemons;
mod disruptions;
mod housekeeping;
mod jobs;
mod namespaces;
mod nodes;
mod quotas;
mod replication;
mod services;
mod stateful;
mod workloads;
