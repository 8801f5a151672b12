//! What the syncer has to know about its virtual cluster and its place on the host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use vkube_crds::NamespaceMap;

use crate::context::Kind;
use crate::dns::DnsOverrides;
use crate::network::NetworkBounds;
use crate::rules::Rules;

/// The settings of one syncer.
#[derive(Clone, Debug)]
pub struct Config {
    /// The virtual cluster's name; part of every host name and the value of the host label
    /// `vkube.dev/virtual-cluster`, so it is unique in the host namespace and never changes.
    pub cluster: String,

    /// The host namespace that receives the tenant's objects.
    pub host_namespace: String,

    /// Whether the virtual cluster has several control planes, of which one at a time synchronises.
    pub is_replicated: bool,

    /// Which virtual namespaces have namespaces of their own on the host. `None` = all share [`Config::host_namespace`].
    pub namespaces: Option<MappedNamespaces>,

    /// The DNS domain inside the virtual cluster.
    pub cluster_domain: String,

    /// The host Service (in the host namespace) in front of the virtual API server. Its cluster IP becomes the
    /// one of `default/kubernetes`; its port must be 443 for clients that do not read the environment.
    pub api_service: String,

    /// Where pods send DNS queries. `None` = the cluster IP of [`Config::api_service`], which then carries
    /// port 53 as well.
    pub dns_address: Option<IpAddr>,

    /// The host service account that tenant pods run as; no token of it is ever mounted. `None` = `default`.
    pub workload_service_account: Option<String>,

    /// Node labels that every tenant pod must select on the host.
    pub node_selector: BTreeMap<String, String>,

    /// Tolerations that every tenant pod gets on the host.
    pub tolerations: Vec<Toleration>,

    /// The host priority class of tenant pods; what tenants ask for is cleared, since their classes mean
    /// nothing on the host.
    pub priority_class: Option<String>,

    /// The host runtime class of tenant pods, in place of what they ask for.
    pub runtime_class: Option<String>,

    /// Whether Services keep `externalIPs`. Off by default: with them a tenant can catch other tenants' traffic.
    pub external_ips: bool,

    /// Label keys besides `vkube.dev/…` that mean something on the host; tenants' uses of them are renamed.
    pub reserved_labels: Vec<String>,

    /// What tenants see as nodes.
    pub nodes: NodeSync,

    /// Whether pods get their nodes in the virtual cluster, by a scheduler of its own: then the host gets a pod when it
    /// has one.
    pub schedules: bool,

    /// Which optional kinds reach the host.
    pub kinds: Kinds,

    /// What the host's own network policies allow. `None` = it has none, so tenants' policies mean what they say.
    pub network: Option<NetworkBounds>,

    /// Names that are answered otherwise than the virtual cluster and the host's resolvers do.
    pub dns: DnsOverrides,

    /// What is synchronised besides, and how.
    pub rules: Rules,

    /// Where pods get their images from, by what the tenants' image names begin with.
    pub images: Images,

    /// The kubelet version that synthetic nodes report; the version of the virtual API server.
    pub kubelet_version: String,

    /// Owner of all host objects, so that the host's garbage collector removes what a removed virtual cluster
    /// leaves behind. `None` when the whole namespace is removed with it.
    pub owner: Option<OwnerReference>,
}

impl Config {
    /// The usual settings for `cluster` in `host_namespace`.
    pub fn new(cluster: impl Into<String>, host_namespace: impl Into<String>) -> Self {
        let cluster = cluster.into();
        Self {
            api_service: cluster.clone(),
            cluster,
            host_namespace: host_namespace.into(),
            namespaces: None,
            is_replicated: false,
            cluster_domain: "cluster.local".into(),
            dns_address: None,
            workload_service_account: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            priority_class: None,
            runtime_class: None,
            external_ips: false,
            reserved_labels: Vec::new(),
            nodes: NodeSync::default(),
            schedules: false,
            kinds: Kinds::default(),
            network: None,
            dns: DnsOverrides::default(),
            rules: Rules::default(),
            images: Images::default(),
            kubelet_version: "v1.36.2".into(),
            owner: None,
        }
    }

