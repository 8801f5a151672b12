//! Pod specs: what pods and the templates of all workloads share.

mod defaults;
mod resources;

pub use defaults::{
    default_legacy_volume, default_pod, default_service_account, default_spec, default_template,
    round_up_quantities,
};
pub use resources::{is_sidecar, qos_class};
