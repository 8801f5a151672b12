//! Everything wrong with pods, new or changed.

mod resize;
mod status;

use serde_json::Value;

use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, get, has, int_at, list_at, list_mut, opt_int, restore, set, str_at};
use crate::registry::core::pod_spec::{self, APP_ARMOR, MIRROR, validate_image_of_pod, validate_tolerations};
use crate::registry::internal::{self, Internal};
use crate::validation::{diff, formats};

pub use resize::validate_resize;
pub use status::validate_status_update;

const TERMS: &str = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
const METADATA: Path<'static> = Path::new("metadata");
const SPEC: Path<'static> = Path::new("spec");

fn validate_pod(errors: &mut Errors, pod: &Value) {
    let (metadata, spec) = (at(pod, "/metadata"), at(pod, "/spec"));
    pod_spec::validate_annotations(errors, &METADATA.child("annotations"), metadata, spec);
    pod_spec::validate_spec(errors, &SPEC, spec, metadata, true);
    if str_at(spec, "/serviceAccountName").is_empty() {
        forbid_tokens(errors, spec);
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in list_at(spec, &format!("/{list}")).iter().enumerate() {
            validate_image_of_pod(errors, &SPEC.child(list).index(index), container);
        }
    }
}

fn forbid_tokens(errors: &mut Errors, spec: &Value) {
    for (index, volume) in list_at(spec, "/volumes").iter().enumerate() {
        for (position, source) in list_at(volume, "/projected/sources").iter().enumerate() {
            if has(source, "/serviceAccountToken") {
                let volumes = SPEC.child("volumes");
                let volume = volumes.index(index);
                let sources = volume.child("projected");
                errors.forbidden(
                    &sources.child("sources").index(position).child("serviceAccountToken"),
                    "must not be specified when serviceAccountName is not set",
                );
            }
        }
    }
}

