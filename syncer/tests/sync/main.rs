//! The syncer between two real API servers.

mod pods;
mod services;
mod storage;
mod world;
