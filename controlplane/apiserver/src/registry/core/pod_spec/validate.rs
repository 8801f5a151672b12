//! The order in which pod specs and templates are checked.

use std::collections::BTreeSet;

use serde_json::Value;

use super::requirements::Scope;
use super::{
    containers, effective, network, requirements, resources, scheduling, security, volumes, windows,
};
use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, get, has, list_at, map_at, named, opt_int, opt_str, str_at};
use crate::registry::internal::Internal;
use crate::schema::quantity::Quantity;
use crate::validation::fields::{dns_label, dns_subdomain, one_of, required_one_of};
use crate::validation::{formats, labels};

/// What is checked, and what is known of it.
pub struct Subject<'a> {
    /// The pod spec.
    pub spec: &'a Value,
    /// The pod's metadata, or the template's as `null`: templates have no name.
    pub metadata: &'a Value,
    /// Whether it is a pod and not a template.
    pub is_pod: bool,
    /// The volumes without fault.
    pub volumes: Vec<&'a Value>,
    /// The names of the pod's resource claims.
    pub claims: BTreeSet<&'a str>,
}

impl<'a> Subject<'a> {
    /// The volume of this name, if it is without fault.
    pub fn volume(&self, name: &str) -> Option<&'a Value> {
        self.volumes.iter().copied().find(|volume| str_at(volume, "/name") == name)
    }

    /// Whether there is such a volume.
    pub fn has_volume(&self, name: &str) -> bool {
        self.volume(name).is_some()
    }
}

/// Calls `visit` for every container of a spec, with its path.
pub fn visit_containers(path: &Path<'_>, spec: &Value, visit: &mut dyn FnMut(&Path<'_>, &Value)) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in list_at(spec, &format!("/{list}")).iter().enumerate() {
            visit(&path.child(list).index(index), container);
        }
    }
}

/// Everything wrong with a pod spec.
pub fn validate_spec(errors: &mut Errors, path: &Path<'_>, spec: &Value, metadata: &Value, is_pod: bool) {
    let claims = list_at(spec, "/resourceClaims");
    let names = claims.iter().map(|claim| str_at(claim, "/name")).collect();
    let mut subject = Subject { spec, metadata, is_pod, volumes: Vec::new(), claims: names };
    subject.volumes = volumes::validate_volumes(errors, &path.child("volumes"), &subject);
    validate_resource_claims(errors, &path.child("resourceClaims"), claims);
    containers::validate_containers(errors, &path.child("containers"), &subject);
    containers::validate_init_containers(errors, &path.child("initContainers"), &subject);
    containers::validate_ephemeral_containers(errors, &path.child("ephemeralContainers"), &subject);
    validate_pod_resources(errors, path, &subject);
    containers::validate_host_network_ports(errors, path, &subject);
    required_one_of(errors, path, spec, "restartPolicy", &["Always", "OnFailure", "Never"]);
    let policies = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    required_one_of(errors, path, spec, "dnsPolicy", policies);
    labels::labels(errors, &path.child("nodeSelector"), map_at(spec, "/nodeSelector"));
    security::validate_pod_security_context(errors, &path.child("securityContext"), spec);
    scheduling::validate_affinity(errors, &path.child("affinity"), at(spec, "/affinity"));
    network::validate_dns_config(errors, &path.child("dnsConfig"), spec);
    let gates = list_at(spec, "/readinessGates");
    scheduling::validate_readiness_gates(errors, &path.child("readinessGates"), gates);
    scheduling::validate_gates(errors, &path.child("schedulingGates"), list_at(spec, "/schedulingGates"));
    let constraints = list_at(spec, "/topologySpreadConstraints");
    scheduling::validate_spread(errors, &path.child("topologySpreadConstraints"), constraints);
    windows::validate_host_processes(errors, path, spec);
    network::validate_host_users(errors, path, spec);
    network::validate_hostname_override(errors, path, spec);
    validate_scalars(errors, path, spec);
    security::validate_os(errors, path, spec);
    validate_file_references(errors, path, spec);
}

fn validate_scalars(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    for name in ["serviceAccountName", "nodeName"] {
        if let Some(text) = opt_str(spec, &format!("/{name}")).filter(|text| !text.is_empty()) {
            dns_subdomain(errors, &path.child(name), text);
        }
    }
    if let Some(deadline) = opt_int(spec, "/activeDeadlineSeconds") {
        let max = i64::from(i32::MAX);
        if !(1..=max).contains(&deadline) {
            errors.invalid(&path.child("activeDeadlineSeconds"), &deadline.into(), &formats::range(1, max));
        }
    }
    for name in ["hostname", "subdomain"] {
        if let Some(text) = opt_str(spec, &format!("/{name}")).filter(|text| !text.is_empty()) {
            dns_label(errors, &path.child(name), text);
        }
    }
    scheduling::validate_tolerations(errors, &path.child("tolerations"), list_at(spec, "/tolerations"));
    network::validate_host_aliases(errors, &path.child("hostAliases"), list_at(spec, "/hostAliases"));
    for name in ["priorityClassName", "runtimeClassName"] {
        if let Some(text) = opt_str(spec, &format!("/{name}"))
            && (name == "runtimeClassName" || !text.is_empty())
        {
            dns_subdomain(errors, &path.child(name), text);
        }
    }
    one_of(errors, path, spec, "preemptionPolicy", &["PreemptLowerPriority", "Never"]);
    if let Some(overhead) = get(spec, "/overhead") {
        let limits = serde_json::json!({"limits": overhead});
        let none = BTreeSet::new();
        requirements::validate(errors, &path.child("overhead"), &limits, Scope::Container, &none);
    }
}

