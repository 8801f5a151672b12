//! The Kubernetes API as a `tower::Service` over a store.
//!
//! A request passes [`pipeline`]; [`routes`] finds its handler under [`handlers`]. What is special to a
//! kind is a file under [`registry`]; everything that kinds share reads the table of [`schema`].

pub mod admission;
pub mod aggregation;
pub mod audit;
pub mod authentication;
pub mod authorization;
pub mod body;
pub mod bootstrap;
pub mod catalog;
pub mod cel;
pub mod codec;
pub mod connect;
pub mod conversion;
pub mod custom;
pub mod discovery;
pub mod documents;
pub mod field;
pub mod file;
pub mod flow_control;
mod follow;
pub mod handlers;
pub mod health;
pub mod impersonation;
pub mod index;
pub mod instance;
pub mod listener;
pub mod managed_fields;
pub mod metadata;
pub mod metrics;
pub mod negotiation;
pub mod openapi;
pub mod options;
pub mod outbound;
pub mod ownership;
pub mod patch;
pub mod pipeline;
pub mod pki;
pub mod rbac;
pub mod registry;
pub mod representation;
pub mod request_info;
pub mod resource;
pub mod respond;
pub mod routes;
pub mod schema;
pub mod selectors;
pub mod server;
pub mod service_allocation;
pub mod snapshot;
pub mod status;
pub mod stored;
pub mod system_metadata;
pub mod table;
pub mod user;
pub mod validation;
