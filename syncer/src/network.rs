//! How far the host lets the tenant's traffic go.
//!
//! Policies of one namespace add up, so what a tenant allows must be within what the host allows; and where a tenant
//! isolates a pod, the host's own permission must step back. See `isolation.networkPolicy` of a VirtualCluster.

use ipnet::IpNet;
use serde::Deserialize;

/// Host label of a pod: a policy of the tenant's says who may reach it, so the host's permission does not count.
pub(crate) const TENANT_INGRESS: &str = "vkube.dev/tenant-ingress";
/// Host label of a pod: a policy of the tenant's says whom it may reach.
pub(crate) const TENANT_EGRESS: &str = "vkube.dev/tenant-egress";

/// What the host's own policies allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkBounds {
    /// Addresses outside that pods may reach.
    #[serde(default)]
    pub egress: Vec<Block>,
    /// Addresses outside that may reach pods.
    #[serde(default)]
    pub ingress: Vec<Block>,
    /// Host namespaces whose pods may reach pods.
    #[serde(default)]
    pub namespaces: Vec<String>,
}

/// A block of addresses without some of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Block {
    /// The block.
    pub cidr: IpNet,
    /// What does not belong to it.
    #[serde(default)]
    pub except: Vec<IpNet>,
}

impl Block {
    /// What both blocks have in common. Blocks are nested or apart, so it is the smaller one without what either leaves
    /// out.
    pub fn within(&self, other: &Self) -> Option<Self> {
        let cidr = if other.cidr.contains(&self.cidr) {
            self.cidr
        } else if self.cidr.contains(&other.cidr) {
            other.cidr
        } else {
            return None;
        };
        let mut except = Vec::new();
        for hole in self.except.iter().chain(&other.except) {
            if hole.contains(&cidr) {
                return None;
            }
            if cidr.contains(hole) && !except.contains(hole) {
                except.push(*hole);
            }
        }
        Some(Self { cidr, except })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(cidr: &str, except: &[&str]) -> Block {
        Block {
            cidr: cidr.parse().unwrap(),
            except: except.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn what_blocks_have_in_common_lacks_what_either_leaves_out() {
        let all = block("0.0.0.0/0", &["10.0.0.0/8", "169.254.0.0/16"]);
        assert_eq!(
            block("192.0.2.0/24", &["192.0.2.1/32"]).within(&all),
            Some(block("192.0.2.0/24", &["192.0.2.1/32"]))
        );
        assert_eq!(block("0.0.0.0/0", &[]).within(&all), Some(all.clone()));
        assert_eq!(block("10.1.0.0/16", &[]).within(&all), None);
        assert_eq!(block("fd00::/8", &[]).within(&all), None);
        assert_eq!(all.within(&block("192.0.2.0/24", &[])), Some(block("192.0.2.0/24", &[])));
    }
}
