//! The roles and bindings themselves.

use super::{ALL, CHANGE, GROUP, READ, Role, Row, WRITE, row, row_named};

/// Whoever works tells of it.
pub(super) const EVENTS: Row = row("create patch update", "- events.k8s.io", "events");

/// The public paths that `system:discovery` and its siblings show.
pub(super) const PATHS: &[(&str, &str)] = &[
    (
        "system:discovery",
        "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
    ),
    ("system:public-info-viewer", "/healthz /livez /readyz /version /version/"),
    ("system:monitoring", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),
    (
        "system:service-account-issuer-discovery",
        "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
    ),
];

pub(super) const VIEW: &[Row] = &[
    row(
        READ,
        "-",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
    ),
    row(
        READ,
        "-",
        "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
    ),
    row(READ, "-", "namespaces"),
    row(READ, "- events.k8s.io", "events"),
    row(READ, "discovery.k8s.io", "endpointslices"),
    row(
        READ,
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
    ),
    row(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    row(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    row(
        READ,
        "extensions",
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
    ),
    row(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    row(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    row(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
];

pub(super) const EDIT: &[Row] = &[
    row(READ, "-", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    row("impersonate", "-", "serviceaccounts"),
    row(WRITE, "-", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    row("create", "-", "pods/eviction"),
    row(
        WRITE,
        "-",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
    ),
    row("create", "-", "serviceaccounts/token"),
    row(
        WRITE,
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
    ),
    row(WRITE, "autoscaling", "horizontalpodautoscalers"),
    row(WRITE, "batch", "cronjobs jobs"),
    row(
        WRITE,
        "extensions",
        "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale",
    ),
    row(WRITE, "policy", "poddisruptionbudgets"),
    row(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    row(ALL, "coordination.k8s.io", "leases"),
    row(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
];

pub(super) const ADMIN: &[Row] = &[
    row("create", "authorization.k8s.io", "localsubjectaccessreviews"),
    row(ALL, GROUP, "rolebindings roles"),
];

/// The other roles of the cluster.
pub(super) const ROLES: &[Role] = &[
    (
        "system:basic-user",
        &[
            row("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
            row("create", "authentication.k8s.io", "selfsubjectreviews"),
        ],
    ),
    (
        "system:auth-delegator",
        &[
            row("create", "authentication.k8s.io", "tokenreviews"),
            row("create", "authorization.k8s.io", "subjectaccessreviews"),
        ],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[row("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient")],
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[row("create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient")],
    ),
    (
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        &[row_named("approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client")],
    ),
    (
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        &[row_named(
            "approve",
            "certificates.k8s.io",
            "signers",
            "kubernetes.io/kube-apiserver-client-kubelet",
        )],
    ),
    (
        "system:certificates.k8s.io:kubelet-serving-approver",
        &[row_named("approve", "certificates.k8s.io", "signers", "kubernetes.io/kubelet-serving")],
    ),
    (
        "system:certificates.k8s.io:legacy-unknown-approver",
        &[row_named("approve", "certificates.k8s.io", "signers", "kubernetes.io/legacy-unknown")],
    ),
    (
        "system:heapster",
        &[row(READ, "-", "events namespaces nodes pods"), row(READ, "extensions", "deployments")],
    ),
    ("system:kube-aggregator", &[row(READ, "-", "endpoints services")]),
    (
        "system:kube-controller-manager",
        &[
            EVENTS,
            row("create", "coordination.k8s.io", "leases"),
            row_named("get list update watch", "coordination.k8s.io", "leases", "kube-controller-manager"),
            row(ALL, "coordination.k8s.io", "leasecandidates"),
            row("create", "-", "secrets serviceaccounts"),
            row("delete", "-", "secrets"),
            row("get", "-", "configmaps namespaces secrets serviceaccounts"),
            row("update", "-", "secrets serviceaccounts"),
            row("create", "authentication.k8s.io", "tokenreviews"),
            row("create", "authorization.k8s.io", "subjectaccessreviews"),
            row("list watch", "*", "*"),
            row("create", "-", "serviceaccounts/token"),
        ],
    ),
    ("system:kube-dns", &[row("list watch", "-", "endpoints services")]),
    (
        "system:kube-scheduler",
        &[
            EVENTS,
            row("create", "coordination.k8s.io", "leases"),
            row_named("get list update watch", "coordination.k8s.io", "leases", "kube-scheduler"),
            row(ALL, "coordination.k8s.io", "leasecandidates"),
            row(READ, "-", "nodes"),
            row("delete get list watch", "-", "pods"),
            row("create", "-", "bindings pods/binding"),
            row(CHANGE, "-", "pods/status"),
            row(READ, "-", "replicationcontrollers services"),
            row(READ, "apps extensions", "replicasets"),
            row(READ, "apps", "statefulsets"),
            row(READ, "policy", "poddisruptionbudgets"),
            row(READ, "-", "persistentvolumeclaims persistentvolumes"),
            row("create", "authentication.k8s.io", "tokenreviews"),
            row("create", "authorization.k8s.io", "subjectaccessreviews"),
            row(READ, "storage.k8s.io", "csinodes"),
            row(READ, "storage.k8s.io", "volumeattachments"),
            row(READ, "-", "namespaces"),
            row(READ, "storage.k8s.io", "csidrivers"),
            row(READ, "storage.k8s.io", "csistoragecapacities"),
            row(READ, "resource.k8s.io", "deviceclasses"),
            row("get list patch update watch", "resource.k8s.io", "resourceclaims"),
            row("get list patch update watch", "resource.k8s.io", "resourceclaims/status"),
            row("update", "-", "pods/finalizers"),
            row(READ, "resource.k8s.io", "resourceslices"),
            row("create delete", "resource.k8s.io", "resourceclaims"),
            row(CHANGE, "resource.k8s.io", "resourceclaims/binding"),
        ],
    ),
    (
        "system:kubelet-api-admin",
        &[
            row(READ, "-", "nodes"),
            row("proxy", "-", "nodes"),
            row(
                "*",
                "-",
                "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
            ),
        ],
    ),
    (
        "system:node",
        &[
            row("create", "authentication.k8s.io", "tokenreviews"),
            row("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
            row(READ, "-", "services"),
            row("create get list watch", "-", "nodes"),
            row(CHANGE, "-", "nodes/status"),
            row(CHANGE, "-", "nodes"),
            row("create patch update", "-", "events"),
            row(READ, "-", "pods"),
            row("create delete", "-", "pods"),
            row(CHANGE, "-", "pods/status"),
            row("create", "-", "pods/eviction"),
            row(READ, "-", "configmaps secrets"),
            row("get", "-", "persistentvolumeclaims persistentvolumes"),
            row("get", "-", "endpoints"),
            row("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
            row("create delete get patch update", "coordination.k8s.io", "leases"),
            row("get", "storage.k8s.io", "volumeattachments"),
            row("create", "-", "serviceaccounts/token"),
            row("get patch update", "-", "persistentvolumeclaims/status"),
            row(READ, "storage.k8s.io", "csidrivers"),
            row("create delete get patch update", "storage.k8s.io", "csinodes"),
            row(READ, "node.k8s.io", "runtimeclasses"),
            row("get", "resource.k8s.io", "resourceclaims"),
            row("deletecollection", "resource.k8s.io", "resourceslices"),
            row("create delete get list patch update watch", "resource.k8s.io", "resourceslices"),
        ],
    ),
    (
        "system:node-bootstrapper",
        &[row("create get list watch", "certificates.k8s.io", "certificatesigningrequests")],
    ),
    ("system:node-problem-detector", &[row("get", "-", "nodes"), row("patch", "-", "nodes/status"), EVENTS]),
    (
        "system:node-proxier",
        &[
            row("list watch", "-", "endpoints services"),
            row(READ, "-", "nodes"),
            EVENTS,
            row("list watch", "discovery.k8s.io", "endpointslices"),
            row("list watch", "networking.k8s.io", "servicecidrs"),
        ],
    ),
    (
        "system:persistent-volume-provisioner",
        &[
            row("create delete get list watch", "-", "persistentvolumes"),
            row("get list update watch", "-", "persistentvolumeclaims"),
            row(READ, "storage.k8s.io", "storageclasses"),
            row("watch", "-", "events"),
            EVENTS,
        ],
    ),
    (
        "system:volume-scheduler",
        &[
            row("get list patch update watch", "-", "persistentvolumes"),
            row(READ, "storage.k8s.io", "storageclasses"),
            row("get list patch update watch", "-", "persistentvolumeclaims"),
        ],
    ),
];

/// Who has which roles: the binding is named like the role. Subjects are groups (`g`), users (`u`) and
/// service accounts of `kube-system` (`s`).
pub(super) const BINDINGS: &[(&str, &[(char, &str)])] = &[
    ("cluster-admin", &[('g', "system:masters")]),
    ("system:basic-user", &[('g', "system:authenticated")]),
    ("system:discovery", &[('g', "system:authenticated")]),
    ("system:kube-controller-manager", &[('u', "system:kube-controller-manager")]),
    ("system:kube-dns", &[('s', "kube-dns")]),
    ("system:kube-scheduler", &[('u', "system:kube-scheduler")]),
    ("system:monitoring", &[('g', "system:monitoring")]),
    ("system:node", &[]),
    ("system:node-proxier", &[('u', "system:kube-proxy")]),
    ("system:public-info-viewer", &[('g', "system:authenticated"), ('g', "system:unauthenticated")]),
    ("system:service-account-issuer-discovery", &[('g', "system:serviceaccounts")]),
    ("system:volume-scheduler", &[('u', "system:kube-scheduler")]),
];

/// Bindings in namespaces: `(namespace, name, role, subjects)`.
type Bound = (&'static str, &'static str, &'static str, &'static [(char, &'static str)]);

pub(super) const NAMESPACED_BINDINGS: &[Bound] = &[
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &[('s', "bootstrap-signer")],
    ),
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        &[('u', "system:kube-controller-manager"), ('u', "system:kube-scheduler")],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        &[
            ('u', "system:kube-controller-manager"),
            ('s', "kube-controller-manager"),
            ('s', "leader-election-controller"),
        ],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        &[('u', "system:kube-scheduler"), ('s', "kube-scheduler")],
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &[('s', "bootstrap-signer")],
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        &[('s', "cloud-provider")],
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        "system:controller:token-cleaner",
        &[('s', "token-cleaner")],
    ),
];
