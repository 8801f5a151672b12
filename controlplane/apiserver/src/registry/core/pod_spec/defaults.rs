//! Defaults of pod specs, in pods and in templates.

use serde_json::{Value, json};

use crate::registry::access::{
    at, bool_at, get_mut, has, int_at, list_mut, make_map, set, set_default, set_nonzero, str_at,
};
use crate::schema::quantity::Quantity;

/// Billionths in a thousandth.
const MILLI: i128 = 1_000_000;

/// Defaults of the pod template at `path` of a workload.
pub fn default_template(object: &mut Value, path: &str) {
    make_map(object, path);
    if let Some(template) = get_mut(object, path) {
        make_map(template, "/metadata");
        make_map(template, "/spec");
        if let Some(spec) = get_mut(template, "/spec") {
            default_spec(spec);
        }
    }
}

/// Defaults that pods and templates share.
pub fn default_spec(spec: &mut Value) {
    set_default(spec, "/dnsPolicy", "ClusterFirst");
    set_default(spec, "/restartPolicy", "Always");
    set_default(spec, "/terminationGracePeriodSeconds", 30);
    set_default(spec, "/schedulerName", "default-scheduler");
    make_map(spec, "/securityContext");
    default_service_account(spec);
    for list in ["/initContainers", "/containers", "/ephemeralContainers"] {
        list_mut(spec, list).for_each(default_container);
    }
    list_mut(spec, "/volumes").for_each(default_volume);
    default_resources(spec);
    round_up_quantities(spec, "/overhead");
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are shown.
pub fn default_service_account(spec: &mut Value) {
    let name = match str_at(spec, "/serviceAccountName") {
        "" => str_at(spec, "/serviceAccount"),
        name => name,
    };
    if !name.is_empty() {
        let name = name.to_owned();
        set(spec, "/serviceAccountName", name.as_str());
        set(spec, "/serviceAccount", name);
    }
}

/// Defaults of pods only, after those of [`default_spec`].
pub fn default_pod(spec: &mut Value) {
    for list in ["/initContainers", "/containers"] {
        for container in list_mut(spec, list) {
            request_what_is_limited(container);
        }
    }
    super::resources::default_pod_level(spec);
    set_default(spec, "/enableServiceLinks", true);
    if bool_at(spec, "/hostNetwork") {
        for list in ["/initContainers", "/containers"] {
            for port in list_mut(spec, list).flat_map(|c| list_mut(c, "/ports")) {
                set_nonzero(port, "/hostPort", int_at(port, "/containerPort"));
            }
        }
    }
}

fn request_what_is_limited(container: &mut Value) {
    let Some(limits) = at(container, "/resources/limits").as_object().cloned() else { return };
    let requests = make_map(container, "/resources/requests");
    for (resource, limit) in limits {
        requests.entry(resource).or_insert(limit);
    }
}

fn default_container(container: &mut Value) {
    if str_at(container, "/imagePullPolicy").is_empty() {
        let policy = default_pull_policy(str_at(container, "/image"));
        set(container, "/imagePullPolicy", policy);
    }
    set_default(container, "/terminationMessagePath", "/dev/termination-log");
    set_default(container, "/terminationMessagePolicy", "File");
    make_map(container, "/resources");
    default_resources(container);
    for port in list_mut(container, "/ports") {
        set_default(port, "/protocol", "TCP");
    }
    for variable in list_mut(container, "/env") {
        default_field_ref(variable, "/valueFrom");
    }
    for probe in ["/livenessProbe", "/readinessProbe", "/startupProbe"] {
        if let Some(probe) = get_mut(container, probe) {
            set_nonzero(probe, "/timeoutSeconds", 1);
            set_nonzero(probe, "/periodSeconds", 10);
            set_nonzero(probe, "/successThreshold", 1);
            set_nonzero(probe, "/failureThreshold", 3);
            default_http_get(probe);
            if has(probe, "/grpc") {
                set_default(probe, "/grpc/service", "");
            }
        }
    }
    for hook in ["/lifecycle/postStart", "/lifecycle/preStop"] {
        if let Some(hook) = get_mut(container, hook) {
            default_http_get(hook);
        }
    }
}

fn default_http_get(handler: &mut Value) {
    if has(handler, "/httpGet") {
        set_default(handler, "/httpGet/path", "/");
        set_default(handler, "/httpGet/scheme", "HTTP");
    }
}

fn default_field_ref(value: &mut Value, path: &str) {
    if let Some(source) = get_mut(value, path) {
        if has(source, "/fieldRef") {
            set_default(source, "/fieldRef/apiVersion", "v1");
        }
        if has(source, "/resourceFieldRef") {
            set_default(source, "/resourceFieldRef/divisor", "0");
        }
    }
}

fn default_resources(owner: &mut Value) {
    round_up_quantities(owner, "/resources/limits");
    round_up_quantities(owner, "/resources/requests");
}

/// Amounts are kept in thousandths at the finest.
pub fn round_up_quantities(owner: &mut Value, path: &str) {
    let Some(Value::Object(amounts)) = get_mut(owner, path) else { return };
    for amount in amounts.values_mut() {
        if let Ok(quantity) = Quantity::from_value(amount)
            && quantity.nanos() % MILLI != 0
        {
            *amount = Quantity::from_milli(quantity.milli_value(), quantity.format()).to_string().into();
        }
    }
}

fn default_volume(volume: &mut Value) {
    let sources = volume.as_object().map_or(0, |map| map.len() - usize::from(map.contains_key("name")));
    if sources == 0 {
        make_map(volume, "/emptyDir");
    }
    for source in ["/secret", "/configMap", "/downwardAPI", "/projected"] {
        if let Some(source) = get_mut(volume, source) {
            set_default(source, "/defaultMode", 0o644);
            default_projection_items(source);
        }
    }
    for source in list_mut(volume, "/projected/sources") {
        if has(source, "/serviceAccountToken") {
            set_default(source, "/serviceAccountToken/expirationSeconds", 3600);
        }
        if let Some(downward) = get_mut(source, "/downwardAPI") {
            default_projection_items(downward);
        }
    }
    if has(volume, "/hostPath") {
        set_default(volume, "/hostPath/type", "");
    }
    if has(volume, "/image") && str_at(volume, "/image/pullPolicy").is_empty() {
        let policy = default_pull_policy(str_at(volume, "/image/reference"));
        set(volume, "/image/pullPolicy", policy);
    }
    if has(volume, "/ephemeral/volumeClaimTemplate") {
        set_default(volume, "/ephemeral/volumeClaimTemplate/spec/volumeMode", "Filesystem");
    }
    default_legacy_volume(volume);
}

fn default_projection_items(source: &mut Value) {
    for item in list_mut(source, "/items") {
        if has(item, "/fieldRef") {
            set_default(item, "/fieldRef/apiVersion", "v1");
        }
        if has(item, "/resourceFieldRef") {
            set_default(item, "/resourceFieldRef/divisor", "0");
        }
    }
}

/// Defaults of in-tree volumes, of pods and of persistent volumes alike.
pub fn default_legacy_volume(volume: &mut Value) {
    let defaults = [
        ("/iscsi", json!({"iscsiInterface": "default"})),
        ("/rbd", json!({"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"})),
        (
            "/azureDisk",
            json!({"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": false, "kind": "Shared"}),
        ),
        ("/scaleIO", json!({"storageMode": "ThinProvisioned", "fsType": "xfs"})),
    ];
    for (source, fields) in defaults {
        if let (Some(source), Value::Object(fields)) = (get_mut(volume, source), fields) {
            for (field, value) in fields {
                set_default(source, &format!("/{field}"), value);
            }
        }
    }
}

/// `Always` for images that are `latest`, said or not.
fn default_pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let (domain, rest) = name.split_once('/').unwrap_or(("", name));
    let path = if domain.contains(['.', ':']) || domain == "localhost" { rest } else { name };
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (path, None),
    };
    let is_reference = !path.is_empty() && !path.chars().any(|c| c.is_ascii_uppercase() || c.is_whitespace());
    match (tag, digest) {
        (Some("latest"), _) | (None, None) if is_reference => "Always",
        _ => "IfNotPresent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_images_are_always_pulled() {
        let always = ["nginx", "nginx:latest", "localhost:5000/a/b", "registry.example.com/a:latest"];
        let if_absent = ["nginx:1", "localhost:5000/a:v1", "x@sha256:0123", "", "Nginx"];
        assert!(always.iter().all(|image| default_pull_policy(image) == "Always"));
        assert!(if_absent.iter().all(|image| default_pull_policy(image) == "IfNotPresent"));
    }

    #[test]
    fn a_volume_without_source_is_an_empty_directory() {
        let mut spec = json!({"volumes": [{"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}]});
        default_spec(&mut spec);
        assert_eq!(spec["volumes"][0], json!({"name": "a", "emptyDir": {}}));
        assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], 420);
    }

    #[test]
    fn defaults_are_stable() {
        let mut once = json!({
            "serviceAccount": "x",
            "hostNetwork": true,
            "containers": [{
                "name": "a", "image": "i",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}},
                "livenessProbe": {"httpGet": {"port": 80}},
            }],
        });
        default_spec(&mut once);
        default_pod(&mut once);
        let mut twice = once.clone();
        default_spec(&mut twice);
        default_pod(&mut twice);
        assert_eq!(once, twice);
        assert_eq!(once["containers"][0]["ports"][0]["hostPort"], 80);
        assert_eq!(once["containers"][0]["resources"]["requests"]["cpu"], "1");
        assert_eq!(once["serviceAccountName"], "x");
    }
}
