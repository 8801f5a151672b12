//! The kinds of `admissionregistration.k8s.io`.

mod defaults;
mod expression;
mod matching;
pub mod policy;
pub mod policy_binding;
pub mod webhook_configuration;
