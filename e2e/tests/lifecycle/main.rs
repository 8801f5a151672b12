//! The life of virtual clusters on a host: made, kept as they should be, and removed without a trace.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

mod commands;
mod deletion;
mod drift;
mod guest;
mod mapped;
mod owner;
mod replicas;
mod snapshots;
mod verbs;

use std::process::ExitCode;

use vkube_e2e::{Case, Sandbox, cases};

const CASES: &[Case<Sandbox>] = cases![
    commands::status_says_that_the_sandbox_runs,
    commands::connect_runs_a_command,
    commands::connect_merges_a_context,
    commands::the_operator_writes_nothing_for_idle_clusters,
    verbs::a_life_in_verbs,
    verbs::a_misspelt_field_is_refused,
    verbs::policies_are_shown_with_their_clusters,
    verbs::kubectl_finds_its_plugin,
    owner::who_has_access_is_said_outside,
    owner::the_certificate_for_metrics_opens_nothing_else,
    owner::blocked_writes_are_refused_and_what_runs_goes_on,
    owner::a_cluster_begins_with_its_manifests,
    owner::kubectl_wakes_a_sleeping_cluster,
    snapshots::a_snapshot_brings_back_what_was_deleted,
    snapshots::a_cluster_starts_from_the_snapshot_of_another,
    snapshots::a_file_outlives_its_cluster,
    snapshots::snapshots_are_taken_by_schedule,
    replicas::a_cluster_outlives_each_of_its_control_planes,
    drift::a_deleted_stateful_set_comes_back_with_its_data,
    drift::a_deleted_quota_comes_back,
    drift::a_changed_role_binding_is_put_right,
    drift::a_killed_control_plane_comes_back,
    drift::a_deleted_kubeconfig_comes_back,
    deletion::nothing_is_left,
    deletion::nothing_is_left_when_the_control_plane_is_down,
    deletion::nothing_is_left_when_the_host_namespace_went_first,
    deletion::nothing_is_left_when_the_operator_restarts_meanwhile,
    deletion::a_cluster_of_the_same_name_starts_afresh,
    deletion::a_cluster_deleted_while_it_starts_leaves_nothing,
    mapped::a_mapped_namespace_keeps_its_names_on_the_host_and_goes_with_the_virtual_one,
];

fn main() -> ExitCode {
    vkube_e2e::main(CASES, Sandbox::start)
}
