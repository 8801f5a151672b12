//! Pods changed through `resize`: only CPU and memory, of containers and of the whole pod, can change.

use serde_json::{Map, Value};

use super::{SPEC, validate_pod};
use crate::field::{Errors, Path};
use crate::registry::access::{
    at, get_mut, has, list_at, list_mut, make_map, map_at, remove, restore, str_at,
};
use crate::registry::core::pod_spec::{MIRROR, is_sidecar, qos_class};

const ONLY: &str = "only cpu and memory resources are mutable";
const LISTS: [&str; 2] = ["/resources/requests", "/resources/limits"];

/// A resized pod.
pub fn validate_resize(pod: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_pod(&mut errors, pod);
    let whole = |why: &str| {
        let mut only = Errors::default();
        only.forbidden(&Path::ROOT.key(""), why);
        only
    };
    if at(old, "/metadata/annotations").get(MIRROR).is_some() {
        return whole("static pods cannot be resized");
    }
    if str_at(old, "/spec/os/name") == "windows" {
        return whole("windows pods cannot be resized");
    }
    if qos_class(at(pod, "/spec")) != qos_class(at(old, "/spec")) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(&SPEC, at(pod, "/status/qosClass"), why);
    }
    if !runs_where_it_can_be_resized(old) {
        errors.forbidden(&SPEC, "Pod running on node without support for resize");
    }
    let mut munged = at(pod, "/spec").clone();
    validate_pod_level(&mut errors, &mut munged, at(old, "/spec"));
    let before = errors.0.len();
    validate_order(&mut errors, pod, old);
    if errors.0.len() > before {
        return errors;
    }
    for (list, index, new, old) in containers(pod, old) {
        validate_not_removed(&mut errors, &SPEC.child(list).index(index).child("resources"), new, old, "");
    }
    validate_containers(&mut errors, &mut munged, old);
    if errors.is_empty() && munged != *at(old, "/spec") {
        errors.forbidden(&SPEC, ONLY);
    }
    errors
}

/// Whether the node of a running pod tells what its containers have; nodes that cannot resize do not.
fn runs_where_it_can_be_resized(pod: &Value) -> bool {
    let mut statuses = list_at(pod, "/status/containerStatuses").iter();
    statuses.find(|status| has(status, "/state/running")).is_none_or(|status| has(status, "/resources"))
}

fn validate_pod_level(errors: &mut Errors, munged: &mut Value, old: &Value) {
    let given =
        |spec: &Value| LISTS.iter().any(|list| map_at(spec, list).is_some_and(|amounts| !amounts.is_empty()));
    if !given(munged) && !given(old) {
        return;
    }
    let path = SPEC.child("resources");
    if has(old, "/resources") && !has(munged, "/resources") {
        return errors.forbidden(&path, "pod-level resources cannot be removed");
    }
    validate_not_removed(errors, &path, munged, old, "pod-level ");
    keep_cpu_and_memory(munged, old);
    let emptied = at(munged, "/resources").as_object().is_some_and(Map::is_empty);
    if emptied && !has(old, "/resources") {
        remove(munged, "/resources");
    }
    if at(munged, "/resources") != at(old, "/resources") {
        errors.forbidden(&SPEC, "only cpu and memory resources are mutable at pod-level");
    }
}

fn validate_order(errors: &mut Errors, pod: &Value, old: &Value) {
    for list in ["containers", "initContainers"] {
        let pointer = format!("/spec/{list}");
        let (new, old) = (list_at(pod, &pointer), list_at(old, &pointer));
        let path = SPEC.child(list);
        if new.len() != old.len() {
            errors.forbidden(&path, &format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (index, (new, old)) in new.iter().zip(old).enumerate() {
            if str_at(new, "/name") != str_at(old, "/name") {
                let why = format!("{list} may not be renamed or reordered on resize");
                errors.forbidden(&path.index(index).child("name"), &why);
            }
        }
    }
}

/// Every container beside what it was: its list, its place, now and before.
fn containers<'a>(
    pod: &'a Value,
    old: &'a Value,
) -> impl Iterator<Item = (&'static str, usize, &'a Value, &'a Value)> {
    ["initContainers", "containers"].into_iter().flat_map(move |list| {
        let pointer = format!("/spec/{list}");
        let pairs = list_at(pod, &pointer).iter().zip(list_at(old, &pointer)).enumerate();
        pairs.map(move |(index, (new, old))| (list, index, new, old))
    })
}

fn validate_containers(errors: &mut Errors, munged: &mut Value, old: &Value) {
    const RESTARTED: &str =
        "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
    for (container, old) in list_mut(munged, "/containers").zip(list_at(old, "/spec/containers")) {
        keep_cpu_and_memory(container, old);
        if container != old {
            errors.forbidden(&SPEC, ONLY);
        }
    }
    let olds = list_at(old, "/spec/initContainers");
    for (index, (container, old)) in list_mut(munged, "/initContainers").zip(olds).enumerate() {
        let list = SPEC.child("initContainers");
        let path = list.index(index);
        let modified = container != old;
        keep_cpu_and_memory(container, old);
        if container != old {
            let why = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.forbidden(&path, why);
        }
        if modified && !is_sidecar(container) {
            let restarted = |policy: &&Value| str_at(policy, "/restartPolicy") == "RestartContainer";
            for _ in list_at(container, "/resizePolicy").iter().filter(restarted) {
                errors.forbidden(&path, RESTARTED);
            }
        }
    }
}

fn validate_not_removed(errors: &mut Errors, path: &Path<'_>, owner: &Value, old: &Value, level: &str) {
    for what in ["requests", "limits"] {
        let pointer = format!("/resources/{what}");
        let new = at(owner, &pointer);
        let removed =
            map_at(old, &pointer).is_some_and(|old| old.keys().any(|resource| new.get(resource).is_none()));
        if removed {
            errors.forbidden(&path.child(what), &format!("{level}resource {what} cannot be removed"));
        }
    }
}

/// Gives back what can change, so that what else differs shows.
fn keep_cpu_and_memory(owner: &mut Value, old: &Value) {
    for list in LISTS {
        for resource in ["cpu", "memory"] {
            if has(old, list) || get_mut(owner, list).is_some() {
                make_map(owner, list);
                restore(owner, old, &format!("{list}/{resource}"));
            }
        }
        let emptied = map_at(owner, list).is_some_and(Map::is_empty);
        if emptied && map_at(old, list).is_none_or(Map::is_empty) {
            restore(owner, old, list);
        }
    }
}
