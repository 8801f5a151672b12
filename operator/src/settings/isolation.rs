//! Bounds of the workloads.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;

use vkube_crds::{PodSecurity, Quantity};

use super::quantities;

type Amounts = BTreeMap<String, Quantity>;

/// Bounds of the workloads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Isolation {
    /// Totals; `None` if switched off.
    pub quota: Option<Quota>,
    /// Bounds of a container; `None` if switched off.
    pub limits: Option<Limits>,
    /// Who may talk to whom; `None` if switched off.
    pub network: Option<Network>,
    /// Pod Security Standard.
    pub pod_security: PodSecurity,
}

/// Totals, split as Kubernetes has it: a quota with a scope may count only what pods consume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// What pods other than the control plane consume.
    pub compute: Amounts,
    /// Everything else.
    pub objects: Amounts,
}

/// Bounds of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Limits where none are stated.
    pub default: Amounts,
    /// Requests where none are stated.
    pub default_request: Amounts,
    /// The least.
    pub min: Amounts,
    /// The most.
    pub max: Amounts,
}

/// Who may talk to the workloads, and to whom they may talk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Address blocks they may reach, each with its exceptions.
    pub egress: Vec<Block>,
    /// Address blocks that may reach them.
    pub ingress: Vec<String>,
    /// Host namespaces that may reach them.
    pub namespaces: Vec<String>,
}

/// An address block and what is excepted from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The block.
    pub cidr: String,
    /// Blocks within it that stay out of reach.
    pub except: Vec<String>,
}

/// Totals of a cluster that says nothing of them: room for a team, not for an accident.
const DEFAULT_TOTALS: [(&str, &str); 13] = [
    ("count/configmaps", "500"),
    ("count/ingresses.networking.k8s.io", "50"),
    ("count/secrets", "500"),
    ("count/services", "100"),
    ("limits.cpu", "40"),
    ("limits.memory", "80Gi"),
    ("persistentvolumeclaims", "50"),
    ("pods", "100"),
    ("requests.cpu", "20"),
    ("requests.memory", "40Gi"),
    ("requests.storage", "500Gi"),
    ("services.loadbalancers", "5"),
    ("services.nodeports", "10"),
];

/// What a quota scoped by priority class may count.
const SCOPED: [&str; 7] =
    ["cpu", "limits.cpu", "limits.memory", "memory", "pods", "requests.cpu", "requests.memory"];

const DEFAULT_LIMITS: [(&str, &str); 2] = [("cpu", "1"), ("memory", "512Mi")];
const DEFAULT_REQUESTS: [(&str, &str); 2] = [("cpu", "50m"), ("memory", "64Mi")];

/// Private, shared and unique-local ranges: the host's own network, most likely.
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Link-local ranges, where clouds hand out credentials. Never reachable.
pub const METADATA: [&str; 3] = ["169.254.0.0/16", "fd00:ec2::254/128", "fe80::/10"];

/// Checks the section and fills in what is open.
pub fn validate(
    asked: Option<&vkube_crds::Isolation>,
    bounds: &Amounts,
    wrong: &mut Vec<String>,
) -> Isolation {
    let asked = asked.cloned().unwrap_or_default();
    let totals = asked.resource_quota.unwrap_or_default();
    quantities("isolation.resourceQuota.hard", &totals.hard, wrong);
    let limits = asked.limit_range.unwrap_or_default();
    for (path, map) in [
        ("default", &limits.default),
        ("defaultRequest", &limits.default_request),
        ("min", &limits.min),
        ("max", &limits.max),
    ] {
        quantities(&format!("isolation.limitRange.{path}"), map, wrong);
    }
    for (low, high, lower, upper) in [
        ("min", "max", &limits.min, &limits.max),
        ("default", "max", &limits.default, &limits.max),
        ("defaultRequest", "default", &limits.default_request, &limits.default),
    ] {
        for (name, amount) in lower {
            if upper.get(name).and_then(|upper| amount.compare(upper)) == Some(Ordering::Greater) {
                wrong.push(format!("isolation.limitRange: {low} of {name} is above its {high}"));
            }
        }
    }
    Isolation {
        quota: quota(&totals, bounds),
        limits: (limits.enabled != Some(false)).then(|| Limits {
            default: bounded_defaults(&limits.default, &DEFAULT_LIMITS, &limits.min, &limits.max),
            default_request: bounded_defaults(
                &limits.default_request,
                &DEFAULT_REQUESTS,
                &limits.min,
                // Without a limit of its own a container gets the default one, which its request must not exceed.
                if limits.default.is_empty() { &limits.max } else { &limits.default },
            ),
            min: limits.min,
            max: limits.max,
        }),
        network: network(asked.network_policy.unwrap_or_default(), wrong),
        pod_security: asked.pod_security.unwrap_or_default(),
    }
}

