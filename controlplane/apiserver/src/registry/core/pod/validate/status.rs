//! Changed statuses of pods.

use std::collections::BTreeSet;

use serde_json::Value;

use super::validate_annotation_changes;
use crate::field::{Errors, Path, Reason, shown};
use crate::registry::access::{at, get, has, int_at, list_at, named, opt_int, str_at};
use crate::validation::fields::{self, dns_label, dns_subdomain, qualified_name};
use crate::validation::{formats, ip};

const STATUS: Path<'static> = Path::new("status");
const LISTS: [&str; 3] = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
const HEALTHS: &[&str] = &["Healthy", "Unhealthy", "Unknown"];

/// A changed status.
pub fn validate_status_update(pod: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_annotation_changes(&mut errors, pod, old);
    let conditions = STATUS.child("conditions");
    for (index, condition) in list_at(pod, "/status/conditions").iter().enumerate() {
        let path = conditions.index(index);
        validate_observed(&mut errors, &path, condition);
        let kind = str_at(condition, "/type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            qualified_name(&mut errors, &path.child("Type"), kind);
        }
    }
    let nominated = str_at(pod, "/status/nominatedNodeName");
    if nominated != str_at(old, "/status/nominatedNodeName") && !nominated.is_empty() {
        dns_subdomain(&mut errors, &STATUS.child("nominatedNodeName"), nominated);
        if !str_at(old, "/spec/nodeName").is_empty() {
            let why = "may not be set on pods that are already bound to a node";
            errors.forbidden(&STATUS.child("nominatedNodeName"), why);
        }
    }
    validate_observed(&mut errors, &STATUS, at(pod, "/status"));
    fields::immutable_field(&mut errors, &STATUS, at(pod, "/status"), at(old, "/status"), "qosClass");
    validate_transitions(&mut errors, pod, old);
    validate_claim_statuses(&mut errors, pod);
    validate_extended_claim(&mut errors, pod);
    validate_addresses(&mut errors, pod, old, "podIPs");
    if !list_at(pod, "/status/hostIPs").is_empty() {
        let first = list_at(pod, "/status/hostIPs").first().map(|ip| str_at(ip, "/ip")).unwrap_or_default();
        if first != str_at(pod, "/status/hostIP") {
            let path = STATUS.child("hostIPs");
            errors.invalid_str(&path.index(0).child("ip"), first, "must be equal to `hostIP`");
        }
        validate_addresses(&mut errors, pod, old, "hostIPs");
    }
    for list in LISTS {
        validate_users(&mut errors, pod, list);
    }
    for list in LISTS {
        validate_health(&mut errors, pod, list);
    }
    errors
}

fn validate_observed(errors: &mut Errors, path: &Path<'_>, owner: &Value) {
    if let Some(generation) = opt_int(owner, "/observedGeneration").filter(|generation| *generation < 0) {
        let why = "must be a non-negative integer";
        errors.invalid(&path.child("observedGeneration"), &generation.into(), why);
    }
}

/// What is said of claims is of those that the pod has, and said once.
fn validate_claim_statuses(errors: &mut Errors, pod: &Value) {
    let claims = list_at(pod, "/spec/resourceClaims");
    let path = STATUS.child("resourceClaimStatuses");
    let mut seen = BTreeSet::new();
    for (index, status) in list_at(pod, "/status/resourceClaimStatuses").iter().enumerate() {
        let (path, name) = (path.index(index), str_at(status, "/name"));
        if named(claims, name).is_none() {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid_str(&path.child("name"), name, why);
        }
        if !seen.insert(name) {
            errors.duplicate(&path.child("name"), &name.into());
        }
        if let Some(claim) = get(status, "/resourceClaimName").and_then(Value::as_str) {
            dns_subdomain(errors, &path.child("name"), claim);
        }
    }
}

/// The claim that the scheduler made for extended resources says which of them it stands for.
fn validate_extended_claim(errors: &mut Errors, pod: &Value) {
    let Some(status) = get(pod, "/status/extendedResourceClaimStatus") else { return };
    let path = STATUS.child("extendedResourceClaimStatus");
    let mappings_path = path.child("requestMappings");
    let mappings = list_at(status, "/requestMappings");
    if mappings.is_empty() {
        errors.required(&mappings_path, "at least one request mapping is required");
    }
    let mut seen = BTreeSet::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let at_path = mappings_path.index(index);
        let name = |field: &str| str_at(mapping, &format!("/{field}"));
        let key = ["containerName", "resourceName", "requestName"].map(|field| (field, name(field)));
        let container = ["/spec/containers", "/spec/initContainers"]
            .iter()
            .find_map(|list| named(list_at(pod, list), name("containerName")));
        match container {
            None => {
                let why =
                    "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                errors.invalid_str(&at_path.child("containerName"), name("containerName"), why);
            }
            Some(container) if at(container, "/resources/requests").get(name("resourceName")).is_none() => {
                let why = "must match the extended resource name of an entry in \
                           spec.initContainers.resources.requests or spec.containers.resources.requests";
                errors.invalid_str(&at_path.child("resourceName"), name("resourceName"), why);
            }
            Some(_) => {}
        }
        dns_label(errors, &path.child("requestName"), name("requestName"));
        if !seen.insert(key) {
            for (field, value) in key {
                errors.duplicate(&at_path.child(field), &value.into());
            }
        }
    }
    fields::required_subdomain(errors, &path, status, "resourceClaimName");
}