fn validate_resource_claims(errors: &mut Errors, path: &Path<'_>, claims: &[Value]) {
    let mut seen = BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        let name = str_at(claim, "/name");
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if seen.contains(name) {
            errors.duplicate(&path.child("name"), &name.into());
        } else {
            dns_label(errors, &path.child("name"), name);
            seen.insert(name);
        }
        let why = match (has(claim, "/resourceClaimName"), has(claim, "/resourceClaimTemplateName")) {
            (true, true) => {
                Some("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
            }
            (false, false) => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => None,
        };
        if let Some(why) = why {
            let shown = Internal::new("PodResourceClaim", claim).compact();
            errors.push(&path, Reason::Invalid, format!("Invalid value: {shown}: {why}"));
        }
        for field in ["resourceClaimName", "resourceClaimTemplateName"] {
            if let Some(name) = opt_str(claim, &format!("/{field}")) {
                dns_subdomain(errors, &path.child(field), name);
            }
        }
    }
}

/// Resources of the pod as a whole.
fn validate_pod_resources(errors: &mut Errors, path: &Path<'_>, subject: &Subject<'_>) {
    let spec = subject.spec;
    let Some(own) = get(spec, "/resources") else { return };
    let path = path.child("resources");
    if str_at(spec, "/os/name") == "windows" {
        return errors.forbidden(&path, "may not be set for a windows pod");
    }
    if has(own, "/claims") {
        errors.forbidden(&path.child("claims"), "claims may not be set for Resources at pod-level");
    }
    requirements::validate(errors, &path, own, Scope::Pod, &subject.claims);
    for (list, why) in [("requests", "requests"), ("limits", "limits")] {
        for (resource, sum) in effective(spec, &format!("/resources/{list}")) {
            if list == "limits" && !resources::is_huge_page(&resource) {
                continue;
            }
            let Some(given) = map_at(own, &format!("/{list}")).and_then(|map| map.get(&resource)) else {
                continue;
            };
            if Quantity::from_value(given).is_ok_and(|given| sum > given) {
                let why = format!("must be greater than or equal to aggregate container {why} of {sum}");
                errors.invalid(&path.child(list).key(&resource), given, &why);
            }
        }
    }
    for (index, container) in list_at(spec, "/containers").iter().enumerate() {
        for (resource, limit) in map_at(container, "/resources/limits").into_iter().flatten() {
            let Some(most) = map_at(own, "/limits").and_then(|map| map.get(resource)) else { continue };
            let exceeds = matches!(
                (Quantity::from_value(limit), Quantity::from_value(most)),
                (Ok(limit), Ok(most)) if limit > most
            );
            if exceeds {
                let containers = path.child("containers");
                let why = format!(
                    "must be less than or equal to pod limits of {}",
                    most.as_str().unwrap_or_default()
                );
                errors.invalid(&containers.index(index).key(resource).child("limits"), limit, &why);
            }
        }
    }
}

/// Variables from files must refer to empty directories.
fn validate_file_references(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let volumes = list_at(spec, "/volumes");
    visit_containers(path, spec, &mut |path, container| {
        for (index, variable) in list_at(container, "/env").iter().enumerate() {
            let Some(name) = opt_str(variable, "/valueFrom/fileKeyRef/volumeName") else { continue };
            let env = path.child("env");
            let variable_path = env.index(index);
            let source = variable_path.child("valueFrom");
            let reference = source.child("fileKeyRef");
            let path = reference.child("volumeName");
            match named(volumes, name) {
                None => errors.not_found(&path, &name.into()),
                Some(volume) if !has(volume, "/emptyDir") => {
                    errors.invalid_str(&path, name, "referenced volume must be of type emptyDir");
                }
                Some(_) => {}
            }
        }
    });
}

/// Everything wrong with a pod template.
pub fn validate_template(errors: &mut Errors, path: &Path<'_>, template: &Value) {
    labels::labels(errors, &path.child("labels"), map_at(template, "/metadata/labels"));
    labels::annotations(errors, &path.child("annotations"), map_at(template, "/metadata/annotations"));
    let spec = at(template, "/spec");
    super::annotations::validate(errors, &path.child("annotations"), at(template, "/metadata"), spec);
    validate_spec(errors, &path.child("spec"), spec, &Value::Null, false);
    super::annotations::validate_profiles(errors, &path.child("spec"), at(template, "/metadata"), spec);
    if !list_at(spec, "/ephemeralContainers").is_empty() {
        errors.forbidden(
            &path.child("spec").child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}
