//! The volume that keeps the data. What the CRD forbids to change in a spec must not change by a configuration either.

use std::cmp::Ordering;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::Value;
use vkube_crds::Quantity;

use super::steps::Attempt;
use super::{Report, Stop, config};
use crate::build::{self, Key, Object};
use crate::conditions::Check;
use crate::error::Error;
use crate::reason::Reason;
use crate::settings;

const ENABLED: &str = "backingStore.volume.enabled";
const CLASS: &str = "backingStore.volume.storageClassName";
const SIZE: &str = "backingStore.volume.size";

/// Puts the volume in place; returns whether the data is in one. A claim that exists is always used, and keeps its
/// class and at least its size; data that is kept in the pod stays there.
pub(super) async fn ensure(attempt: &Attempt<'_>, report: &mut Report) -> Result<bool, Stop> {
    let identity = &attempt.identity;
    let key = Key::new::<PersistentVolumeClaim>(Some(&identity.host_namespace), &identity.volume_claim());
    let live = attempt.live(&key).await?;
    let text =
        |path: &str| live.as_ref().and_then(|live| live.data.pointer(path)?.as_str().map(ToOwned::to_owned));
    let present = text("/spec/resources/requests/storage").map(Quantity);
    let fixed = |field: &str, report: &mut Report| {
        Err(config::unbuildable(&attempt.asked, vec![format!("{field}: is immutable")], report))
    };
    let (wanted, size) = match (attempt.settings.volume.clone(), present) {
        (Some(_), None) if keeps_data_in_pod(attempt).await? => {
            if attempt.asked.value(ENABLED) == Some(&true.into()) {
                return fixed(ENABLED, report);
            }
            report.checks.store = ephemeral();
            return Ok(false);
        }
        (None, None) => {
            report.checks.store = ephemeral();
            return Ok(false);
        }
        (None, Some(_)) if attempt.asked.value(ENABLED) == Some(&false.into()) => {
            return fixed(ENABLED, report);
        }
        (None, Some(present)) => (settings::Volume::default(), present),
        (Some(wanted), Some(present)) if present.compare(&wanted.size) == Some(Ordering::Greater) => {
            if asks_for_size(attempt) {
                let message = format!(
                    "{SIZE}: {} is less than the volume's {}; volumes only grow",
                    wanted.size.0, present.0
                );
                return Err(config::unbuildable(&attempt.asked, vec![message], report));
            }
            (wanted, present)
        }
        (Some(wanted), _) => (wanted.clone(), wanted.size),
    };
    let class_now = text("/spec/storageClassName");
    let class_asked = attempt.asked.value(CLASS).and_then(Value::as_str);
    if class_now.is_some()
        && class_asked.is_some_and(|class| {
            wanted.storage_class.as_deref() == Some(class) && class_now.as_deref() != Some(class)
        })
    {
        return fixed(CLASS, report);
    }
    let class = class_now.or(wanted.storage_class);
    let claim = build::volume_claim(identity, &size, class.as_deref());
    let applied = attempt.context.host.apply_over(live, Object::of(claim), identity).await?;
    let live = attempt.ours(applied)?;
    let phase = live.data.pointer("/status/phase").and_then(|phase| phase.as_str()).unwrap_or("Pending");
    report.checks.store = if phase == "Bound" {
        Check::Passed(Reason::VolumeBound, "the volume is bound".into())
    } else {
        Check::Pending(format!("the volume is {phase}"))
    };
    Ok(true)
}

fn ephemeral() -> Check {
    Check::Passed(Reason::Ephemeral, "data is kept in the pod and lost with it".into())
}

/// Whether the control plane that runs has its data in its pod. A volume would begin empty.
async fn keeps_data_in_pod(attempt: &Attempt<'_>) -> Result<bool, Error> {
    let identity = &attempt.identity;
    let set = Key::new::<StatefulSet>(Some(&identity.host_namespace), &identity.name);
    let live = attempt.live(&set).await?;
    let volumes = live.as_ref().and_then(|live| live.data.pointer("/spec/template/spec/volumes")?.as_array());
    Ok(volumes
        .into_iter()
        .flatten()
        .any(|volume| volume["name"] == build::DATA_VOLUME && !volume["emptyDir"].is_null()))
}

/// Whether the cluster itself, not a default, states the volume's size.
fn asks_for_size(attempt: &Attempt<'_>) -> bool {
    let store = attempt.cluster.spec.backing_store.as_ref();
    store.and_then(|store| store.volume.as_ref()).is_some_and(|volume| volume.size.is_some())
        || attempt.asked.value(SIZE).is_some()
}
