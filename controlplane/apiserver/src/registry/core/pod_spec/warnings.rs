//! What is questionable about pods and their templates: what works otherwise than it looks.

mod overlaps;

use std::collections::BTreeSet;

use serde_json::Value;

use super::annotations::{APP_ARMOR, APP_ARMOR_DEPRECATED, SECCOMP_CONTAINER, SECCOMP_POD};
use crate::field::{Path, quoted};
use crate::registry::access::{at, entries, get, has, int_at, list_at, map_at, str_at, strs_at};
use crate::schema::quantity::Quantity;
use crate::validation::{ip, names};

const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// Annotations that mean nothing any more.
const ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

/// Labels of nodes that nobody should go by any more, and why.
const NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// Volumes of which nothing remains but the field.
const VOLUMES: &[(&str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo: deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO: deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker: deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS: deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte: deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs: deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs: deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd: deprecated in v1.28, non-functional in v1.31+"),
];

/// What is questionable about a pod, or about the template at `path`.
pub fn warnings(path: &Path<'_>, pod: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let (spec, spec_path) = (at(pod, "/spec"), path.child("spec"));
    node_labels(&mut warnings, &spec_path, spec);
    spread(&mut warnings, &spec_path, spec);
    let metadata = path.child("metadata");
    let annotated = |key: &str| map_at(pod, "/metadata/annotations").is_some_and(|all| all.contains_key(key));
    let annotations = metadata.child("annotations");
    let is_template = !path.to_string().is_empty();
    for (key, why) in ANNOTATIONS.iter().filter(|(key, _)| annotated(key)) {
        warnings.push(format!("{}: {why}", annotations.key(key)));
    }
    volumes(&mut warnings, &spec_path, spec);
    repeated(&mut warnings, &spec_path, spec);
    for resource in ["memory", "ephemeral-storage"] {
        fractional(&mut warnings, &spec_path.child("overhead"), at(spec, "/overhead"), resource);
    }
    if !has(spec, "/securityContext/seccompProfile") && annotated(SECCOMP_POD) {
        warnings.push(format!("{}: {SECCOMP}", annotations.key(SECCOMP_POD)));
    }
    for (path, container) in containers(spec) {
        let path = spec_path.child(&path);
        let key = format!("{SECCOMP_CONTAINER}{}", str_at(container, "/name"));
        if !has(container, "/securityContext/seccompProfile") && annotated(&key) {
            warnings.push(format!("{}: {SECCOMP}", annotations.key(&key)));
        }
        let key = format!("{APP_ARMOR}{}", str_at(container, "/name"));
        let profiled = [spec, container].iter().any(|of| has(of, "/securityContext/appArmorProfile"));
        // Of pods this is told before their annotations become fields.
        if is_template && !profiled && annotated(&key) {
            warnings.push(format!("{}: {APP_ARMOR_DEPRECATED}", annotations.key(&key)));
        }
        for resource in ["memory", "ephemeral-storage"] {
            for list in ["limits", "requests"] {
                let amounts = at(container, &format!("/resources/{list}"));
                fractional(&mut warnings, &path.child("resources").child(list), amounts, resource);
            }
        }
        hidden_variables(&mut warnings, &path, container);
    }
    ports(&mut warnings, &spec_path, spec);
    if int_at(spec, "/terminationGracePeriodSeconds") < 0 {
        warnings.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            spec_path.child("terminationGracePeriodSeconds")
        ));
    }
    affinities(&mut warnings, &spec_path, spec);
    addresses(&mut warnings, &spec_path, spec);
    warnings
}

/// Addresses that are read by old habits.
fn addresses(warnings: &mut Vec<String>, path: &Path<'_>, spec: &Value) {
    let config = path.child("dnsConfig");
    let servers = config.child("nameservers");
    for (at, server) in strs_at(spec, "/dnsConfig/nameservers").enumerate() {
        warnings.extend(ip::address_warnings(&servers.index(at), server));
    }
    let aliases = path.child("hostAliases");
    for (at, alias) in list_at(spec, "/hostAliases").iter().enumerate() {
        warnings.extend(ip::address_warnings(&aliases.index(at).child("ip"), str_at(alias, "/ip")));
    }
}

/// What is questionable about a name that becomes part of host names: `used` says where.
pub fn name_warnings(object: &Value, used: &str) -> Option<String> {
    let wrong = names::dns1123_label(str_at(object, "/metadata/name"));
    (!wrong.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        )
    })
}

/// What is questionable about a workload's name and template.
pub fn of_workload(object: &Value, old: Option<&Value>, template: &str) -> Vec<String> {
    const NAMES: &str = "Pod names and hostnames";
    let mut warnings = Vec::new();
    if old.is_none() {
        warnings.extend(name_warnings(object, NAMES));
    }
    warnings.extend(of_template(object, old, template));
    warnings
}