    /// Whether a kind with code of its own is synchronised.
    pub(crate) fn syncs(&self, kind: Kind) -> bool {
        let default = match kind {
            Kind::Ingress => self.kinds.ingresses,
            Kind::NetworkPolicy => self.kinds.network_policies,
            Kind::PodDisruptionBudget => self.kinds.pod_disruption_budgets,
            _ => true,
        };
        self.rules.tuning(kind).map_or(default, |tuning| tuning.enabled)
    }

    /// Whether all objects of a kind are synchronised, and not only those that are referred to.
    pub(crate) fn syncs_all(&self, kind: Kind) -> bool {
        self.rules.tuning(kind).is_some_and(|tuning| tuning.all)
    }
}

/// Virtual namespaces that have namespaces of their own on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappedNamespaces {
    /// Which has which.
    pub map: NamespaceMap,
    /// Whether the others stay off the host, instead of sharing the cluster's own namespace there.
    pub only: bool,
}

/// What tenants see as nodes. A node appears in the virtual cluster while one of its pods runs there.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum NodeSync {
    /// None at all. Pods name the host's, as they run there.
    None,
    /// Made-up nodes of a generous size; needs no rights on the host beyond the namespace.
    #[default]
    Synthetic,
    /// Sanitised copies of the host's nodes; needs to get, list and watch nodes on the host.
    Used,
    /// Like `Used`, and besides all host nodes that the selector chooses, used or not. An empty one chooses all.
    Selected(LabelSelector),
}

/// Replacements of what image names begin with; the longest that fits wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images(BTreeMap<String, String>);

impl Images {
    /// Replacements by what they replace: a registry, a repository, or a whole image name.
    pub fn new(replacements: BTreeMap<String, String>) -> Self {
        Self(replacements)
    }

    /// Whether nothing is replaced.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The image to use for `image`, if it is another one. A name without a registry is one of `docker.io`.
    pub(crate) fn translate(&self, image: &str) -> Option<String> {
        let full = qualified(image);
        let fits = |from: &String| {
            [image, &full].into_iter().find_map(|name| {
                let rest = name.strip_prefix(from.as_str())?;
                let at_border = rest.is_empty() || from.ends_with('/') || rest.starts_with(['/', ':', '@']);
                at_border.then(|| rest.to_owned())
            })
        };
        let fitting = self.0.iter().filter_map(|(from, to)| Some((from.len(), to, fits(from)?)));
        fitting.max_by_key(|(length, ..)| *length).map(|(_, to, rest)| format!("{to}{rest}"))
    }
}

/// An image name with its registry.
fn qualified(image: &str) -> String {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => image.to_owned(),
        Some(_) => format!("docker.io/{image}"),
        None => format!("docker.io/library/{image}"),
    }
}

/// Optional kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// `networking.k8s.io/v1` Ingress.
    pub ingresses: bool,
    /// `networking.k8s.io/v1` NetworkPolicy.
    pub network_policies: bool,
    /// `policy/v1` PodDisruptionBudget.
    pub pod_disruption_budgets: bool,
}

impl Default for Kinds {
    fn default() -> Self {
        Self { ingresses: false, network_policies: false, pod_disruption_budgets: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(image: &str) -> Option<String> {
        let pairs =
            [("docker.io", "mirror.local/hub"), ("docker.io/library/nginx", "own/nginx"), ("a.b/c:1", "d:2")];
        Images::new(pairs.map(|(from, to)| (from.to_owned(), to.to_owned())).into()).translate(image)
    }

    #[test]
    fn the_longest_beginning_of_an_image_name_is_replaced() {
        assert_eq!(translated("nginx:1.27").as_deref(), Some("own/nginx:1.27"));
        assert_eq!(translated("busybox").as_deref(), Some("mirror.local/hub/library/busybox"));
        assert_eq!(translated("docker.io/x/y@sha256:0").as_deref(), Some("mirror.local/hub/x/y@sha256:0"));
        assert_eq!(translated("a.b/c:1").as_deref(), Some("d:2"));
    }

    #[test]
    fn a_beginning_ends_at_the_end_of_a_part() {
        assert_eq!(translated("a.b/c:11"), None);
        assert_eq!(translated("docker.io.example.com/x"), None);
    }
}
