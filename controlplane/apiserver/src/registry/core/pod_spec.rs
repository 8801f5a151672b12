//! Pod specs: what pods and the templates of all workloads share.

mod annotations;
mod containers;
mod defaults;
mod environment;
mod mounts;
mod network;
mod node_selector;
mod probes;
mod requirements;
mod resources;
mod scheduling;
mod security;
mod validate;
mod volumes;
mod warnings;
mod windows;

pub use annotations::{APP_ARMOR, APP_ARMOR_DEPRECATED, MIRROR};
pub use annotations::{validate as validate_annotations, validate_profiles};
pub use containers::{PROTOCOLS, validate_image_of_pod};
pub use defaults::{
    default_legacy_volume, default_pod, default_service_account, default_spec, default_template,
    round_up_quantities,
};
pub use node_selector::validate_node_selector;
pub use requirements::{
    is_extended, is_huge_page_request, is_native, is_standard, validate_amount,
    validate_container_name as validate_container_resource_name, validate_name as validate_resource_name,
    validate_overhead,
};
pub use resources::{effective, is_huge_page, is_sidecar, qos_class};
pub use scheduling::{validate_taint_effect, validate_tolerations};
pub use validate::{Subject, validate_spec, validate_template, visit_containers};
pub use volumes::{validate_csi_driver_name, validate_host_path, validate_legacy, validate_no_backsteps};
pub use warnings::{
    deprecated_label, fractional as fractional_warning, name_warnings, node_term as node_term_warnings,
    of_template as template_warnings, of_workload as workload_warnings, warnings,
};