/// What is questionable about the template of a workload. An update is looked at if it changes the spec.
pub fn of_template(object: &Value, old: Option<&Value>, template: &str) -> Vec<String> {
    let generation = |object: &Value| int_at(object, "/metadata/generation");
    if old.is_some_and(|old| generation(old) == generation(object)) {
        return Vec::new();
    }
    warnings(&Path::new(template), at(object, &format!("/{}", template.replace('.', "/"))))
}

/// The containers of all kinds, with their places below the spec.
fn containers(spec: &Value) -> impl Iterator<Item = (String, &Value)> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |list| {
        let items = list_at(spec, &format!("/{list}")).iter().enumerate();
        items.map(move |(at, container)| (format!("{list}[{at}]"), container))
    })
}

/// Why nobody should go by a label of nodes any more.
pub fn deprecated_label(key: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(old, _)| *old == key).map(|(_, why)| *why)
}

/// What is questionable about a term that selects nodes; values are looked at where validation does not.
pub fn node_term(warnings: &mut Vec<String>, path: &Path<'_>, term: &Value, check_values: bool) {
    let path = path.child("matchExpressions");
    for (index, expression) in list_at(term, "/matchExpressions").iter().enumerate() {
        let (path, key) = (path.index(index), str_at(expression, "/key"));
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{}: {key} is {why}", path.child("key")));
        }
        for (at, value) in strs_at(expression, "/values").enumerate().filter(|_| check_values) {
            for why in names::label_value(value) {
                warnings.push(format!("{}: {value} is invalid, {why}", path.child("values").index(at)));
            }
        }
    }
}

fn node_labels(warnings: &mut Vec<String>, path: &Path<'_>, spec: &Value) {
    for (key, _) in entries(spec, "/nodeSelector") {
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{}: {why}", path.child("nodeSelector").key(key)));
        }
    }
    let affinity = path.child("affinity");
    let path = affinity.child("nodeAffinity");
    let affinity = at(spec, "/affinity/nodeAffinity");
    let required = path.child("requiredDuringSchedulingIgnoredDuringExecution");
    let terms = "/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    for (at, term) in list_at(affinity, terms).iter().enumerate() {
        node_term(warnings, &required.child("nodeSelectorTerms").index(at), term, false);
    }
    let preferred = path.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in
        list_at(affinity, "/preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate()
    {
        node_term(warnings, &preferred.index(index).child("preference"), at(term, "/preference"), true);
    }
}

fn spread(warnings: &mut Vec<String>, path: &Path<'_>, spec: &Value) {
    let path = path.child("topologySpreadConstraints");
    for (at, constraint) in list_at(spec, "/topologySpreadConstraints").iter().enumerate() {
        let key = str_at(constraint, "/topologyKey");
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{}: {key} is {why}", path.index(at).child("topologyKey")));
        }
        if !has(constraint, "/labelSelector") {
            warnings.push(format!("{}: {NO_SELECTOR}", path.index(at).child("labelSelector")));
        }
    }
}

fn volumes(warnings: &mut Vec<String>, path: &Path<'_>, spec: &Value) {
    let path = path.child("volumes");
    let all = list_at(spec, "/volumes");
    for (at, volume) in all.iter().enumerate() {
        for (_, why) in VOLUMES.iter().filter(|(field, _)| volume.get(*field).is_some()) {
            warnings.push(format!("{}.{why}", path.index(at)));
        }
        let storage = "/ephemeral/volumeClaimTemplate/spec/resources/requests";
        if let Some(amounts) = get(volume, storage) {
            let below = "ephemeral.volumeClaimTemplate.spec.resources.requests";
            fractional(warnings, &path.index(at).child(below), amounts, "storage");
        }
    }
    warnings.extend(all.iter().flat_map(overlaps::warnings));
}

/// Host aliases and pull secrets that stand twice.
fn repeated(warnings: &mut Vec<String>, path: &Path<'_>, spec: &Value) {
    for (list, field, what) in
        [("hostAliases", "ip", "duplicate ip"), ("imagePullSecrets", "name", "duplicate name")]
    {
        let mut seen = BTreeSet::new();
        for (at, item) in list_at(spec, &format!("/{list}")).iter().enumerate() {
            let value = str_at(item, &format!("/{field}"));
            if !seen.insert(value) {
                warnings.push(format!(
                    "{}: {what} {}",
                    path.child(list).index(at).child(field),
                    quoted(value)
                ));
            }
        }
    }
    for (at, secret) in list_at(spec, "/imagePullSecrets").iter().enumerate() {
        if str_at(secret, "/name").is_empty() {
            let path = path.child("imagePullSecrets");
            warnings.push(format!("{}: invalid empty name \"\"", path.index(at).child("name")));
        }
    }
}

/// Warns of an amount of bytes that is no whole number.
pub fn fractional(warnings: &mut Vec<String>, path: &Path<'_>, amounts: &Value, resource: &str) {
    let Some(amount) = amounts.get(resource) else { return };
    if Quantity::from_value(amount).is_ok_and(|quantity| quantity.nanos() % 1_000_000_000 != 0) {
        let shown = amount.as_str().map_or_else(|| amount.to_string(), ToOwned::to_owned);
        warnings.push(format!(
            "{}: fractional byte value {} is invalid, must be an integer",
            path.key(resource),
            quoted(&shown)
        ));
    }
}

