//! The scenarios: one host for all, a namespace for each.

mod controllers;
mod kubectl;
mod pods;
pub mod restarts;
mod services;
mod setup;
mod streams;
mod volumes;

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    process::ExitCode,
    time::{Duration, Instant},
};

use futures::FutureExt;
use setup::Host;

type Scenario = fn(Host) -> Pin<Box<dyn Future<Output = ()>>>;

/// No scenario takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

macro_rules! scenarios {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        &[$((stringify!($name), |host| Box::pin($module::$name(host)))),+]
    };
}

const SCENARIOS: &[(&str, Scenario)] = scenarios![
    pods::a_process_runs_with_its_mounts_and_its_address,
    pods::other_images_are_simulated_and_say_so,
    pods::exit_codes_decide_the_phase,
    pods::init_containers_run_before_the_others,
    pods::a_deleted_pod_leaves_nothing,
    pods::a_failed_container_is_started_again,
    pods::a_pod_that_fits_nowhere_says_why,
    pods::a_pod_waits_for_what_it_refers_to,
    volumes::files_follow_their_sources,
    volumes::tokens_speak_for_the_service_account,
    volumes::claims_keep_data_and_leave_nothing_when_deleted,
    controllers::deployments_roll_and_replace_lost_pods_as_far_as_a_budget_allows,
    controllers::stateful_sets_keep_names_and_claims_and_services_their_endpoints,
    controllers::jobs_end_and_daemons_run_on_the_node,
    controllers::a_quota_follows_pods_and_a_namespace_goes_with_everything_in_it,
    services::a_service_leads_to_its_ready_pods,
    services::load_balancers_get_an_address,
    streams::logs_show_this_run_and_the_one_before,
    streams::exec_runs_beside_the_process,
    streams::ports_are_forwarded,
    kubectl::speaks_spdy_and_web_sockets,
    restarts::a_stopped_sandbox_goes_on_where_it_was,
    restarts::processes_do_not_outlive_a_killed_sandbox,
];

/// What also works where processes cannot have mounts of their own.
const WITHOUT_MOUNTS: &[(&str, Scenario)] = scenarios![
    pods::a_process_sees_rewritten_paths,
    pods::exit_codes_decide_the_phase,
    volumes::files_follow_their_sources,
    volumes::tokens_speak_for_the_service_account,
    streams::exec_runs_beside_the_process,
];

/// Runs the scenarios whose names contain `filter`.
pub fn run(filter: Option<&str>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let failures = run_all(SCENARIOS, true, filter).await + run_all(WITHOUT_MOUNTS, false, filter).await;
        if failures == 0 {
            return ExitCode::SUCCESS;
        }
        println!("{failures} failed");
        ExitCode::FAILURE
    })
}

async fn run_all(scenarios: &[(&str, Scenario)], isolate: bool, filter: Option<&str>) -> u32 {
    let chosen = |name: &str| filter.is_none_or(|filter| name.contains(filter));
    if !scenarios.iter().any(|(name, _)| chosen(name)) {
        return 0;
    }
    let host = Host::start(isolate).await;
    let mut failures = 0;
    for (name, scenario) in scenarios.iter().filter(|(name, _)| chosen(name)) {
        let began = Instant::now();
        let run = tokio::time::timeout(PATIENCE, scenario(host.for_scenario().await));
        let ok = matches!(AssertUnwindSafe(run).catch_unwind().await, Ok(Ok(())));
        failures += u32::from(!ok);
        println!("{} {name} ({} ms)", if ok { "ok    " } else { "FAILED" }, began.elapsed().as_millis());
    }
    host.stop().await;
    failures
}
