//! What a cluster is made of beside its workloads: networks, storage, rights and extensions.

use super::{API_EXTENSIONS, GET_PATCH_UPDATE, GroupVersion, cluster, namespaced, subresource};
use crate::registry::{
    Resource, admissionregistration, apiextensions, certificates, coordination, discovery, flowcontrol,
    networking, node, policy, rbac, resource, scheduling, storage,
};

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

/// In the order of discovery.
pub(super) const RESOURCES: &[Resource] = &[
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