/// At most one address of each family. What was there before may stay, whatever it is.
fn validate_addresses(errors: &mut Errors, pod: &Value, old: &Value, field: &str) {
    let pointer = format!("/status/{field}");
    let addresses = list_at(pod, &pointer);
    let path = STATUS.child(field);
    for (index, address) in addresses.iter().enumerate().filter(|(_, a)| !list_at(old, &pointer).contains(a))
    {
        ip::address(errors, &path.index(index), str_at(address, "/ip"));
    }
    if addresses.len() > 1 {
        let families: BTreeSet<bool> = addresses
            .iter()
            .filter_map(|address| ip::parse(str_at(address, "/ip")))
            .map(|address| address.is_ipv4())
            .collect();
        if families.len() != 2 || addresses.len() > 2 {
            let why = "may specify no more than one IP for each IP family";
            let list: Vec<String> =
                addresses.iter().map(|a| format!("{{\"IP\":{}}}", shown(at(a, "/ip")))).collect();
            let detail = format!("Invalid value: [{}]: {why}", list.join(","));
            errors.push(&path, Reason::Invalid, detail);
        }
    }
}

/// What has ended does not run again, unless it is restarted.
fn validate_transitions(errors: &mut Errors, pod: &Value, old: &Value) {
    const WHY: &str = "may not be transitioned to non-terminated state";
    let restarts_all = ["/spec/containers", "/spec/initContainers"]
        .iter()
        .flat_map(|list| list_at(old, list))
        .flat_map(|container| list_at(container, "/restartPolicyRules"))
        .any(|rule| str_at(rule, "/action") == "RestartAllContainers");
    for (list, containers) in [
        ("containerStatuses", Some("/spec/containers")),
        ("initContainerStatuses", Some("/spec/initContainers")),
        // These are never restarted.
        ("ephemeralContainerStatuses", None),
    ] {
        if restarts_all && containers.is_some() {
            continue;
        }
        for (index, was) in list_at(old, &format!("/status/{list}")).iter().enumerate() {
            let Some(terminated) = get(was, "/state/terminated") else { continue };
            let name = str_at(was, "/name");
            let container = containers.and_then(|containers| named(list_at(old, containers), name));
            let restarts = container.is_some_and(|container| {
                restarts(container, str_at(old, "/spec/restartPolicy"), int_at(terminated, "/exitCode"))
            });
            let now = named(list_at(pod, &format!("/status/{list}")), name);
            if !restarts && now.is_some_and(|now| !has(now, "/state/terminated")) {
                errors.forbidden(&STATUS.child(list).index(index).child("state"), WHY);
            }
        }
    }
}

/// Whether a container runs again after it ended so: by the first rule that knows its exit code, else by its own
/// policy, else by the pod's.
fn restarts(container: &Value, of_pod: &str, exit_code: i64) -> bool {
    let knows = |rule: &&Value| {
        let given = list_at(rule, "/exitCodes/values").contains(&exit_code.into());
        match str_at(rule, "/exitCodes/operator") {
            "In" => given,
            "NotIn" => !given,
            _ => false,
        }
    };
    if list_at(container, "/restartPolicyRules").iter().find(knows).is_some() {
        return true;
    }
    let own = str_at(container, "/restartPolicy");
    match if own.is_empty() { of_pod } else { own } {
        "Always" => true,
        "OnFailure" => exit_code != 0,
        _ => false,
    }
}

/// Whom the processes of containers run as.
fn validate_users(errors: &mut Errors, pod: &Value, list: &str) {
    let statuses = STATUS.child(list);
    let windows = str_at(pod, "/spec/os/name") == "windows";
    for (index, status) in list_at(pod, &format!("/status/{list}")).iter().enumerate() {
        let Some(user) = get(status, "/user/linux") else { continue };
        let user_path = statuses.index(index);
        let parent = user_path.child("user");
        let path = parent.child("linux");
        if windows {
            errors.forbidden(&path, "cannot be set for a windows pod");
            continue;
        }
        for (field, id) in ["uid", "gid"].map(|field| (field, int_at(user, &format!("/{field}")))) {
            for why in formats::user_id(id) {
                errors.invalid(&path.child(field), &id.into(), &why);
            }
        }
        for (index, group) in list_at(user, "/supplementalGroups").iter().enumerate() {
            for why in formats::user_id(group.as_i64().unwrap_or_default()) {
                errors.invalid(&path.child("supplementalGroups").index(index), group, &why);
            }
        }
    }
}

