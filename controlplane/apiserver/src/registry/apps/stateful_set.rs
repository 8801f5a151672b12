//! Stateful sets.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{has, int_at, list_mut, make_map, set_default, str_at};
use crate::registry::core::persistent_volume_claim::default_claim;
use crate::registry::core::pod_spec::default_template;
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, containers, name, wide};

/// The rules of stateful sets.
pub struct StatefulSet;

impl Kind for StatefulSet {
    fn default(&self, set: &mut Value) {
        set_default(set, "/spec/podManagementPolicy", "OrderedReady");
        if str_at(set, "/spec/updateStrategy/type").is_empty() {
            crate::registry::access::set(set, "/spec/updateStrategy/type", "RollingUpdate");
            make_map(set, "/spec/updateStrategy/rollingUpdate");
        }
        let rolling = str_at(set, "/spec/updateStrategy/type") == "RollingUpdate";
        if rolling && has(set, "/spec/updateStrategy/rollingUpdate") {
            set_default(set, "/spec/updateStrategy/rollingUpdate/partition", 0);
        }
        for event in ["whenDeleted", "whenScaled"] {
            set_default(set, &format!("/spec/persistentVolumeClaimRetentionPolicy/{event}"), "Retain");
        }
        set_default(set, "/spec/replicas", 1);
        set_default(set, "/spec/revisionHistoryLimit", 10);
        set_default(set, "/spec/serviceName", "");
        for claim in list_mut(set, "/spec/volumeClaimTemplates") {
            set_default(claim, "/kind", "PersistentVolumeClaim");
            set_default(claim, "/apiVersion", "v1");
            default_claim(claim);
        }
        default_template(set, "/spec/template");
        default_status(set);
    }

    fn prepare_create(&self, set: &mut Value, _writer: &Writer<'_>) {
        default_status(set);
    }

    fn prepare_status_update(&self, set: &mut Value, _old: &Value) {
        default_status(set);
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, set: &Value, now: Timestamp) -> Vec<Value> {
        let [names, images] = containers(set, "/spec/template/spec/containers");
        let (ready, desired) = (int_at(set, "/status/readyReplicas"), int_at(set, "/spec/replicas"));
        vec![name(set), format!("{ready}/{desired}").into(), age(set, now), names, images]
    }
}

fn default_status(set: &mut Value) {
    let status = make_map(set, "/status");
    for count in ["replicas", "availableReplicas"] {
        status.entry(count).or_insert(0.into());
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "Number of the pod with ready state"),
    AGE,
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
];
