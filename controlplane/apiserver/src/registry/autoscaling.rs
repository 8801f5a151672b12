//! The kinds of `autoscaling`.

pub mod conversion;
pub mod horizontal_pod_autoscaler;
