//! An embedded host cluster for trying and testing vkube.

mod events;
pub mod exec;
mod feed;
pub mod node;
mod provisioner;
mod quantity;
pub mod scheduler;
mod services;
pub mod streams;
