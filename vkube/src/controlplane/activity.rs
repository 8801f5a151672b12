//! Tells the operator when somebody last used the cluster, so that it can put it to sleep.
//!
//! It is told in a ConfigMap on the host, at most once a minute: what the operator asks for only when sleep may be due, and
//! what outlives the control plane.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use vkube_crds::labels;
use vkube_operator::{LAST_REQUEST, activity_name};

const PERIOD: Duration = Duration::from_mins(1);
const MANAGER: &str = "vkube-activity";

/// Tells until `shutdown`. `activity` holds seconds since 1970, and zero before the first request.
pub async fn report(
    host: Client,
    namespace: String,
    cluster: String,
    activity: Arc<AtomicI64>,
    shutdown: CancellationToken,
) {
    let maps: Api<ConfigMap> = Api::namespaced(host, &namespace);
    let name = activity_name(&cluster);
    let mut told = 0;
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let last = to_the_minute(activity.load(Ordering::Relaxed));
        let Some(time) = Timestamp::from_second(last).ok().filter(|_| last > told) else { continue };
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {labels::MANAGED: "true"}},
            "data": {LAST_REQUEST: time.to_string()},
        });
        match maps.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(map)).await {
            Ok(_) => told = last,
            Err(error) => tracing::warn!(%error, "failed to tell when the cluster was used"),
        }
    }
}

fn to_the_minute(seconds: i64) -> i64 {
    seconds - seconds.rem_euclid(60)
}
