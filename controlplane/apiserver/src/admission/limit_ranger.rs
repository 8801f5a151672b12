//! LimitRanger: the defaults and bounds that a namespace sets for containers, pods and claims.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, joined};
use crate::{
    metadata,
    registry::{
        access::{at, entries, list_at, list_mut, make_map, str_at},
        core::pod_spec::effective,
    },
    schema::quantity::Quantity,
    status::ApiError,
};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub struct LimitRanger;

type Amounts = BTreeMap<String, Quantity>;

impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        pod: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if attributes.operation == Operation::Create && attributes.is("", "pods") {
                for range in ranges(attributes).await? {
                    set_defaults(pod, &range);
                }
            }
            Ok(())
        })
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: &'a Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let pods = attributes.is("", "pods") && attributes.operation == Operation::Create
                || attributes.subresource == "resize" && attributes.definition.is("", "pods");
            let claims = attributes.is("", "persistentvolumeclaims");
            if attributes.operation == Operation::Delete
                || !(pods || claims)
                || attributes.old.is_some_and(metadata::is_terminating)
            {
                return Ok(());
            }
            for range in ranges(attributes).await? {
                if let Some(why) = joined(complaints(object, &range, pods)) {
                    return Err(attributes.forbidden(object, &why));
                }
            }
            Ok(())
        })
    }
}

async fn ranges(attributes: &Attributes<'_>) -> Result<Vec<Value>, ApiError> {
    attributes.server.find_all("", "limitranges", attributes.namespace).await
}

fn set_defaults(pod: &mut Value, range: &Value) {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    for limit in list_at(range, "/spec/limits").iter().filter(|l| str_at(l, "/type") == "Container") {
        requests.extend(entries(limit, "/defaultRequest"));
        limits.extend(entries(limit, "/default"));
    }
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    let mut done = Vec::new();
    for (list, what) in [("/spec/containers", "container"), ("/spec/initContainers", "init container")] {
        for container in list_mut(pod, list) {
            let name = str_at(container, "/name").to_owned();
            for (path, defaults, kind) in
                [("/resources/requests", &requests, "request"), ("/resources/limits", &limits, "limit")]
            {
                if defaults.is_empty() {
                    continue;
                }
                let own = make_map(container, path);
                let mut set = Vec::new();
                for (resource, amount) in defaults {
                    if !own.contains_key(*resource) {
                        own.insert((*resource).clone(), (*amount).clone());
                        set.push(resource.as_str());
                    }
                }
                if !set.is_empty() {
                    done.push(format!("{} {kind} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !done.is_empty() {
        let text = format!("LimitRanger plugin set: {}", done.join("; "));
        make_map(pod, "/metadata/annotations").insert(ANNOTATION.into(), text.into());
    }
}

fn amounts(value: &Value, path: &str) -> Amounts {
    entries(value, path)
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::from_value(amount).ok()?)))
        .collect()
}

fn complaints(object: &Value, range: &Value, pod: bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for limit in list_at(range, "/spec/limits") {
        match str_at(limit, "/type") {
            "Container" if pod => {
                for list in ["/spec/containers", "/spec/initContainers"] {
                    for container in list_at(object, list) {
                        let of = |path| amounts(container, path);
                        bounds(limit, &of("/resources/requests"), &of("/resources/limits"), &mut complaints);
                    }
                }
            }
            "Pod" if pod => {
                let of = |path| -> Amounts {
                    let own = at(object, "/spec");
                    let level = amounts(own, path);
                    effective(own, path).into_iter().chain(level).collect()
                };
                bounds(limit, &of("/resources/requests"), &of("/resources/limits"), &mut complaints);
            }
            "PersistentVolumeClaim" if !pod => {
                claim_bounds(limit, &amounts(object, "/spec/resources/requests"), &mut complaints);
            }
            _ => {}
        }
    }
    complaints
}

fn bounds(limit: &Value, requests: &Amounts, limits: &Amounts, complaints: &mut Vec<String>) {
    let kind = str_at(limit, "/type");
    for (name, least) in amounts(limit, "/min") {
        let text = format!("minimum {name} usage per {kind} is {least}");
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => complaints.push(format!("{text}.  No request is specified")),
            (Some(own), _) if *own < least => complaints.push(format!("{text}, but request is {own}")),
            (_, Some(own)) if *own < least => complaints.push(format!("{text}, but limit is {own}")),
            _ => {}
        }
    }
    for (name, most) in amounts(limit, "/max") {
        let text = format!("maximum {name} usage per {kind} is {most}");
        match (limits.get(&name), requests.get(&name)) {
            (None, _) => complaints.push(format!("{text}.  No limit is specified")),
            (Some(own), _) if *own > most => complaints.push(format!("{text}, but limit is {own}")),
            (_, Some(own)) if *own > most => complaints.push(format!("{text}, but request is {own}")),
            _ => {}
        }
    }
    for (name, most) in amounts(limit, "/maxLimitRequestRatio") {
        let text = format!("{name} max limit to request ratio per {kind} is {most}");
        let some = |amounts: &Amounts| amounts.get(&name).filter(|q| !q.is_zero()).map(Quantity::to_f64);
        match (some(requests), some(limits)) {
            (None, _) => complaints.push(format!("{text}, but no request is specified or request is 0")),
            (_, None) => complaints.push(format!("{text}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) if limit / request > most.to_f64() => {
                complaints.push(format!("{text}, but provided ratio is {:.6}", limit / request));
            }
            _ => {}
        }
    }
}

/// Claims have no limits; their requests are held to both bounds.
fn claim_bounds(limit: &Value, requests: &Amounts, complaints: &mut Vec<String>) {
    let kind = str_at(limit, "/type");
    for (bound, word) in [("/min", "minimum"), ("/max", "maximum")] {
        for (name, enforced) in amounts(limit, bound) {
            let text = format!("{word} {name} usage per {kind} is {enforced}");
            match requests.get(&name) {
                None => complaints.push(format!("{text}.  No request is specified")),
                Some(own) if (bound == "/min" && *own < enforced) || (bound == "/max" && *own > enforced) => {
                    complaints.push(format!("{text}, but request is {own}"));
                }
                Some(_) => {}
            }
        }
    }
}
