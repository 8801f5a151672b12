//! Stateful sets.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path, Reason, shown};
use crate::registry::access::{
    at, get, has, int_at, list_at, list_mut, make_map, restore, set_default, str_at,
};
use crate::registry::core::persistent_volume_claim::{default_claim, validate_spec as validate_claim_spec};
use crate::registry::core::pod_spec::{default_template, fractional_warning, template_warnings};
use crate::registry::kind::{Column, Kind, Writer};
use crate::registry::workload::{self, SPEC};
use crate::table::{AGE, NAME, age, column, containers, name, wide};
use crate::validation::fields::{
    at_most_100_percent, dns_label, int_or_percent, int_or_percent_value, non_negative, one_of,
};

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

    fn warnings(&self, set: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = template_warnings(set, old, "spec.template");
        let path = SPEC.child("volumeClaimTemplates");
        for (index, claim) in list_at(set, "/spec/volumeClaimTemplates").iter().enumerate() {
            let path = path.index(index);
            // The real server names the claims so, and otherwise when they change.
            let path = path.child(if old.is_some() { "Spec.resources" } else { "resources" });
            for list in ["requests", "limits"] {
                let amounts = at(claim, &format!("/spec/resources/{list}"));
                fractional_warning(&mut warnings, &path.child(list), amounts, "storage");
            }
        }
        if int_at(set, "/spec/revisionHistoryLimit") < 0 {
            warnings.push(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                    .into(),
            );
        }
        warnings
    }

    fn validate(&self, set: &Value) -> Errors {
        validate(set)
    }

    fn validate_update(&self, set: &Value, old: &Value) -> Errors {
        validate_update(set, old)
    }

    fn validate_status_update(&self, set: &Value, old: &Value) -> Errors {
        const COUNTS: &[&str] = &[
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "observedGeneration",
            "availableReplicas",
            "collisionCount",
        ];
        let limited = &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
        workload::validate_status(set, old, COUNTS, limited)
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

fn validate(set: &Value) -> Errors {
    let mut errors = Errors::default();
    let spec = at(set, "/spec");
    let policy = str_at(spec, "/podManagementPolicy");
    if !matches!(policy, "OrderedReady" | "Parallel") {
        let path = SPEC.child("podManagementPolicy");
        errors.invalid_str(&path, policy, "must be 'OrderedReady' or 'Parallel'");
    }
    validate_strategy(&mut errors, &SPEC.child("updateStrategy"), at(spec, "/updateStrategy"));
    let retention = SPEC.child("persistentVolumeClaimRetentionPolicy");
    for event in ["whenDeleted", "whenScaled"] {
        let policy = at(spec, "/persistentVolumeClaimRetentionPolicy");
        one_of(&mut errors, &retention, policy, event, &["Retain", "Delete"]);
    }
    workload::validate_counts(&mut errors, set, &["replicas", "minReadySeconds"]);
    non_negative(&mut errors, &SPEC.child("ordinals"), at(spec, "/ordinals"), "start");
    let service = str_at(spec, "/serviceName");
    if !service.is_empty() {
        dns_label(&mut errors, &SPEC.child("serviceName"), service);
    }
    workload::validate_selector(&mut errors, set, "statefulset");
    let selector = at(spec, "/selector");
    if workload::is_selector(selector) {
        validate_template(&mut errors, set);
    } else {
        errors.invalid(&SPEC.child("selector"), selector, "");
    }
    for (index, claim) in list_at(spec, "/volumeClaimTemplates").iter().enumerate() {
        let path = SPEC.child("volumeClaimTemplates");
        validate_claim_spec(&mut errors, &path.index(index).child("spec"), at(claim, "/spec"));
    }
    errors
}

/// Containers may mount the claims as well as the template's volumes.
fn validate_template(errors: &mut Errors, set: &Value) {
    let path = SPEC.child("template");
    let mut template = at(set, "/spec/template").clone();
    workload::validate_selected(errors, &path, at(set, "/spec/selector"), &template);
    let claims = list_at(set, "/spec/volumeClaimTemplates").iter().map(|claim| {
        let name = str_at(claim, "/metadata/name");
        serde_json::json!({"name": name, "persistentVolumeClaim": {"claimName": name}})
    });
    let volumes: Vec<Value> = list_at(&template, "/spec/volumes").iter().cloned().chain(claims).collect();
    if !volumes.is_empty() {
        crate::registry::access::set(&mut template, "/spec/volumes", volumes);
    }
    crate::registry::core::pod_spec::validate_template(errors, &path, &template);
    workload::validate_lasting(
        errors,
        &path,
        &template,
        Reason::Forbidden,
        "activeDeadlineSeconds in StatefulSet is not Supported",
    );
}

fn validate_strategy(errors: &mut Errors, path: &Path<'_>, strategy: &Value) {
    let rolling_path = path.child("rollingUpdate");
    let rolling = get(strategy, "/rollingUpdate");
    match str_at(strategy, "/type") {
        "OnDelete" => {
            if let Some(rolling) = rolling {
                let detail = format!(
                    "Invalid value: {{\"Partition\":{},\"MaxUnavailable\":{}}}: only allowed for updateStrategy 'RollingUpdate'",
                    int_at(rolling, "/partition"),
                    shown(at(rolling, "/maxUnavailable"))
                );
                errors.push(&rolling_path, Reason::Invalid, detail);
            }
        }
        "RollingUpdate" => {
            let Some(rolling) = rolling else { return };
            non_negative(errors, &rolling_path, rolling, "partition");
            if let Some(unavailable) = get(rolling, "/maxUnavailable") {
                let path = rolling_path.child("maxUnavailable");
                int_or_percent(errors, &path, unavailable);
                if int_or_percent_value(unavailable) == 0 {
                    errors.invalid(&path, unavailable, "cannot be 0");
                }
                at_most_100_percent(errors, &path, unavailable);
            }
        }
        kind => {
            let detail = format!(
                "Invalid value: {{\"Type\":{},\"RollingUpdate\":null}}: must be 'RollingUpdate' or 'OnDelete'",
                shown(&kind.into())
            );
            errors.push(path, Reason::Invalid, detail);
        }
    }
}

fn validate_update(set: &Value, old: &Value) -> Errors {
    const CHANGEABLE: [&str; 7] = [
        "/replicas",
        "/ordinals",
        "/template",
        "/updateStrategy",
        "/revisionHistoryLimit",
        "/persistentVolumeClaimRetentionPolicy",
        "/minReadySeconds",
    ];
    let mut errors = validate(set);
    let mut kept = at(set, "/spec").clone();
    for field in CHANGEABLE {
        restore(&mut kept, at(old, "/spec"), field);
    }
    if kept != *at(old, "/spec") {
        errors.forbidden(&SPEC, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
    }
    errors
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "Number of the pod with ready state"),
    AGE,
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_negative_history_is_only_questionable() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let mut set = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, "revisionHistoryLimit": -1}});
        StatefulSet.default(&mut set);
        assert_eq!(StatefulSet.validate(&set), Errors::default());
        assert_eq!(
            StatefulSet.warnings(&set, None),
            [
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
            ]
        );
    }
}