/// Adds the built-in defaults where none are given, moved into the bounds given.
fn bounded_defaults(given: &Amounts, defaults: &[(&str, &str)], min: &Amounts, max: &Amounts) -> Amounts {
    let mut amounts = given.clone();
    for (name, default) in defaults {
        let mut amount = Quantity::from(*default);
        if let Some(most) = max.get(*name).filter(|most| amount.compare(most) == Some(Ordering::Greater)) {
            amount = most.clone();
        }
        if let Some(least) = min.get(*name).filter(|least| amount.compare(least) == Some(Ordering::Less)) {
            amount = least.clone();
        }
        amounts.entry((*name).to_owned()).or_insert(amount);
    }
    amounts
}

/// The built-in totals, replaced by the cluster's, cut to the policy's bounds. Where the cluster wants no quota only
/// the bounds remain.
fn quota(asked: &vkube_crds::ResourceQuota, bounds: &Amounts) -> Option<Quota> {
    let mut totals = Amounts::new();
    if asked.enabled != Some(false) {
        totals.extend(DEFAULT_TOTALS.map(|(name, amount)| (name.to_owned(), amount.into())));
        totals.extend(asked.hard.clone());
    } else if bounds.is_empty() {
        return None;
    }
    for (name, bound) in bounds {
        let total = totals.entry(name.clone()).or_insert_with(|| bound.clone());
        if total.compare(bound) == Some(Ordering::Greater) {
            *total = bound.clone();
        }
    }
    let (compute, objects) = totals.into_iter().partition(|(name, _)| SCOPED.contains(&name.as_str()));
    Some(Quota { compute, objects })
}

fn network(asked: vkube_crds::NetworkPolicy, wrong: &mut Vec<String>) -> Option<Network> {
    let all = || vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
    let egress = asked.egress_cidrs.unwrap_or_else(all);
    let private = || PRIVATE.map(ToOwned::to_owned).to_vec();
    let except = asked.egress_except_cidrs.unwrap_or_else(private);
    for (path, blocks) in
        [("egressCIDRs", &egress), ("egressExceptCIDRs", &except), ("ingressCIDRs", &asked.ingress_cidrs)]
    {
        for block in blocks {
            cidr(&format!("isolation.networkPolicy.{path}"), block, wrong);
        }
    }
    if asked.enabled == Some(false) {
        return None;
    }
    let out_of_reach: Vec<&str> = except.iter().map(String::as_str).chain(METADATA).collect();
    let blocks = egress.into_iter().filter_map(|block| reachable(block, &out_of_reach)).collect();
    Some(Network { egress: blocks, ingress: asked.ingress_cidrs, namespaces: asked.ingress_namespaces })
}

/// The block without what is out of reach; `None` if nothing is left. Kubernetes wants exceptions to lie strictly
/// within their block.
fn reachable(cidr: String, out_of_reach: &[&str]) -> Option<Block> {
    let (address, length) = parse(&cidr)?;
    let mut except = Vec::new();
    for other in out_of_reach {
        let Some((other_address, other_length)) = parse(other) else { continue };
        if !within(other_address, address, length.min(other_length)) {
            continue;
        }
        if other_length <= length {
            return None;
        }
        except.push((*other).to_owned());
    }
    except.sort();
    except.dedup();
    Some(Block { cidr, except })
}

/// Complains about a block that is not one.
pub fn cidr(path: &str, text: &str, wrong: &mut Vec<String>) {
    if parse(text).is_none() {
        wrong.push(format!("{path}: {text:?} is not an address block such as 10.0.0.0/8"));
    }
}

fn parse(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

/// Whether both addresses share their first `length` bits.
fn within(left: IpAddr, right: IpAddr, length: u8) -> bool {
    let differ = match (left, right) {
        (IpAddr::V4(left), IpAddr::V4(right)) => u128::from(left.to_bits() ^ right.to_bits()) << 96,
        (IpAddr::V6(left), IpAddr::V6(right)) => left.to_bits() ^ right.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= u32::from(length)
}
