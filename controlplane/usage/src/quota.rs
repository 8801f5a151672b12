//! What an object uses, in the names that quotas have for it, and which quotas count it.
//!
//! Source: <https://kubernetes.io/docs/concepts/policy/resource-quotas/>.

mod scopes;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Amounts;
use crate::document::{at, entries, has, list_at, map_at, opt_int, opt_str, str_at};
use crate::pod::{amounts, effective, is_extended, is_huge_page};
use crate::quantity::{Format, Quantity};

pub use scopes::matches;

/// Core resources that have a count under their own name.
const PLAIN: &[&str] = &["configmaps", "secrets", "replicationcontrollers", "resourcequotas"];
/// What pods must specify where a quota limits it.
const COMPUTE: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const CLASS_SUFFIX: &str = ".storageclass.storage.k8s.io/";
/// What the name of a device class precedes (KEP-4381).
const DEVICES_SUFFIX: &str = ".deviceclass.resource.k8s.io/devices";
/// The most devices that a claim is given, for requests of all there are.
const ALL_DEVICES: i64 = 32;

fn one() -> Quantity {
    number(1)
}

fn number(value: i64) -> Quantity {
    Quantity::new(value, Format::Decimal)
}

/// A kind of objects, as its collection is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource<'a> {
    /// The group; empty for core.
    pub group: &'a str,
    /// The plural name.
    pub plural: &'a str,
}

impl Resource<'static> {
    /// Pods.
    pub const PODS: Self = Self::core("pods");
    /// Services.
    pub const SERVICES: Self = Self::core("services");
    /// Claims for volumes.
    pub const VOLUME_CLAIMS: Self = Self::core("persistentvolumeclaims");
    /// Claims for devices.
    pub const DEVICE_CLAIMS: Self = Self { group: "resource.k8s.io", plural: "resourceclaims" };
}

impl<'a> Resource<'a> {
    /// A resource of the core group.
    pub const fn core(plural: &'a str) -> Self {
        Self { group: "", plural }
    }

    /// Its name in `count/…`.
    fn count_name(self) -> String {
        if self.group.is_empty() {
            format!("count/{}", self.plural)
        } else {
            format!("count/{}.{}", self.plural, self.group)
        }
    }
}

/// The resources whose objects use more than a place in a count.
pub const MEASURED: [Resource<'static>; 4] =
    [Resource::PODS, Resource::SERVICES, Resource::VOLUME_CLAIMS, Resource::DEVICE_CLAIMS];

/// What an object uses.
pub fn of(resource: Resource<'_>, object: &Value) -> Amounts {
    let mut usage = Amounts::from([(resource.count_name(), one())]);
    if resource == Resource::DEVICE_CLAIMS {
        devices(object, &mut usage);
    }
    if !resource.group.is_empty() {
        return usage;
    }
    match resource.plural {
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

/// Whether a name in a quota is about this kind of object, one of [`MEASURED`].
pub fn belongs(resource: Resource<'_>, name: &str) -> bool {
    let plural = resource.plural;
    if (resource.group.is_empty() && name == plural) || name == resource.count_name() {
        return true;
    }
    match plural {
        "resourceclaims" => name.ends_with(DEVICES_SUFFIX),
        "services" => name.starts_with("services."),
        "persistentvolumeclaims" => name == "requests.storage" || name.contains(CLASS_SUFFIX),
        _ => {
            let plain =
                name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
            name != "requests.storage"
                && !name.contains(CLASS_SUFFIX)
                && !name.ends_with(DEVICES_SUFFIX)
                && (matches!(plain, "cpu" | "memory" | "ephemeral-storage")
                    || plain != name
                    || is_huge_page(plain))
        }
    }
}

/// The resource whose objects a name counts, where nothing else of them matters.
pub fn counted(name: &str) -> Option<Resource<'_>> {
    if PLAIN.contains(&name) {
        return Some(Resource::core(name));
    }
    let resource = name.strip_prefix("count/")?;
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let resource = Resource { group, plural };
    (!MEASURED.contains(&resource)).then_some(resource)
}

/// The sum of what `objects` use of what `hard` limits; zero where they use nothing.
pub fn total<'a>(
    hard: &Amounts,
    quota: &Value,
    objects: impl IntoIterator<Item = (Resource<'a>, &'a Value)>,
) -> Amounts {
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    for (resource, object) in objects {
        if !matches(quota, resource, object) {
            continue;
        }
        for (name, amount) in of(resource, object) {
            if let Some(used) = used.get_mut(&name) {
                used.add(&amount);
            }
        }
    }
    used
}

/// The limits of a quota.
pub fn limits(quota: &Value) -> Amounts {
    amounts(quota, "/spec/hard")
}

fn pod(pod: &Value, usage: &mut Amounts) {
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
pub fn unspecified(pod: &Value, hard: &Amounts) -> Option<String> {
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

/// The devices that a claim asks for, by class; of alternatives, the most that any of them takes of each class.
fn devices(claim: &Value, usage: &mut Amounts) {
    for request in list_at(claim, "/spec/devices/requests") {
        let alternatives = list_at(request, "/firstAvailable");
        let exactly = std::slice::from_ref(at(request, "/exactly"));
        let wishes = if alternatives.is_empty() { exactly } else { alternatives };
        let mut most = BTreeMap::<&str, i64>::new();
        for wish in wishes {
            let count = match str_at(wish, "/allocationMode") {
                "All" => ALL_DEVICES,
                _ => opt_int(wish, "/count").unwrap_or(1),
            };
            let known = most.entry(str_at(wish, "/deviceClassName")).or_default();
            *known = (*known).max(count);
        }
        for (class, count) in most {
            usage.entry(format!("{class}{DEVICES_SUFFIX}")).or_insert(Quantity::ZERO).add(&number(count));
        }
    }
}

fn service(service: &Value, usage: &mut Amounts) {
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

fn claim(claim: &Value, usage: &mut Amounts) {
    usage.insert("persistentvolumeclaims".into(), one());
    let annotations = map_at(claim, "/metadata/annotations");
    let class = annotations
        .and_then(|all| all.get("volume.beta.kubernetes.io/storage-class"))
        .and_then(Value::as_str)
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

#[cfg(test)]
mod tests;
