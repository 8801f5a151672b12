//! The controllers against a real API server in memory, with a kubelet that only pretends.

mod cluster;
mod collection;
mod crashes;
mod daemons;
mod jobs;
mod namespaces;
mod services;
mod stateful;
mod workloads;