/// How well the devices of containers are.
fn validate_health(errors: &mut Errors, pod: &Value, list: &str) {
    const MESSAGE_MAX: usize = 1024;
    let statuses = STATUS.child(list);
    let containers = match list {
        "containerStatuses" => list_at(pod, "/spec/containers"),
        _ => list_at(pod, "/spec/initContainers"),
    };
    for (index, status) in list_at(pod, &format!("/status/{list}")).iter().enumerate() {
        let status_path = statuses.index(index);
        let path = status_path.child("allocatedResourcesStatus");
        let resources = list_at(status, "/allocatedResourcesStatus");
        if list == "ephemeralContainerStatuses" {
            if !resources.is_empty() {
                errors.forbidden(&path, "must not be specified in container status");
            }
            continue;
        }
        let container = named(containers, str_at(status, "/name"));
        for (index, resource) in resources.iter().enumerate() {
            let path = path.index(index);
            let name = str_at(resource, "/name");
            if let Some(why) = container.and_then(|container| unknown_resource(container, name)) {
                errors.invalid_str(&path.child("name"), name, why);
            }
            let mut seen = BTreeSet::new();
            for (index, device) in list_at(resource, "/resources").iter().enumerate() {
                let devices = path.child("resources");
                let path = devices.index(index);
                let health = at(device, "/health");
                if !HEALTHS.contains(&health.as_str().unwrap_or_default()) {
                    errors.not_supported(&path.child("health"), &str_at(device, "/health").into(), HEALTHS);
                }
                match get(device, "/message").and_then(Value::as_str) {
                    Some("") => errors.required(&path.child("message"), "must be non-empty if specified"),
                    Some(text) if text.len() > MESSAGE_MAX => {
                        errors.too_long(&path.child("message"), MESSAGE_MAX);
                    }
                    _ => {}
                }
                if !seen.insert(str_at(device, "/resourceID")) {
                    errors.duplicate(&path.child("resourceID"), at(device, "/resourceID"));
                }
            }
        }
    }
}

/// Why a container cannot have been given this resource.
fn unknown_resource(container: &Value, name: &str) -> Option<&'static str> {
    if !name.starts_with("claim:") {
        let asked = at(container, "/resources/requests").get(name).is_some();
        return (!asked).then_some("must match one of the container's resource requests");
    }
    let asked = list_at(container, "/resources/claims").iter().any(|claim| {
        let (claim, request) = (str_at(claim, "/name"), str_at(claim, "/request"));
        let whole = if request.is_empty() { claim.to_owned() } else { format!("{claim}/{request}") };
        name.strip_prefix("claim:") == Some(whole.as_str())
    });
    (!asked).then_some(
        "must match one of the container's resource claims as 'claim:<claimName>/<requestName>' when \
         container.resources.claims[*].request is set or 'claim:<claimName>' when it is empty",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(pod: &Value, old: &Value) -> Vec<String> {
        validate_status_update(pod, old).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_container_runs_again_only_where_a_rule_or_policy_restarts_it() {
        let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}});
        let container = json!({"name": "c", "restartPolicy": "Never", "restartPolicyRules": [rule]});
        let status = |state: Value| json!({"containerStatuses": [{"name": "c", "state": state}]});
        let pod = |state: Value| json!({"spec": {"containers": [container]}, "status": status(state)});
        let running = pod(json!({"running": {}}));
        assert_eq!(told(&running, &pod(json!({"terminated": {"exitCode": 42}}))), [""; 0]);
        let forbidden =
            "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
        assert_eq!(told(&running, &pod(json!({"terminated": {"exitCode": 1}}))), [forbidden]);
    }

    #[test]
    fn a_status_of_no_container_stays_ended() {
        let pod = |state: Value| {
            json!({"spec": {"restartPolicy": "Always"},
                   "status": {"containerStatuses": [{"name": "x", "state": state}]}})
        };
        let old = pod(json!({"terminated": {"exitCode": 0}}));
        assert_eq!(told(&pod(json!({})), &old).len(), 1);
    }

    #[test]
    fn generations_are_not_negative() {
        let pod = json!({"status": {"observedGeneration": -1, "conditions": [
            {"type": "Ready", "observedGeneration": -2},
        ]}});
        assert_eq!(
            told(&pod, &json!({})),
            [
                "status.conditions[0].observedGeneration: Invalid value: -2: must be a non-negative integer",
                "status.observedGeneration: Invalid value: -1: must be a non-negative integer",
            ]
        );
    }

    #[test]
    fn devices_are_named_by_what_the_container_asked_for() {
        let container = json!({"name": "c", "resources": {"claims": [{"name": "gpu"}]}});
        let resources = json!([
            {"name": "claim:gpu", "resources": [{"resourceID": "a", "health": "Fine"}]},
            {"name": "cpu"},
        ]);
        let pod = json!({
            "spec": {"containers": [container]},
            "status": {"containerStatuses": [{"name": "c", "allocatedResourcesStatus": resources}]},
        });
        assert_eq!(
            told(&pod, &pod),
            [
                "status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].health: Unsupported value: \"Fine\": supported values: \"Healthy\", \"Unhealthy\", \"Unknown\"",
                "status.containerStatuses[0].allocatedResourcesStatus[1].name: Invalid value: \"cpu\": must match one of the container's resource requests",
            ]
        );
    }
}