/// A new pod.
pub fn validate_create(pod: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_pod(&mut errors, pod);
    let spec = at(pod, "/spec");
    if !list_at(spec, "/ephemeralContainers").is_empty() {
        errors.forbidden(&SPEC.child("ephemeralContainers"), "cannot be set on create");
    }
    if !str_at(spec, "/nodeName").is_empty() && !list_at(spec, "/schedulingGates").is_empty() {
        errors
            .forbidden(&SPEC.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    pod_spec::validate_profiles(&mut errors, &SPEC, at(pod, "/metadata"), spec);
    errors
}

/// A changed pod: only few fields can change.
pub fn validate_update(pod: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_pod(&mut errors, pod);
    validate_annotation_changes(&mut errors, pod, old);
    let (spec, old_spec) = (at(pod, "/spec"), at(old, "/spec"));
    for list in ["containers", "initContainers"] {
        let pointer = format!("/{list}");
        if list_at(spec, &pointer).len() != list_at(old_spec, &pointer).len() {
            errors.forbidden(&SPEC.child(list), "pod updates may not add or remove containers");
            return errors;
        }
        for (index, container) in list_at(spec, &pointer).iter().enumerate() {
            if str_at(container, "/image").is_empty() {
                errors.required(&SPEC.child(list).index(index).child("image"), "");
            }
            validate_image_of_pod(&mut errors, &SPEC.child(list).index(index), container);
        }
    }
    if !validate_deadline(&mut errors, spec, old_spec) {
        return errors;
    }
    validate_added_tolerations(&mut errors, spec, old_spec);
    validate_deleted_gates(&mut errors, spec, old_spec);
    validate_kept(&mut errors, spec, old_spec);
    errors
}

/// Whether the checks go on.
fn validate_deadline(errors: &mut Errors, spec: &Value, old: &Value) -> bool {
    let path = SPEC.child("activeDeadlineSeconds");
    let max = i64::from(i32::MAX);
    match (opt_int(spec, "/activeDeadlineSeconds"), opt_int(old, "/activeDeadlineSeconds")) {
        (Some(new), _) if !(0..=max).contains(&new) => {
            errors.invalid(&path, &new.into(), &formats::range(0, max));
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.invalid(&path, &new.into(), "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(&path, &Value::Null, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn validate_added_tolerations(errors: &mut Errors, spec: &Value, old: &Value) {
    let path = SPEC.child("tolerations");
    let new = list_at(spec, "/tolerations");
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        crate::registry::access::remove(&mut toleration, "/tolerationSeconds");
        toleration
    };
    let kept = list_at(old, "/tolerations")
        .iter()
        .all(|old| new.iter().any(|new| without_seconds(new) == without_seconds(old)));
    if kept {
        validate_tolerations(errors, &path, new);
    } else {
        errors.forbidden(&path, "existing toleration can not be modified except its tolerationSeconds");
    }
}

fn validate_deleted_gates(errors: &mut Errors, spec: &Value, old: &Value) {
    let known = list_at(old, "/schedulingGates");
    for (index, gate) in list_at(spec, "/schedulingGates").iter().enumerate() {
        if !known.contains(gate) {
            let why = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                str_at(gate, "/name")
            );
            errors.forbidden(&SPEC.child("schedulingGates").index(index).child("name"), &why);
        }
    }
}

/// Everything but the few fields that can change must be as it was.
fn validate_kept(errors: &mut Errors, spec: &Value, old: &Value) {
    const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    if spec == old {
        return;
    }
    let mut munged = spec.clone();
    for list in ["/containers", "/initContainers"] {
        for (container, old) in list_mut(&mut munged, list).zip(list_at(old, list)) {
            restore(container, old, "/image");
        }
    }
    for field in ["/activeDeadlineSeconds", "/schedulingGates", "/tolerations"] {
        restore(&mut munged, old, field);
    }
    if int_at(old, "/terminationGracePeriodSeconds") < 0
        && int_at(spec, "/terminationGracePeriodSeconds") == 1
    {
        restore(&mut munged, old, "/terminationGracePeriodSeconds");
    }
    if !list_at(old, "/schedulingGates").is_empty() {
        validate_gated(errors, &mut munged, old);
    }
    if munged != *old {
        errors.forbidden(
            &SPEC,
            &format!(
                "{CHANGEABLE}\n{}",
                diff::unified(&Internal::pod_spec(old), &Internal::pod_spec(&munged))
            ),
        );
    }
}

/// While a pod is gated, its node selectors can become stricter.
fn validate_gated(errors: &mut Errors, munged: &mut Value, old: &Value) {
    let (new_selector, old_selector) = (at(munged, "/nodeSelector").clone(), at(old, "/nodeSelector"));
    let changed = old_selector
        .as_object()
        .is_some_and(|old| old.iter().any(|(key, value)| new_selector.get(key) != Some(value)));
    if changed {
        errors.invalid(
            &SPEC.child("nodeSelector"),
            &new_selector,
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        );
    }
    restore(munged, old, "/nodeSelector");

    let (new_terms, old_terms) = (list_at(munged, TERMS), list_at(old, TERMS));
    let affinity = SPEC.child("affinity");
    let node = affinity.child("nodeAffinity");
    let required = node.child("requiredDuringSchedulingIgnoredDuringExecution");
    let path = required.child("nodeSelectorTerms");
    if !old_terms.is_empty() && old_terms.len() != new_terms.len() {
        let shown = internal::shown_list("NodeSelectorTerm", at(munged, TERMS));
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(&path, Reason::Invalid, format!("Invalid value: {shown}: {why}"));
    } else {
        for (index, (new, old)) in new_terms.iter().zip(old_terms).enumerate() {
            if !only_adds(new, old) {
                let why = "only additions are allowed (no mutations or deletions)";
                internal::invalid(errors, &path.index(index), "NodeSelectorTerm", new, why);
            }
        }
    }
    match get(old, "/affinity/nodeAffinity") {
        Some(kept) => set(munged, "/affinity/nodeAffinity", kept.clone()),
        None => {
            crate::registry::access::remove(munged, "/affinity/nodeAffinity");
            let emptied = at(munged, "/affinity").as_object().is_some_and(serde_json::Map::is_empty);
            if emptied && !has(old, "/affinity") {
                crate::registry::access::remove(munged, "/affinity");
            }
        }
    }
}

fn only_adds(new: &Value, old: &Value) -> bool {
    let lists = ["/matchExpressions", "/matchFields"];
    let empty = |term: &Value| lists.iter().all(|list| list_at(term, list).is_empty());
    if empty(old) && !empty(new) {
        return false;
    }
    lists.iter().all(|list| list_at(new, list).starts_with(list_at(old, list)))
}

fn validate_annotation_changes(errors: &mut Errors, pod: &Value, old: &Value) {
    let path = METADATA.child("annotations");
    let (new, old) = (at(pod, "/metadata/annotations"), at(old, "/metadata/annotations"));
    for (key, value) in old.as_object().into_iter().flatten() {
        if new.get(key) == Some(value) {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for key in new.as_object().into_iter().flatten().map(|(key, _)| key) {
        if old.get(key).is_some() {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not add mirror pod annotation");
        }
    }
    pod_spec::validate_annotations(errors, &path, at(pod, "/metadata"), at(pod, "/spec"));
}

/// A pod changed through `ephemeralcontainers`: containers can only be added.
pub fn validate_ephemeral_containers_update(pod: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_pod(&mut errors, pod);
    validate_annotation_changes(&mut errors, pod, old);
    if at(old, "/metadata/annotations").get(MIRROR).is_some() {
        let mut only = Errors::default();
        only.forbidden(&Path::ROOT.key(""), "static pods do not support ephemeral containers");
        return only;
    }
    let path = SPEC.child("ephemeralContainers");
    let new = list_at(pod, "/spec/ephemeralContainers");
    for kept in list_at(old, "/spec/ephemeralContainers") {
        let name = str_at(kept, "/name");
        match crate::registry::access::named(new, name) {
            None => {
                let why = format!("existing ephemeral containers \"{name}\" may not be removed\n");
                errors.forbidden(&path, &why);
            }
            Some(found) if found != kept => {
                let why = format!(
                    "existing ephemeral containers \"{name}\" may not be changed\n{}",
                    diff::unified(
                        &Internal::new("EphemeralContainer", kept),
                        &Internal::new("EphemeralContainer", found)
                    )
                );
                errors.forbidden(&path, &why);
            }
            Some(_) => {}
        }
    }
    errors
}
