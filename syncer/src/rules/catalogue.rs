//! Kinds that can be synchronised by naming them: one row each.
//!
//! A kind without a row is a custom resource: it is found by its name on the host, and its schema is copied.

use crate::context::Kind;

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Namespaced,
    Cluster,
}

/// Who serves a kind in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// Every API server.
    BuiltIn,
    /// Whoever has installed its definition.
    Defined,
    /// Every API server; this crate has code of its own for it.
    Coded(Kind),
    /// The host's metrics-server, each time that somebody asks; nothing is stored.
    Measured,
}

/// The ways that a kind may be synchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ways {
    ToHost,
    FromHost,
    Both,
}

/// A kind and how it differs from a plain copy.
#[derive(Debug)]
pub(crate) struct Known {
    /// `plural.group`, as definitions are named.
    pub resource: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub place: Place,
    pub served: Served,
    pub ways: Ways,
    /// Whether the host's status is shown in the virtual cluster, or the other way round.
    pub status: bool,
    /// Paths at which an object names others, and of what kind those are.
    pub references: &'static [(&'static str, &'static str)],
    /// Paths that mean something on the other side only, or would tell too much.
    pub dropped: &'static [&'static str],
    /// Paths that tenants must not use on the host.
    pub refused: &'static [&'static str],
    /// Paths that the host does not show.
    pub hidden: &'static [&'static str],
    /// The path that names a class of the host, the resource that the class is of, and what it is called.
    pub class: Option<(&'static str, &'static str, &'static str)>,
}

const PLAIN: Known = Known {
    resource: "",
    version: "v1",
    kind: "",
    place: Place::Namespaced,
    served: Served::BuiltIn,
    ways: Ways::Both,
    status: false,
    references: &[],
    dropped: &[],
    refused: &[],
    hidden: &[],
    class: None,
};

const fn coded(resource: &'static str, kind: Kind, name: &'static str, ways: Ways) -> Known {
    Known { resource, kind: name, served: Served::Coded(kind), ways, ..PLAIN }
}

/// A class, by which other objects choose an implementation; it has the same name on both sides.
const fn class(resource: &'static str, kind: &'static str) -> Known {
    Known { resource, kind, place: Place::Cluster, ways: Ways::FromHost, ..PLAIN }
}

const fn route(resource: &'static str, kind: &'static str, version: &'static str) -> Known {
    Known {
        resource,
        kind,
        version,
        served: Served::Defined,
        ways: Ways::ToHost,
        status: true,
        references: &[
            ("spec.parentRefs[*]", "Gateway"),
            ("spec.rules[*].backendRefs[*]", "Service"),
            ("spec.rules[*].filters[*].requestMirror.backendRef", "Service"),
            ("spec.rules[*].backendRefs[*].filters[*].requestMirror.backendRef", "Service"),
        ],
        ..PLAIN
    }
}

/// Resource usage.
pub(crate) const METRICS: &str = "pods.metrics.k8s.io";

pub(crate) const STORAGE_CLASSES: &str = "storageclasses.storage.k8s.io";
pub(crate) const PERSISTENT_VOLUMES: &str = "persistentvolumes";
const SNAPSHOT_CLASSES: &str = "volumesnapshotclasses.snapshot.storage.k8s.io";
const SNAPSHOT_CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
const GATEWAY_CLASSES: &str = "gatewayclasses.gateway.networking.k8s.io";

/// Cluster-scoped kinds that other objects name, and their resources. Their names are translated where a rule takes them
/// to the host, and are the host's otherwise.
pub(crate) const NAMED_GLOBALLY: [(&str, &str); 3] = [
    ("StorageClass", STORAGE_CLASSES),
    ("VolumeSnapshotContent", SNAPSHOT_CONTENTS),
    ("PersistentVolume", PERSISTENT_VOLUMES),
];

