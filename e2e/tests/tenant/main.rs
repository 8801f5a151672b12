//! What a tenant does with kubectl in a virtual cluster, and what the host sees of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

mod access;
mod changes;
mod commands;
mod custom;
mod debugging;
mod host;
mod manifests;
mod reading;
mod rollouts;
mod workloads;

use std::process::ExitCode;

use vkube_e2e::{Case, Sandbox, Shell, cases, example};

/// The namespace of `examples/workload.yaml`.
const SHOP: &str = "shop";

/// A virtual cluster in which `examples/workload.yaml` runs.
struct World {
    sandbox: Sandbox,
    /// A shell of the tenant.
    tenant: Shell,
    /// The cluster's name, in the namespace `default`.
    name: String,
    /// Where it is on the host.
    host_namespace: String,
}

impl World {
    fn new() -> Self {
        let sandbox = Sandbox::start();
        let created = sandbox.host.ok_with("kubectl apply -o name -f -", &example("quickstart.yaml"));
        let name = created.trim().split('/').next_back().unwrap().to_owned();
        sandbox.host.ok(&format!("kubectl wait --for=condition=Ready virtualcluster/{name} --timeout=60s"));
        let host_namespace =
            format!("kubectl get virtualcluster {name} -o jsonpath={{.status.hostNamespace}}");
        let host_namespace = sandbox.host.ok(&host_namespace);
        let tenant = sandbox.connect("default", &name);
        tenant.apply(&example("workload.yaml"));
        tenant.ok("kubectl -n shop rollout status deployment/web --timeout=60s");
        Self { sandbox, tenant, name, host_namespace }
    }

    /// A new namespace in the virtual cluster.
    fn namespace(&self, name: &str) -> String {
        self.tenant.ok(&format!("kubectl create namespace {name}"));
        name.into()
    }
}

const CASES: &[Case<World>] = cases![
    workloads::a_deployment_serves_rolls_out_and_scales,
    workloads::logs_and_exec_reach_the_process,
    workloads::a_forwarded_port_answers,
    workloads::a_job_runs_to_completion,
    workloads::configuration_secrets_tokens_and_volumes_are_in_the_pod,
    workloads::a_configuration_update_reaches_the_running_pod,
    workloads::a_pod_reaches_the_tenants_api_server_with_its_own_account,
    reading::explain_describe_and_api_resources_work,
    reading::a_watch_sees_changes_in_order,
    reading::selectors_sorting_and_output_forms_work,
    reading::resources_are_listed_by_what_they_are,
    reading::a_watch_prints_in_any_form,
    changes::labels_and_annotations_come_and_go,
    changes::edit_writes_what_the_editor_made,
    changes::a_stale_replace_conflicts,
    changes::server_side_apply_names_whom_it_conflicts_with,
    changes::diff_tells_by_its_exit_code,
    changes::diff_knows_what_is_new_what_goes_and_whose_fields_are,
    changes::patches_of_all_kinds_merge,
    changes::a_dry_run_changes_nothing,
    changes::deleting_a_namespace_deletes_what_is_in_it,
    changes::deleting_a_deployment_deletes_its_pods_on_both_sides,
    custom::a_custom_resource_has_columns_validation_and_scale,
    debugging::events_are_told_by_object_type_and_as_they_come,
    debugging::a_debugger_runs_beside_the_containers_of_a_pod,
    debugging::what_is_run_by_hand_talks_and_goes,
    rollouts::sets_are_rolled_out_and_back,
    rollouts::what_can_be_set_is_set,
    commands::every_resource_is_explained_listed_and_described,
    commands::every_generator_makes_what_it_says,
    commands::a_rollout_is_paused_resumed_and_undone,
    commands::apply_prunes_what_its_set_no_longer_has,
    commands::a_signed_certificate_lets_its_owner_in,
    commands::wait_follows_creation_conditions_and_deletion,
    commands::roles_are_reconciled,
    commands::a_kustomization_is_applied_compared_and_deleted,
    access::can_i_follows_roles,
    access::a_service_account_token_speaks_for_it,
    access::a_token_is_bound_to_a_pod,
    host::pods_are_renamed_into_one_namespace,
    host::what_the_tenant_makes_stays_inside,
];

fn main() -> ExitCode {
    vkube_e2e::main(CASES, World::new)
}
