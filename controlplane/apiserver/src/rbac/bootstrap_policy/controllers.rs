//! The roles of controllers, each bound to the service account of its name in `kube-system`.

use super::{CHANGE, EVENTS, READ, Role, row, row_named};

/// The roles, without their prefix.
pub const CONTROLLERS: &[Role] = &[
    (
        "attachdetach-controller",
        &[
            row("list watch", "-", "persistentvolumeclaims persistentvolumes"),
            row(READ, "-", "nodes"),
            row(CHANGE, "-", "nodes/status"),
            row("list watch", "-", "pods"),
            EVENTS,
            row("create delete get list watch", "storage.k8s.io", "volumeattachments"),
            row(READ, "storage.k8s.io", "csidrivers"),
            row(READ, "storage.k8s.io", "csinodes"),
        ],
    ),
    (
        "certificate-controller",
        &[
            row("delete get list watch", "certificates.k8s.io", "certificatesigningrequests"),
            row(
                "update",
                "certificates.k8s.io",
                "certificatesigningrequests/approval certificatesigningrequests/status",
            ),
            row_named(
                "approve",
                "certificates.k8s.io",
                "signers",
                "kubernetes.io/kube-apiserver-client-kubelet",
            ),
            row_named(
                "sign",
                "certificates.k8s.io",
                "signers",
                "kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown",
            ),
            row("create", "authorization.k8s.io", "subjectaccessreviews"),
            EVENTS,
        ],
    ),
    (
        "clusterrole-aggregation-controller",
        &[row("escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles")],
    ),
    (
        "cronjob-controller",
        &[
            row("get list update watch", "batch", "cronjobs"),
            row("create delete get list patch update watch", "batch", "jobs"),
            row("update", "batch", "cronjobs/status"),
            row("update", "batch", "cronjobs/finalizers"),
            row("delete list watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "daemon-set-controller",
        &[
            row(READ, "apps extensions", "daemonsets"),
            row("update", "apps extensions", "daemonsets/status"),
            row("update", "apps extensions", "daemonsets/finalizers"),
            row("list watch", "-", "nodes"),
            row("create delete list patch watch", "-", "pods"),
            row("create", "-", "pods/binding"),
            row("create delete get list patch update watch", "apps", "controllerrevisions"),
            EVENTS,
        ],
    ),
    (
        "deployment-controller",
        &[
            row("get list update watch", "apps extensions", "deployments"),
            row("update", "apps extensions", "deployments/status"),
            row("update", "apps extensions", "deployments/finalizers"),
            row("create delete get list patch update watch", "apps extensions", "replicasets"),
            row("get list update watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "device-taint-eviction-controller",
        &[
            row("delete get list watch", "-", "pods"),
            row(CHANGE, "-", "pods/status"),
            row(READ, "resource.k8s.io", "resourceclaims"),
            row(READ, "resource.k8s.io", "resourceslices"),
            row(READ, "resource.k8s.io", "deviceclasses"),
            EVENTS,
        ],
    ),
    (
        "disruption-controller",
        &[
            row(READ, "apps extensions", "deployments"),
            row(READ, "apps extensions", "replicasets"),
            row(READ, "-", "replicationcontrollers"),
            row(READ, "policy", "poddisruptionbudgets"),
            row(READ, "apps", "statefulsets"),
            row("update", "policy", "poddisruptionbudgets/status"),
            row(CHANGE, "-", "pods/status"),
            row("get", "*", "*/scale"),
            EVENTS,
        ],
    ),
    (
        "endpoint-controller",
        &[
            row(READ, "-", "pods services"),
            row("create delete get list update watch", "-", "endpoints"),
            row("create", "-", "endpoints/restricted"),
            EVENTS,
        ],
    ),
    (
        "endpointslice-controller",
        &[
            row(READ, "-", "nodes pods services"),
            row("update", "-", "services/finalizers"),
            row("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
            EVENTS,
        ],
    ),
    (
        "endpointslicemirroring-controller",
        &[
            row(READ, "-", "endpoints services"),
            row("update", "-", "services/finalizers"),
            row("update", "-", "endpoints/finalizers"),
            row("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
            EVENTS,
        ],
    ),
    (
        "ephemeral-volume-controller",
        &[
            row(READ, "-", "pods"),
            row("update", "-", "pods/finalizers"),
            row("create get list watch", "-", "persistentvolumeclaims"),
            EVENTS,
        ],
    ),
    (
        "expand-controller",
        &[
            row("get list patch update watch", "-", "persistentvolumes"),
            row(CHANGE, "-", "persistentvolumeclaims/status"),
            row(READ, "-", "persistentvolumeclaims"),
            EVENTS,
        ],
    ),
    ("generic-garbage-collector", &[row("delete get list patch update watch", "*", "*"), EVENTS]),
    (
        "horizontal-pod-autoscaler",
        &[
            row(READ, "autoscaling", "horizontalpodautoscalers"),
            row("update", "autoscaling", "horizontalpodautoscalers/status"),
            row("get update", "*", "*/scale"),
            row("list watch", "-", "pods"),
            row("list watch", "metrics.k8s.io", "pods"),
            row(READ, "custom.metrics.k8s.io", "*"),
            row(READ, "external.metrics.k8s.io", "*"),
            EVENTS,
        ],
    ),
    (
        "job-controller",
        &[
            row("get list patch update watch", "batch", "jobs"),
            row("update", "batch", "jobs/status"),
            row("update", "batch", "jobs/finalizers"),
            row("create delete list patch watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "legacy-service-account-token-cleaner",
        &[
            row_named("get", "-", "configmaps", "kube-apiserver-legacy-service-account-token-tracking"),
            row("delete patch", "-", "secrets"),
        ],
    ),
    (
        "namespace-controller",
        &[
            row("delete get list watch", "-", "namespaces"),
            row("update", "-", "namespaces/finalize namespaces/status"),
            row("delete deletecollection get list watch", "*", "*"),
        ],
    ),
    (
        "node-controller",
        &[
            row("delete get list patch update watch", "-", "nodes"),
            row(CHANGE, "-", "nodes/status"),
            row(CHANGE, "-", "pods/status"),
            row("delete get list watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "persistent-volume-binder",
        &[
            row("create delete get list update watch", "-", "persistentvolumes"),
            row("update", "-", "persistentvolumes/status"),
            row("get list update watch", "-", "persistentvolumeclaims"),
            row("update", "-", "persistentvolumeclaims/status"),
            row("create delete get list watch", "-", "pods"),
            row(READ, "storage.k8s.io", "storageclasses"),
            row("list watch", "-", "nodes"),
            EVENTS,
            row("watch", "-", "events"),
        ],
    ),
    (
        "pod-garbage-collector",
        &[row("delete list watch", "-", "pods"), row(READ, "-", "nodes"), row("patch", "-", "pods/status")],
    ),
    ("pv-protection-controller", &[row("get list update watch", "-", "persistentvolumes"), EVENTS]),
    (
        "pvc-protection-controller",
        &[
            row("get list update watch", "-", "persistentvolumeclaims"),
            row("update", "-", "persistentvolumeclaims/status"),
            row(READ, "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "replicaset-controller",
        &[
            row("get list update watch", "apps extensions", "replicasets"),
            row("update", "apps extensions", "replicasets/status"),
            row("update", "apps extensions", "replicasets/finalizers"),
            row("create delete list patch watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "replication-controller",
        &[
            row("get list update watch", "-", "replicationcontrollers"),
            row("update", "-", "replicationcontrollers/status"),
            row("update", "-", "replicationcontrollers/finalizers"),
            row("create delete list patch watch", "-", "pods"),
            EVENTS,
        ],
    ),
    (
        "resource-claim-controller",
        &[
            row(READ, "-", "pods"),
            row("update", "-", "pods/finalizers"),
            row("create delete get list watch", "resource.k8s.io", "resourceclaims"),
            row(CHANGE, "resource.k8s.io", "resourceclaims resourceclaims/status"),
            row(CHANGE, "-", "pods/status"),
            EVENTS,
            row(CHANGE, "resource.k8s.io", "resourceclaims/binding"),
        ],
    ),
    (
        "resourcequota-controller",
        &[row("list watch", "*", "*"), row("update", "-", "resourcequotas/status"), EVENTS],
    ),
    ("root-ca-cert-publisher", &[row("create update", "-", "configmaps"), EVENTS]),
    ("route-controller", &[row("list watch", "-", "nodes"), row("patch", "-", "nodes/status"), EVENTS]),
    (
        "selinux-warning-controller",
        &[
            EVENTS,
            row(READ, "-", "persistentvolumes"),
            row(READ, "-", "persistentvolumeclaims"),
            row(READ, "-", "pods"),
            row(READ, "storage.k8s.io", "csidrivers"),
        ],
    ),
    ("service-account-controller", &[row("create", "-", "serviceaccounts"), EVENTS]),
    (
        "service-cidrs-controller",
        &[
            row("get list patch update watch", "networking.k8s.io", "servicecidrs"),
            row(CHANGE, "networking.k8s.io", "servicecidrs/finalizers"),
            row(CHANGE, "networking.k8s.io", "servicecidrs/status"),
            row(READ, "networking.k8s.io", "ipaddresses"),
            EVENTS,
        ],
    ),
    (
        "service-controller",
        &[
            row(READ, "-", "services"),
            row(CHANGE, "-", "services/status"),
            row("list watch", "-", "nodes"),
            EVENTS,
        ],
    ),
    (
        "statefulset-controller",
        &[
            row("list watch", "-", "pods"),
            row(READ, "apps", "statefulsets"),
            row("update", "apps", "statefulsets/status"),
            row("update", "apps", "statefulsets/finalizers"),
            row("create delete get patch update", "-", "pods"),
            row("create delete get list patch update watch", "apps", "controllerrevisions"),
            row("create get list watch", "-", "persistentvolumeclaims"),
            row("delete update", "-", "persistentvolumeclaims"),
            row("update", "-", "pods/finalizers"),
            EVENTS,
        ],
    ),
    ("ttl-after-finished-controller", &[row("delete get list watch", "batch", "jobs"), EVENTS]),
    ("ttl-controller", &[row("list patch update watch", "-", "nodes"), EVENTS]),
    (
        "validatingadmissionpolicy-status-controller",
        &[
            row(READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
            row("get patch update", "admissionregistration.k8s.io", "validatingadmissionpolicies/status"),
            EVENTS,
        ],
    ),
    (
        "volumeattributesclass-protection-controller",
        &[
            row(READ, "-", "persistentvolumeclaims"),
            row(READ, "-", "persistentvolumes"),
            row("get list update watch", "storage.k8s.io", "volumeattributesclasses"),
            EVENTS,
        ],
    ),
];

/// Roles in namespaces: `(namespace, role)`, the service account of whom they are, and other users.
pub const NAMESPACED: &[(&str, Role)] = &[
    (
        "kube-public",
        (
            "system:controller:bootstrap-signer",
            &[row(READ, "-", "configmaps"), row_named("update", "-", "configmaps", "cluster-info"), EVENTS],
        ),
    ),
    (
        "kube-system",
        (
            "extension-apiserver-authentication-reader",
            &[row_named(READ, "-", "configmaps", "extension-apiserver-authentication")],
        ),
    ),
    ("kube-system", ("system::leader-locking-kube-controller-manager", LEADER)),
    ("kube-system", ("system::leader-locking-kube-scheduler", LEADER)),
    ("kube-system", ("system:controller:bootstrap-signer", &[row(READ, "-", "secrets")])),
    ("kube-system", ("system:controller:cloud-provider", &[row("create get list watch", "-", "configmaps")])),
    (
        "kube-system",
        ("system:controller:token-cleaner", &[row("delete get list watch", "-", "secrets"), EVENTS]),
    ),
];

const LEADER: &[super::Row] = &[
    row("create get list update watch", "coordination.k8s.io", "leases"),
    row("create get list update watch", "coordination.k8s.io", "leasecandidates"),
];
