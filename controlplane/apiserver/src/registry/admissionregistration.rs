//! The kinds of `admissionregistration.k8s.io`.

mod defaults;
pub(crate) mod expression;
mod matching;
pub mod policy;
pub mod policy_binding;
pub mod webhook_configuration;
