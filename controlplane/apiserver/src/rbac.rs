//! Role-based access control
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>), and the reviews that ask about it.

pub mod authorizer;
pub mod bootstrap_policy;
pub mod escalation;
mod review;
pub mod rules;

pub use review::{review_access, review_rules};
