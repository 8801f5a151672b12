//! Connections that the server opens itself: to webhooks, and to the servers of other groups.

pub mod dial;
pub mod resolve;
pub mod trust;
