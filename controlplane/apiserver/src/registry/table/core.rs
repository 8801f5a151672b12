//! The resources of the core group.

use super::{
    ALL, CREATE, CREATE_GET, GET, GET_PATCH_UPDATE, GroupVersion, PROXY, SCALE, UPDATE, cluster, namespaced,
    subresource,
};
use crate::registry::{Resource, core};

const CORE: GroupVersion = ("", "v1");

/// In the order of discovery.
pub(super) const RESOURCES: &[Resource] = &[
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
];