/// All rows.
pub(crate) const KNOWN: &[Known] = &[
    coded("pods", Kind::Pod, "Pod", Ways::ToHost),
    coded("services", Kind::Service, "Service", Ways::Both),
    coded("endpoints", Kind::Endpoints, "Endpoints", Ways::ToHost),
    coded("endpointslices.discovery.k8s.io", Kind::EndpointSlice, "EndpointSlice", Ways::ToHost),
    coded("persistentvolumeclaims", Kind::PersistentVolumeClaim, "PersistentVolumeClaim", Ways::ToHost),
    coded("ingresses.networking.k8s.io", Kind::Ingress, "Ingress", Ways::ToHost),
    coded("networkpolicies.networking.k8s.io", Kind::NetworkPolicy, "NetworkPolicy", Ways::ToHost),
    coded("poddisruptionbudgets.policy", Kind::PodDisruptionBudget, "PodDisruptionBudget", Ways::ToHost),
    coded("configmaps", Kind::ConfigMap, "ConfigMap", Ways::Both),
    coded("secrets", Kind::Secret, "Secret", Ways::Both),
    // The host's own accounts carry its rights, so they are no one else's.
    Known {
        resource: "serviceaccounts",
        kind: "ServiceAccount",
        ways: Ways::ToHost,
        dropped: &["secrets", "imagePullSecrets", "automountServiceAccountToken"],
        ..PLAIN
    },
    Known { ways: Ways::Both, ..class(STORAGE_CLASSES, "StorageClass") },
    // Volumes on the host's own disks would be a way out of the virtual cluster.
    Known {
        resource: PERSISTENT_VOLUMES,
        kind: "PersistentVolume",
        place: Place::Cluster,
        ways: Ways::ToHost,
        status: true,
        references: &[
            ("spec.claimRef", "PersistentVolumeClaim"),
            ("spec.storageClassName", "StorageClass"),
            ("spec.csi.nodePublishSecretRef", "Secret"),
            ("spec.csi.nodeStageSecretRef", "Secret"),
            ("spec.csi.controllerPublishSecretRef", "Secret"),
            ("spec.csi.controllerExpandSecretRef", "Secret"),
            ("spec.csi.nodeExpandSecretRef", "Secret"),
        ],
        dropped: &["spec.claimRef.uid", "spec.claimRef.resourceVersion"],
        refused: &["spec.hostPath", "spec.local"],
        ..PLAIN
    },
    class("ingressclasses.networking.k8s.io", "IngressClass"),
    Known { ways: Ways::Both, ..class("runtimeclasses.node.k8s.io", "RuntimeClass") },
    class("deviceclasses.resource.k8s.io", "DeviceClass"),
    class("csidrivers.storage.k8s.io", "CSIDriver"),
    class("csinodes.storage.k8s.io", "CSINode"),
    // A tenant's default is not the host's, nor the other way round.
    Known {
        ways: Ways::Both,
        dropped: &["globalDefault"],
        ..class("priorityclasses.scheduling.k8s.io", "PriorityClass")
    },
    Known {
        resource: "csistoragecapacities.storage.k8s.io",
        kind: "CSIStorageCapacity",
        ways: Ways::FromHost,
        ..PLAIN
    },
    Known {
        resource: "resourceclaims.resource.k8s.io",
        kind: "ResourceClaim",
        ways: Ways::ToHost,
        status: true,
        ..PLAIN
    },
    Known {
        resource: "resourceclaimtemplates.resource.k8s.io",
        kind: "ResourceClaimTemplate",
        ways: Ways::ToHost,
        ..PLAIN
    },
    Known { served: Served::Defined, status: true, ..class(GATEWAY_CLASSES, "GatewayClass") },
    Known {
        resource: "gateways.gateway.networking.k8s.io",
        kind: "Gateway",
        served: Served::Defined,
        status: true,
        references: &[
            ("spec.listeners[*].tls.certificateRefs[*]", "Secret"),
            ("spec.listeners[*].tls.frontendValidation.caCertificateRefs[*]", "ConfigMap"),
            ("spec.infrastructure.parametersRef", "ConfigMap"),
        ],
        dropped: &["spec.listeners[*].allowedRoutes.namespaces"],
        hidden: &[
            "spec.addresses",
            "spec.infrastructure",
            "spec.listeners[*].tls",
            "spec.tls",
            "status.addresses",
        ],
        class: Some(("spec.gatewayClassName", GATEWAY_CLASSES, "gateway class")),
        ..PLAIN
    },
    route("httproutes.gateway.networking.k8s.io", "HTTPRoute", "v1"),
    route("grpcroutes.gateway.networking.k8s.io", "GRPCRoute", "v1"),
    route("tlsroutes.gateway.networking.k8s.io", "TLSRoute", "v1"),
    route("tcproutes.gateway.networking.k8s.io", "TCPRoute", "v1alpha2"),
    route("udproutes.gateway.networking.k8s.io", "UDPRoute", "v1alpha2"),
    Known {
        resource: "backendtlspolicies.gateway.networking.k8s.io",
        kind: "BackendTLSPolicy",
        served: Served::Defined,
        ways: Ways::ToHost,
        status: true,
        references: &[
            ("spec.targetRefs[*]", "Service"),
            ("spec.validation.caCertificateRefs[*]", "ConfigMap"),
        ],
        ..PLAIN
    },
    // With the metrics of pods come those of the nodes that the tenant sees.
    Known {
        resource: METRICS,
        version: "v1beta1",
        kind: "PodMetrics",
        served: Served::Measured,
        ways: Ways::FromHost,
        ..PLAIN
    },
    Known {
        served: Served::Defined,
        dropped: &["parameters"],
        ..class(SNAPSHOT_CLASSES, "VolumeSnapshotClass")
    },
    Known {
        resource: "volumesnapshots.snapshot.storage.k8s.io",
        kind: "VolumeSnapshot",
        served: Served::Defined,
        ways: Ways::ToHost,
        status: true,
        references: &[
            ("spec.source.persistentVolumeClaimName", "PersistentVolumeClaim"),
            ("spec.source.volumeSnapshotContentName", "VolumeSnapshotContent"),
        ],
        // A snapshot content of the host's may be anybody's; one of the tenant's is theirs, where they may make any.
        refused: &["spec.source.volumeSnapshotContentName"],
        class: Some(("spec.volumeSnapshotClassName", SNAPSHOT_CLASSES, "volume snapshot class")),
        ..PLAIN
    },
    // To which snapshot of the storage it leads, the storage alone decides; who may make any, the host's roles.
    Known {
        resource: SNAPSHOT_CONTENTS,
        kind: "VolumeSnapshotContent",
        place: Place::Cluster,
        served: Served::Defined,
        ways: Ways::ToHost,
        status: true,
        references: &[("spec.volumeSnapshotRef", "VolumeSnapshot")],
        dropped: &["spec.volumeSnapshotRef.uid", "spec.volumeSnapshotRef.resourceVersion"],
        refused: &["spec.source.volumeHandle"],
        ..PLAIN
    },
];

/// The row of `resource`.
pub(crate) fn known(resource: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.resource == resource)
}

impl Known {
    /// `plural` and `group` of the resource.
    pub fn names(&self) -> (&'static str, &'static str) {
        self.resource.split_once('.').unwrap_or((self.resource, ""))
    }

    /// The kind's own code, if it has any.
    pub fn code(&self) -> Option<Kind> {
        match self.served {
            Served::Coded(kind) => Some(kind),
            Served::BuiltIn | Served::Defined | Served::Measured => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::path::Path;

    #[test]
    fn every_row_has_a_name_of_its_own_and_readable_paths() {
        for (at, known) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..at].iter().all(|other| other.resource != known.resource), "{}", known.resource);
            assert!(!known.kind.is_empty());
            let references = known.references.iter().map(|(path, _)| path);
            let class = known.class.iter().map(|(path, ..)| path);
            for path in references.chain(known.dropped).chain(known.refused).chain(known.hidden).chain(class)
            {
                Path::parse(path).unwrap();
            }
        }
    }
}