/// A variable that is defined again, without speaking of its first value.
fn hidden_variables(warnings: &mut Vec<String>, path: &Path<'_>, container: &Value) {
    let mut seen = BTreeSet::new();
    for (at, variable) in list_at(container, "/env").iter().enumerate() {
        let (name, value) = (str_at(variable, "/name"), str_at(variable, "/value"));
        let reference = format!("$({name})");
        let hides = has(variable, "/valueFrom") || value == reference || !value.contains(&reference);
        if !seen.insert(name) && hides {
            warnings.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                path.child("env").index(at),
                quoted(name)
            ));
        }
    }
}

fn ports(warnings: &mut Vec<String>, spec_path: &Path<'_>, spec: &Value) {
    let mut seen: Vec<(String, &Value)> = Vec::new();
    for (path, container) in containers(spec) {
        let path = spec_path.child(&path);
        for (at, port) in list_at(container, "/ports").iter().enumerate() {
            let place = path.child("ports").index(at).to_string();
            let (ip, host) = (str_at(port, "/hostIP"), int_at(port, "/hostPort"));
            let (number, protocol) = (int_at(port, "/containerPort"), str_at(port, "/protocol"));
            if !ip.is_empty() && host == 0 {
                let name = str_at(port, "/name");
                warnings.push(format!(
                    "{place}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{number} Protocol:{protocol} HostIP:{ip}}}"
                ));
            }
            let same = |(_, other): &&(String, &Value)| {
                int_at(other, "/containerPort") == number && str_at(other, "/protocol") == protocol
            };
            for (other_place, other) in seen.iter().filter(same) {
                let (other_ip, other_host) = (str_at(other, "/hostIP"), int_at(other, "/hostPort"));
                let what = if ip == other_ip && host == other_host {
                    "duplicate"
                } else if host == 0 || other_host == 0 {
                    "overlapping"
                } else if host == other_host && ip.is_empty() != other_ip.is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                warnings.push(format!("{place}: {what} port definition with {other_place}"));
            }
            seen.push((place, port));
        }
    }
}

fn affinities(warnings: &mut Vec<String>, path: &Path<'_>, spec: &Value) {
    let affinity = path.child("affinity");
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = affinity.child(kind);
        for (field, below) in [
            ("requiredDuringSchedulingIgnoredDuringExecution", ""),
            ("preferredDuringSchedulingIgnoredDuringExecution", "/podAffinityTerm"),
        ] {
            let path = path.child(field);
            for (index, term) in list_at(spec, &format!("/affinity/{kind}/{field}")).iter().enumerate() {
                if !has(at(term, below), "/labelSelector") {
                    let below = below.replace('/', ".");
                    warnings.push(format!("{}{below}.labelSelector: {NO_SELECTOR}", path.index(index)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_variable_that_uses_its_first_value_hides_nothing() {
        let env = json!([
            {"name": "a", "value": "1"},
            {"name": "a", "value": "$(a)2"},
            {"name": "a", "value": "3"},
        ]);
        let pod = json!({"spec": {"containers": [{"name": "c", "env": env}]}});
        assert_eq!(
            warnings(&Path::ROOT, &pod),
            [
                "spec.containers[0].env[2]: hides previous definition of \"a\", which may be dropped when using apply"
            ]
        );
    }

    #[test]
    fn addresses_in_old_forms_are_told() {
        let pod = json!({"spec": {
            "dnsConfig": {"nameservers": ["10.0.0.1", "010.0.0.1"]},
            "hostAliases": [{"ip": "2001:DB8::1"}],
        }});
        assert_eq!(
            warnings(&Path::ROOT, &pod),
            [
                "spec.dnsConfig.nameservers[1]: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\"",
                "spec.hostAliases[0].ip: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
            ]
        );
    }

    #[test]
    fn templates_are_named_by_their_path() {
        let spec = json!({
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "containers": [{"name": "c", "resources": {"limits": {"memory": "100m"}}}],
            "volumes": [{"name": "v", "gitRepo": {}}],
        });
        let object = json!({"metadata": {"name": "a.b"}, "spec": {"template": {"spec": spec}}});
        assert_eq!(
            of_workload(&object, None, "spec.template"),
            [
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
                "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.template.spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
                "spec.template.spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            ]
        );
    }

    #[test]
    fn ports_that_overlap_are_told() {
        let ports = json!([
            {"containerPort": 80, "protocol": "TCP"},
            {"containerPort": 80, "protocol": "TCP"},
            {"containerPort": 80, "protocol": "TCP", "hostPort": 1, "hostIP": "10.0.0.1"},
        ]);
        let pod = json!({"spec": {"containers": [{"name": "c", "ports": ports}]}});
        assert_eq!(
            warnings(&Path::ROOT, &pod),
            [
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]",
            ]
        );
    }
}
