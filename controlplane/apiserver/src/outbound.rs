//! Connections that the server opens itself: to webhooks, and to the servers of other groups.

pub mod answers;
pub mod dial;
pub mod exchange;
pub mod kubeconfig;
pub mod refusal;
pub mod resolve;
pub mod review;
pub mod trust;
pub mod url;

#[cfg(test)]
pub(crate) mod tests;
