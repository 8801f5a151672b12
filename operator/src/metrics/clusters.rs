//! What is reported of every single cluster.
//!
//! These series are made from the clusters' status for each scrape and forgotten after it: a cluster that is gone leaves
//! none behind, and between scrapes they cost no memory.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use vkube_crds::{Phase, VirtualCluster};

/// The conditions that say how a cluster is; the others say why.
const CONDITIONS: [&str; 4] = ["Ready", "Available", "Reconciling", "Stalled"];

/// Series of every single cluster.
#[derive(Default)]
pub struct ClusterMetrics {
    info: Family<Info, Gauge>,
    conditions: Family<OfCondition, Gauge>,
    certificates: Family<OfCertificate, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Info {
    namespace: String,
    name: String,
    phase: &'static str,
    version: String,
    policy: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCondition {
    namespace: String,
    name: String,
    r#type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCertificate {
    namespace: String,
    name: String,
    certificate: String,
}

impl ClusterMetrics {
    /// Makes the series known.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("virtualcluster_info", "What a cluster is; always 1", self.info.clone());
        registry.register(
            "virtualcluster_condition",
            "1 while a condition of a cluster is true",
            self.conditions.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "End of a cluster's certificate",
            self.certificates.clone(),
        );
    }

    /// Reports a cluster.
    pub fn report(&self, cluster: &VirtualCluster) {
        let status = cluster.status.clone().unwrap_or_default();
        let namespace = cluster.metadata.namespace.clone().unwrap_or_default();
        let name = cluster.metadata.name.clone().unwrap_or_default();
        let info = Info {
            namespace: namespace.clone(),
            name: name.clone(),
            phase: status.phase.unwrap_or(Phase::Pending).as_str(),
            version: status.version.unwrap_or_default(),
            policy: status.policy.map(|policy| policy.name).unwrap_or_default(),
        };
        self.info.get_or_create(&info).set(1);
        for r#type in CONDITIONS {
            let holds = status.conditions.iter().any(|one| one.type_ == r#type && one.status == "True");
            let labels = OfCondition { namespace: namespace.clone(), name: name.clone(), r#type };
            self.conditions.get_or_create(&labels).set(i64::from(holds));
        }
        for certificate in status.certificates {
            let Some(end) = certificate.not_after else { continue };
            let labels = OfCertificate {
                namespace: namespace.clone(),
                name: name.clone(),
                certificate: certificate.name,
            };
            self.certificates.get_or_create(&labels).set(end.0.as_second());
        }
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.info.clear();
        self.conditions.clear();
        self.certificates.clear();
    }
}
