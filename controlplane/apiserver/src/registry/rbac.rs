//! The kinds of `rbac.authorization.k8s.io`.

pub mod role;
pub mod role_binding;
mod validate;
