//! The table of resources, in the order of discovery.

use super::kind::Kind;
use super::{Resource, Subresource};
use super::{
    admissionregistration, apiextensions, apiregistration, apps, autoscaling, batch, certificates,
    coordination, core, discovery, events, flowcontrol, networking, node, policy, rbac, resource, scheduling,
    storage,
};

type GroupVersion = (&'static str, &'static str);

const fn cluster(
    (group, version): GroupVersion,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    type_name: &'static str,
    kind_rules: &'static dyn Kind,
) -> Resource {
    Resource {
        group,
        version,
        kind,
        plural,
        singular,
        namespaced: false,
        short_names: &[],
        categories: &[],
        verbs: STANDARD,
        subresources: &[],
        type_name,
        stored_as: None,
        kind_rules,
    }
}

const fn namespaced(
    group_version: GroupVersion,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    type_name: &'static str,
    kind_rules: &'static dyn Kind,
) -> Resource {
    Resource { namespaced: true, ..cluster(group_version, kind, plural, singular, type_name, kind_rules) }
}

const fn subresource(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, group: "", version: "", kind, verbs }
}

const STANDARD: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];
const CREATE_GET: &[&str] = &["create", "get"];
const GET: &[&str] = &["get"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const UPDATE: &[&str] = &["update"];

const ALL: &[&str] = &["all"];
const API_EXTENSIONS: &[&str] = &["api-extensions"];

const SCALE: Subresource = subresource("scale", "Scale", GET_PATCH_UPDATE).of("autoscaling", "v1");

const CORE: GroupVersion = ("", "v1");
const APIREGISTRATION: GroupVersion = ("apiregistration.k8s.io", "v1");
const APPS: GroupVersion = ("apps", "v1");
const EVENTS: GroupVersion = ("events.k8s.io", "v1");
const AUTHENTICATION: GroupVersion = ("authentication.k8s.io", "v1");
const AUTHORIZATION: GroupVersion = ("authorization.k8s.io", "v1");
const AUTOSCALING_V2: GroupVersion = ("autoscaling", "v2");
const AUTOSCALING: GroupVersion = ("autoscaling", "v1");
const BATCH: GroupVersion = ("batch", "v1");
const CERTIFICATES: GroupVersion = ("certificates.k8s.io", "v1");
const NETWORKING: GroupVersion = ("networking.k8s.io", "v1");
const POLICY: GroupVersion = ("policy", "v1");
const RBAC: GroupVersion = ("rbac.authorization.k8s.io", "v1");
const STORAGE: GroupVersion = ("storage.k8s.io", "v1");
const ADMISSIONREGISTRATION: GroupVersion = ("admissionregistration.k8s.io", "v1");
const APIEXTENSIONS: GroupVersion = ("apiextensions.k8s.io", "v1");
const SCHEDULING: GroupVersion = ("scheduling.k8s.io", "v1");
const COORDINATION: GroupVersion = ("coordination.k8s.io", "v1");
const NODE: GroupVersion = ("node.k8s.io", "v1");
const DISCOVERY: GroupVersion = ("discovery.k8s.io", "v1");
const RESOURCE: GroupVersion = ("resource.k8s.io", "v1");
const FLOWCONTROL: GroupVersion = ("flowcontrol.apiserver.k8s.io", "v1");

/// Every resource, in the order of discovery.
pub static RESOURCES: &[Resource] = &[
    namespaced(CORE, "Binding", "bindings", "binding", "io.k8s.api.core.v1.Binding", &core::binding::Binding)
        .verbs(CREATE),
    cluster(
        CORE,
        "ComponentStatus",
        "componentstatuses",
        "componentstatus",
        "io.k8s.api.core.v1.ComponentStatus",
        &core::component_status::ComponentStatus,
    )
    .short_names(&["cs"])
    .verbs(&["get", "list"]),
    namespaced(
        CORE,
        "ConfigMap",
        "configmaps",
        "configmap",
        "io.k8s.api.core.v1.ConfigMap",
        &core::config_map::ConfigMap,
    )
    .short_names(&["cm"]),
    namespaced(
        CORE,
        "Endpoints",
        "endpoints",
        "endpoints",
        "io.k8s.api.core.v1.Endpoints",
        &core::endpoints::Endpoints,
    )
    .short_names(&["ep"]),
    namespaced(CORE, "Event", "events", "event", "io.k8s.api.core.v1.Event", &core::event::Event)
        .short_names(&["ev"]),
    namespaced(
        CORE,
        "LimitRange",
        "limitranges",
        "limitrange",
        "io.k8s.api.core.v1.LimitRange",
        &core::limit_range::LimitRange,
    )
    .short_names(&["limits"]),
    cluster(
        CORE,
        "Namespace",
        "namespaces",
        "namespace",
        "io.k8s.api.core.v1.Namespace",
        &core::namespace::Namespace,
    )
    .short_names(&["ns"])
    .verbs(&["create", "delete", "get", "list", "patch", "update", "watch"])
    .subresources(&[
        subresource("finalize", "Namespace", UPDATE),
        subresource("status", "Namespace", GET_PATCH_UPDATE),
    ]),
    cluster(CORE, "Node", "nodes", "node", "io.k8s.api.core.v1.Node", &core::node::Node)
        .short_names(&["no"])
        .subresources(&[
            subresource("proxy", "NodeProxyOptions", PROXY),
            subresource("status", "Node", GET_PATCH_UPDATE),
        ]),
    namespaced(
        CORE,
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        "persistentvolumeclaim",
        "io.k8s.api.core.v1.PersistentVolumeClaim",
        &core::persistent_volume_claim::PersistentVolumeClaim,
    )
    .short_names(&["pvc"])
    .subresources(&[subresource("status", "PersistentVolumeClaim", GET_PATCH_UPDATE)]),
    cluster(
        CORE,
        "PersistentVolume",
        "persistentvolumes",
        "persistentvolume",
        "io.k8s.api.core.v1.PersistentVolume",
        &core::persistent_volume::PersistentVolume,
    )
    .short_names(&["pv"])
    .subresources(&[subresource("status", "PersistentVolume", GET_PATCH_UPDATE)]),
    namespaced(CORE, "Pod", "pods", "pod", "io.k8s.api.core.v1.Pod", &core::pod::Pod)
        .short_names(&["po"])
        .categories(ALL)
        .subresources(&[
            subresource("attach", "PodAttachOptions", CREATE_GET),
            subresource("binding", "Binding", CREATE),
            subresource("ephemeralcontainers", "Pod", GET_PATCH_UPDATE),
            subresource("eviction", "Eviction", CREATE).of("policy", "v1"),
            subresource("exec", "PodExecOptions", CREATE_GET),
            subresource("log", "Pod", GET),
            subresource("portforward", "PodPortForwardOptions", CREATE_GET),
            subresource("proxy", "PodProxyOptions", PROXY),
            subresource("resize", "Pod", GET_PATCH_UPDATE),
            subresource("status", "Pod", GET_PATCH_UPDATE),
        ]),
    namespaced(
        CORE,
        "PodTemplate",
        "podtemplates",
        "podtemplate",
        "io.k8s.api.core.v1.PodTemplate",
        &core::pod_template::PodTemplate,
    ),
    namespaced(
        CORE,
        "ReplicationController",
        "replicationcontrollers",
        "replicationcontroller",
        "io.k8s.api.core.v1.ReplicationController",
        &core::replication_controller::ReplicationController,
    )
    .short_names(&["rc"])
    .categories(ALL)
    .subresources(&[SCALE, subresource("status", "ReplicationController", GET_PATCH_UPDATE)]),
    namespaced(
        CORE,
        "ResourceQuota",
        "resourcequotas",
        "resourcequota",
        "io.k8s.api.core.v1.ResourceQuota",
        &core::resource_quota::ResourceQuota,
    )
    .short_names(&["quota"])
    .subresources(&[subresource("status", "ResourceQuota", GET_PATCH_UPDATE)]),
    namespaced(CORE, "Secret", "secrets", "secret", "io.k8s.api.core.v1.Secret", &core::secret::Secret),
    namespaced(
        CORE,
        "ServiceAccount",
        "serviceaccounts",
        "serviceaccount",
        "io.k8s.api.core.v1.ServiceAccount",
        &core::service_account::ServiceAccount,
    )
    .short_names(&["sa"])
    .subresources(&[subresource("token", "TokenRequest", CREATE).of("authentication.k8s.io", "v1")]),
    namespaced(CORE, "Service", "services", "service", "io.k8s.api.core.v1.Service", &core::service::Service)
        .short_names(&["svc"])
        .categories(ALL)
        .subresources(&[
            subresource("proxy", "ServiceProxyOptions", PROXY),
            subresource("status", "Service", GET_PATCH_UPDATE),
        ]),
    cluster(
        APIREGISTRATION,
        "APIService",
        "apiservices",
        "apiservice",
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        &apiregistration::api_service::ApiService,
    )
    .categories(API_EXTENSIONS)
    .subresources(&[subresource("status", "APIService", GET_PATCH_UPDATE)]),
    namespaced(
        APPS,
        "ControllerRevision",
        "controllerrevisions",
        "controllerrevision",
        "io.k8s.api.apps.v1.ControllerRevision",
        &apps::controller_revision::ControllerRevision,
    ),
    namespaced(
        APPS,
        "DaemonSet",
        "daemonsets",
        "daemonset",
        "io.k8s.api.apps.v1.DaemonSet",
        &apps::daemon_set::DaemonSet,
    )
    .short_names(&["ds"])
    .categories(ALL)
    .subresources(&[subresource("status", "DaemonSet", GET_PATCH_UPDATE)]),
    namespaced(
        APPS,
        "Deployment",
        "deployments",
        "deployment",
        "io.k8s.api.apps.v1.Deployment",
        &apps::deployment::Deployment,
    )
    .short_names(&["deploy"])
    .categories(ALL)
    .subresources(&[SCALE, subresource("status", "Deployment", GET_PATCH_UPDATE)]),
    namespaced(
        APPS,
        "ReplicaSet",
        "replicasets",
        "replicaset",
        "io.k8s.api.apps.v1.ReplicaSet",
        &apps::replica_set::ReplicaSet,
    )
    .short_names(&["rs"])
    .categories(ALL)
    .subresources(&[SCALE, subresource("status", "ReplicaSet", GET_PATCH_UPDATE)]),
    namespaced(
        APPS,
        "StatefulSet",
        "statefulsets",
        "statefulset",
        "io.k8s.api.apps.v1.StatefulSet",
        &apps::stateful_set::StatefulSet,
    )
    .short_names(&["sts"])
    .categories(ALL)
    .subresources(&[SCALE, subresource("status", "StatefulSet", GET_PATCH_UPDATE)]),
    namespaced(EVENTS, "Event", "events", "event", "io.k8s.api.events.v1.Event", &events::event::Event)
        .short_names(&["ev"])
        .stored_as("", "v1"),
    cluster(
        AUTHENTICATION,
        "SelfSubjectReview",
        "selfsubjectreviews",
        "selfsubjectreview",
        "io.k8s.api.authentication.v1.SelfSubjectReview",
        &Plain,
    )
    .verbs(CREATE),
    cluster(
        AUTHENTICATION,
        "TokenReview",
        "tokenreviews",
        "tokenreview",
        "io.k8s.api.authentication.v1.TokenReview",
        &Plain,
    )
    .verbs(CREATE),
    namespaced(
        AUTHORIZATION,
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
        &Plain,
    )
    .verbs(CREATE),
    cluster(
        AUTHORIZATION,
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
        &Plain,
    )
    .verbs(CREATE),
    cluster(
        AUTHORIZATION,
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
        &Plain,
    )
    .verbs(CREATE),
    cluster(
        AUTHORIZATION,
        "SubjectAccessReview",
        "subjectaccessreviews",
        "subjectaccessreview",
        "io.k8s.api.authorization.v1.SubjectAccessReview",
        &Plain,
    )
    .verbs(CREATE),
    namespaced(
        AUTOSCALING_V2,
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        &autoscaling::horizontal_pod_autoscaler::HorizontalPodAutoscaler,
    )
    .short_names(&["hpa"])
    .categories(ALL)
    .subresources(&[subresource("status", "HorizontalPodAutoscaler", GET_PATCH_UPDATE)]),
    namespaced(
        AUTOSCALING,
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
        &autoscaling::horizontal_pod_autoscaler::HorizontalPodAutoscalerV1,
    )
    .short_names(&["hpa"])
    .categories(ALL)
    .subresources(&[subresource("status", "HorizontalPodAutoscaler", GET_PATCH_UPDATE)])
    .stored_as("autoscaling", "v2"),
    namespaced(
        BATCH,
        "CronJob",
        "cronjobs",
        "cronjob",
        "io.k8s.api.batch.v1.CronJob",
        &batch::cron_job::CronJob,
    )
    .short_names(&["cj"])
    .categories(ALL)
    .subresources(&[subresource("status", "CronJob", GET_PATCH_UPDATE)]),
    namespaced(BATCH, "Job", "jobs", "job", "io.k8s.api.batch.v1.Job", &batch::job::Job)
        .categories(ALL)
        .subresources(&[subresource("status", "Job", GET_PATCH_UPDATE)]),
    cluster(
        CERTIFICATES,
        "CertificateSigningRequest",
        "certificatesigningrequests",
        "certificatesigningrequest",
        "io.k8s.api.certificates.v1.CertificateSigningRequest",
        &certificates::certificate_signing_request::CertificateSigningRequest,
    )
    .short_names(&["csr"])
    .subresources(&[
        subresource("approval", "CertificateSigningRequest", GET_PATCH_UPDATE),
        subresource("status", "CertificateSigningRequest", GET_PATCH_UPDATE),
    ]),
    cluster(
        NETWORKING,
        "IngressClass",
        "ingressclasses",
        "ingressclass",
        "io.k8s.api.networking.v1.IngressClass",
        &networking::ingress_class::IngressClass,
    ),
    namespaced(
        NETWORKING,
        "Ingress",
        "ingresses",
        "ingress",
        "io.k8s.api.networking.v1.Ingress",
        &networking::ingress::Ingress,
    )
    .short_names(&["ing"])
    .subresources(&[subresource("status", "Ingress", GET_PATCH_UPDATE)]),
    cluster(
        NETWORKING,
        "IPAddress",
        "ipaddresses",
        "ipaddress",
        "io.k8s.api.networking.v1.IPAddress",
        &networking::ip_address::IpAddress,
    )
    .short_names(&["ip"]),
    namespaced(
        NETWORKING,
        "NetworkPolicy",
        "networkpolicies",
        "networkpolicy",
        "io.k8s.api.networking.v1.NetworkPolicy",
        &networking::network_policy::NetworkPolicy,
    )
    .short_names(&["netpol"]),
    cluster(
        NETWORKING,
        "ServiceCIDR",
        "servicecidrs",
        "servicecidr",
        "io.k8s.api.networking.v1.ServiceCIDR",
        &networking::service_cidr::ServiceCidr,
    )
    .subresources(&[subresource("status", "ServiceCIDR", GET_PATCH_UPDATE)]),
    namespaced(
        POLICY,
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "poddisruptionbudget",
        "io.k8s.api.policy.v1.PodDisruptionBudget",
        &policy::pod_disruption_budget::PodDisruptionBudget,
    )
    .short_names(&["pdb"])
    .subresources(&[subresource("status", "PodDisruptionBudget", GET_PATCH_UPDATE)]),
    cluster(
        RBAC,
        "ClusterRoleBinding",
        "clusterrolebindings",
        "clusterrolebinding",
        "io.k8s.api.rbac.v1.ClusterRoleBinding",
        &rbac::role_binding::ClusterRoleBinding,
    ),
    cluster(
        RBAC,
        "ClusterRole",
        "clusterroles",
        "clusterrole",
        "io.k8s.api.rbac.v1.ClusterRole",
        &rbac::role::ClusterRole,
    ),
    namespaced(
        RBAC,
        "RoleBinding",
        "rolebindings",
        "rolebinding",
        "io.k8s.api.rbac.v1.RoleBinding",
        &rbac::role_binding::RoleBinding,
    ),
    namespaced(RBAC, "Role", "roles", "role", "io.k8s.api.rbac.v1.Role", &rbac::role::Role),
    cluster(
        STORAGE,
        "CSIDriver",
        "csidrivers",
        "csidriver",
        "io.k8s.api.storage.v1.CSIDriver",
        &storage::csi_driver::CsiDriver,
    ),
    cluster(
        STORAGE,
        "CSINode",
        "csinodes",
        "csinode",
        "io.k8s.api.storage.v1.CSINode",
        &storage::csi_node::CsiNode,
    ),
    namespaced(
        STORAGE,
        "CSIStorageCapacity",
        "csistoragecapacities",
        "csistoragecapacity",
        "io.k8s.api.storage.v1.CSIStorageCapacity",
        &storage::csi_storage_capacity::CsiStorageCapacity,
    ),
    cluster(
        STORAGE,
        "StorageClass",
        "storageclasses",
        "storageclass",
        "io.k8s.api.storage.v1.StorageClass",
        &storage::storage_class::StorageClass,
    )
    .short_names(&["sc"]),
    cluster(
        STORAGE,
        "VolumeAttachment",
        "volumeattachments",
        "volumeattachment",
        "io.k8s.api.storage.v1.VolumeAttachment",
        &storage::volume_attachment::VolumeAttachment,
    )
    .subresources(&[subresource("status", "VolumeAttachment", GET_PATCH_UPDATE)]),
    cluster(
        STORAGE,
        "VolumeAttributesClass",
        "volumeattributesclasses",
        "volumeattributesclass",
        "io.k8s.api.storage.v1.VolumeAttributesClass",
        &storage::volume_attributes_class::VolumeAttributesClass,
    )
    .short_names(&["vac"]),
    cluster(
        ADMISSIONREGISTRATION,
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicy",
        "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
        &admissionregistration::policy::MutatingAdmissionPolicy,
    )
    .categories(API_EXTENSIONS),
    cluster(
        ADMISSIONREGISTRATION,
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        "mutatingadmissionpolicybinding",
        "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
        &admissionregistration::policy_binding::MutatingAdmissionPolicyBinding,
    )
    .categories(API_EXTENSIONS),
    cluster(
        ADMISSIONREGISTRATION,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
        "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
        &admissionregistration::webhook_configuration::MutatingWebhookConfiguration,
    )
    .categories(API_EXTENSIONS),
    cluster(
        ADMISSIONREGISTRATION,
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        "validatingadmissionpolicy",
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
        &admissionregistration::policy::ValidatingAdmissionPolicy,
    )
    .categories(API_EXTENSIONS)
    .subresources(&[subresource("status", "ValidatingAdmissionPolicy", GET_PATCH_UPDATE)]),
    cluster(
        ADMISSIONREGISTRATION,
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
        &admissionregistration::policy_binding::ValidatingAdmissionPolicyBinding,
    )
    .categories(API_EXTENSIONS),
    cluster(
        ADMISSIONREGISTRATION,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
        "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
        &admissionregistration::webhook_configuration::ValidatingWebhookConfiguration,
    )
    .categories(API_EXTENSIONS),
    cluster(
        APIEXTENSIONS,
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "customresourcedefinition",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        &apiextensions::custom_resource_definition::CustomResourceDefinition,
    )
    .short_names(&["crd", "crds"])
    .categories(API_EXTENSIONS)
    .subresources(&[subresource("status", "CustomResourceDefinition", GET_PATCH_UPDATE)]),
    cluster(
        SCHEDULING,
        "PriorityClass",
        "priorityclasses",
        "priorityclass",
        "io.k8s.api.scheduling.v1.PriorityClass",
        &scheduling::priority_class::PriorityClass,
    )
    .short_names(&["pc"]),
    namespaced(
        COORDINATION,
        "Lease",
        "leases",
        "lease",
        "io.k8s.api.coordination.v1.Lease",
        &coordination::lease::Lease,
    ),
    cluster(
        NODE,
        "RuntimeClass",
        "runtimeclasses",
        "runtimeclass",
        "io.k8s.api.node.v1.RuntimeClass",
        &node::runtime_class::RuntimeClass,
    ),
    namespaced(
        DISCOVERY,
        "EndpointSlice",
        "endpointslices",
        "endpointslice",
        "io.k8s.api.discovery.v1.EndpointSlice",
        &discovery::endpoint_slice::EndpointSlice,
    ),
    cluster(
        RESOURCE,
        "DeviceClass",
        "deviceclasses",
        "deviceclass",
        "io.k8s.api.resource.v1.DeviceClass",
        &resource::device_class::DeviceClass,
    ),
    namespaced(
        RESOURCE,
        "ResourceClaim",
        "resourceclaims",
        "resourceclaim",
        "io.k8s.api.resource.v1.ResourceClaim",
        &resource::resource_claim::ResourceClaim,
    )
    .subresources(&[subresource("status", "ResourceClaim", GET_PATCH_UPDATE)]),
    namespaced(
        RESOURCE,
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        "resourceclaimtemplate",
        "io.k8s.api.resource.v1.ResourceClaimTemplate",
        &resource::resource_claim_template::ResourceClaimTemplate,
    ),
    cluster(
        RESOURCE,
        "ResourceSlice",
        "resourceslices",
        "resourceslice",
        "io.k8s.api.resource.v1.ResourceSlice",
        &resource::resource_slice::ResourceSlice,
    ),
    cluster(
        FLOWCONTROL,
        "FlowSchema",
        "flowschemas",
        "flowschema",
        "io.k8s.api.flowcontrol.v1.FlowSchema",
        &flowcontrol::flow_schema::FlowSchema,
    )
    .subresources(&[subresource("status", "FlowSchema", GET_PATCH_UPDATE)]),
    cluster(
        FLOWCONTROL,
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        "prioritylevelconfiguration",
        "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
        &flowcontrol::priority_level::PriorityLevelConfiguration,
    )
    .subresources(&[subresource("status", "PriorityLevelConfiguration", GET_PATCH_UPDATE)]),
];

/// A kind without rules of its own.
struct Plain;

impl Kind for Plain {}

impl Resource {
    const fn short_names(self, short_names: &'static [&'static str]) -> Self {
        Self { short_names, ..self }
    }

    const fn categories(self, categories: &'static [&'static str]) -> Self {
        Self { categories, ..self }
    }

    const fn verbs(self, verbs: &'static [&'static str]) -> Self {
        Self { verbs, ..self }
    }

    const fn subresources(self, subresources: &'static [Subresource]) -> Self {
        Self { subresources, ..self }
    }

    const fn stored_as(self, group: &'static str, version: &'static str) -> Self {
        Self { stored_as: Some((group, version)), ..self }
    }
}

impl Subresource {
    const fn of(self, group: &'static str, version: &'static str) -> Self {
        Self { group, version, ..self }
    }
}
