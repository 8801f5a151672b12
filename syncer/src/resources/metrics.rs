//! The APIService by which metrics are found (`metrics.k8s.io`). What is asked of it, the virtual API server asks
//! [`Hypervisor`](crate::Hypervisor); its Service does not exist.

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, PartialObjectMeta};
use serde_json::json;
use vkube_watch::{Event, Follower, Source};

use crate::context::{Context, MANAGER};
use crate::error::{Error, Result};
use crate::labels::FROM_HOST;
use crate::ledger::Entry;
use crate::rules::Direction;
use crate::rules::catalogue::{METRICS, Place};
use crate::syncer::{RETRY, enter};

const NAME: &str = "v1beta1.metrics.k8s.io";

/// Keeps the APIService, for ever. One that the tenant brought, with a metrics-server of its own, is left alone.
pub(crate) async fn show(cx: &Context) {
    let kind = kind();
    enter(cx, METRICS, Entry::new(Direction::FromHost, &kind, Place::Cluster)).await;
    let api: Api<DynamicObject> = Api::all_with(cx.virtual_client.clone(), &kind);
    let mut follower =
        Follower::new(Source::of(api.clone()).fields(&format!("metadata.name={NAME}")).metadata());
    let mut is_there = false;
    loop {
        match follower.next::<PartialObjectMeta<DynamicObject>>().await {
            Event::Restart => is_there = false,
            Event::Apply(_) => is_there = true,
            Event::Listed(_) if is_there => {}
            Event::Listed(_) | Event::Delete(_) => {
                while let Err(error) = keep(&api).await {
                    tracing::warn!(%error, "cannot show metrics");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

fn kind() -> ApiResource {
    ApiResource {
        group: "apiregistration.k8s.io".into(),
        version: "v1".into(),
        api_version: "apiregistration.k8s.io/v1".into(),
        kind: "APIService".into(),
        plural: "apiservices".into(),
    }
}

/// Makes the APIService, unless there is one.
async fn keep(api: &Api<DynamicObject>) -> Result<()> {
    if api.get_metadata_opt(NAME).await.map_err(Error::Virtual)?.is_some() {
        return Ok(());
    }
    let wanted = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": NAME, "labels": { (FROM_HOST): "true" } },
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": true,
            "service": { "namespace": "kube-system", "name": "host-metrics" },
        },
    });
    let params = PatchParams::apply(MANAGER).force();
    api.patch(NAME, &params, &Patch::Apply(&wanted)).await.map(drop).map_err(Error::Virtual)
}
