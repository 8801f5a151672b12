//! What an object uses, in the names that quotas have for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Usage, count_name};
use crate::{
    admission::default_classes::annotation,
    registry::{
        access::{at, entries, has, list_at, opt_str, str_at},
        core::pod_spec::{effective, is_extended, is_huge_page},
    },
    resource::Definition,
    schema::quantity::{Format, Quantity},
};

/// Core resources that have a count under their own name.
const PLAIN: &[&str] = &["configmaps", "secrets", "replicationcontrollers", "resourcequotas"];
/// What pods must specify where a quota limits it.
const COMPUTE: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const CLASS_SUFFIX: &str = ".storageclass.storage.k8s.io/";

fn one() -> Quantity {
    number(1)
}

fn number(value: i64) -> Quantity {
    Quantity::new(value, Format::Decimal)
}

/// What an object uses.
pub fn of(definition: &Definition, object: &Value) -> Usage {
    let mut usage = Usage::from([(count_name(definition), one())]);
    if !definition.group().is_empty() {
        return usage;
    }
    match definition.plural() {
        "pods" => pod(object, &mut usage),
        "services" => service(object, &mut usage),
        "persistentvolumeclaims" => claim(object, &mut usage),
        plural if PLAIN.contains(&plural) => {
            usage.insert(plural.into(), one());
        }
        _ => {}
    }
    usage
}

/// Whether a name in a quota is about this kind of object, of those that are not merely counted.
pub fn belongs(plural: &str, name: &str) -> bool {
    if name == plural || name.strip_prefix("count/") == Some(plural) {
        return true;
    }
    match plural {
        "services" => name.starts_with("services."),
        "persistentvolumeclaims" => name == "requests.storage" || name.contains(CLASS_SUFFIX),
        _ => {
            let plain =
                name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
            name != "requests.storage"
                && !name.contains(CLASS_SUFFIX)
                && (matches!(plain, "cpu" | "memory" | "ephemeral-storage")
                    || plain != name
                    || is_huge_page(plain))
        }
    }
}

/// The plural and group of the objects that a name counts, where nothing else of them matters.
pub fn counted(name: &str) -> Option<(&str, &str)> {
    if PLAIN.contains(&name) {
        return Some((name, ""));
    }
    let (plural, group) = {
        let resource = name.strip_prefix("count/")?;
        resource.split_once('.').unwrap_or((resource, ""))
    };
    let special = group.is_empty() && matches!(plural, "pods" | "services" | "persistentvolumeclaims");
    (!special).then_some((plural, group))
}

fn pod(pod: &Value, usage: &mut Usage) {
    if matches!(str_at(pod, "/status/phase"), "Succeeded" | "Failed") {
        return;
    }
    usage.insert("pods".into(), one());
    let spec = at(pod, "/spec");
    for (name, amount) in needs(spec, "/resources/requests") {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || is_huge_page(&name) {
            usage.insert(name.clone(), amount.clone());
            usage.insert(format!("requests.{name}"), amount);
        } else if is_extended(&name) {
            usage.insert(format!("requests.{name}"), amount);
        }
    }
    for (name, amount) in needs(spec, "/resources/limits") {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), amount);
        }
    }
}

/// What a pod needs: its containers together, or what it says for the whole pod, and its overhead.
fn needs(spec: &Value, path: &str) -> BTreeMap<String, Quantity> {
    let parse = |(name, amount): (&String, &Value)| Some((name.clone(), Quantity::from_value(amount).ok()?));
    let mut needs = effective(spec, path);
    needs.extend(entries(spec, path).filter_map(parse));
    for (name, amount) in entries(spec, "/overhead").filter_map(parse) {
        if path == "/resources/requests" || needs.contains_key(&name) {
            needs.entry(name).or_insert(Quantity::ZERO).add(&amount);
        }
    }
    needs
}

/// The resources that the quota limits and containers of the pod do not specify.
pub fn unspecified(pod: &Value, hard: &Usage) -> Option<String> {
    let wanted: Vec<&str> = COMPUTE.iter().copied().filter(|name| hard.contains_key(*name)).collect();
    if wanted.is_empty() || matches!(str_at(pod, "/status/phase"), "Succeeded" | "Failed") {
        return None;
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let containers = list_at(pod, "/spec/containers").iter().chain(list_at(pod, "/spec/initContainers"));
    for container in containers {
        for name in &wanted {
            let path = match name.split_once('.') {
                Some((kind, resource)) => format!("/{kind}/{resource}"),
                None => format!("/requests/{name}"),
            };
            let specified = |owner: &Value| has(owner, &format!("/resources{path}"));
            if !specified(container) && !specified(at(pod, "/spec")) {
                missing.entry(name).or_default().insert(str_at(container, "/name"));
            }
        }
    }
    let shown = missing.iter().map(|(name, containers)| {
        format!("{name} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
    });
    Some(shown.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
}

fn service(service: &Value, usage: &mut Usage) {
    usage.insert("services".into(), one());
    let ports = i64::try_from(list_at(service, "/spec/ports").len()).unwrap_or(i64::MAX);
    let allocates = at(service, "/spec/allocateLoadBalancerNodePorts").as_bool().unwrap_or(true);
    match str_at(service, "/spec/type") {
        "NodePort" => {
            usage.insert("services.nodeports".into(), number(ports));
        }
        "LoadBalancer" => {
            usage.insert("services.loadbalancers".into(), one());
            if allocates {
                usage.insert("services.nodeports".into(), number(ports));
            } else {
                let fixed = list_at(service, "/spec/ports").iter().filter(|p| has(p, "/nodePort")).count();
                usage.insert("services.nodeports".into(), number(i64::try_from(fixed).unwrap_or(0)));
            }
        }
        _ => {}
    }
    usage.retain(|_, amount| !amount.is_zero());
}

fn claim(claim: &Value, usage: &mut Usage) {
    usage.insert("persistentvolumeclaims".into(), one());
    let class = annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .or_else(|| opt_str(claim, "/spec/storageClassName"))
        .unwrap_or_default();
    if !class.is_empty() {
        usage.insert(format!("{class}{CLASS_SUFFIX}persistentvolumeclaims"), one());
    }
    if let Ok(size) = Quantity::from_value(at(claim, "/spec/resources/requests/storage"))
        && !size.is_zero()
    {
        if !class.is_empty() {
            usage.insert(format!("{class}{CLASS_SUFFIX}requests.storage"), size.clone());
        }
        usage.insert("requests.storage".into(), size);
    }
}
