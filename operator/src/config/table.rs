//! What is where in a `vcluster.yaml`, and what it means here.

use std::fmt::Write as _;

use serde_json::Value;

use super::Asked;
use super::convert::{
    cluster_domain, container, egress, flags, host_names, ingress, init_containers, monitored, node_port,
    probes, replicas, sidecars, snapshots, tls_route, tolerations, version,
};
use super::rules::{
    gateway_api, metrics, nodes, pods, resources_from_host, resources_to_host, scheduler, services_from_host,
    services_to_host,
};

/// A path, and what is meant by what is there.
pub(super) struct Row {
    /// From the top of the document.
    pub(super) path: &'static str,
    /// What that means.
    pub(super) means: Means,
}

/// What a value means.
pub(super) enum Means {
    /// The same value at this path of the spec.
    Field(&'static str),
    /// What the function makes of it; in words, what that is.
    Into(&'static str, fn(&mut Asked, &str, &Value)),
    /// A rule of `spec.sync`: which way, and the resource.
    Rule(&'static str, &'static str),
    /// It is so, and cannot be switched off.
    Always,
    /// It is so anyway, or is not needed.
    Moot,
    /// Nothing, and why.
    Nothing(&'static str),
}

use Means::{Always, Field, Into, Moot, Nothing, Rule};

const fn row(path: &'static str, means: Means) -> Row {
    Row { path, means }
}

const TO: &str = "toHost";
const FROM: &str = "fromHost";

const OWN_IMAGE: &str = "the control plane is one program; spec.controlPlane.image is its image";
const IN_PROCESS: &str = "it is part of the control plane";
const STORE: &str = "objects are in a volume or a database; see spec.backingStore";
const NO_NODES: &str = "nodes are the host's";
const NO_PLUGINS: &str = "there are no plugins; see spec.sync";

/// Every path of a `vcluster.yaml` that is known.
pub(super) const TABLE: &[Row] = &[
    row("sync.toHost.services", Rule(TO, "services")),
    row("sync.toHost.endpoints", Rule(TO, "endpoints")),
    row("sync.toHost.endpointSlices", Rule(TO, "endpointslices.discovery.k8s.io")),
    row("sync.toHost.persistentVolumeClaims", Rule(TO, "persistentvolumeclaims")),
    row("sync.toHost.configMaps", Rule(TO, "configmaps")),
    row("sync.toHost.secrets", Rule(TO, "secrets")),
    row("sync.toHost.pods.enabled", Always),
    row("sync.toHost.pods.patches", Into("`sync.toHost.pods.patches`", pods)),
    row("sync.toHost.pods.translateImage", Field("workloads/images")),
    row("sync.toHost.pods.enforceTolerations", Into("`workloads.tolerations`", tolerations)),
    row("sync.toHost.pods.runtimeClassName", Field("workloads/runtimeClassName")),
    row("sync.toHost.pods.priorityClassName", Field("workloads/priorityClassName")),
    row("sync.toHost.pods.useSecretsForSATokens", Moot),
    row("sync.toHost.pods.rewriteHosts", Moot),
    row(
        "sync.toHost.pods.hybridScheduling",
        Nothing("a pod's scheduler is the host's, or spec.sync.nodes.scheduler"),
    ),
    row("sync.toHost.ingresses", Rule(TO, "ingresses.networking.k8s.io")),
    row("sync.toHost.networkPolicies", Rule(TO, "networkpolicies.networking.k8s.io")),
    row("sync.toHost.podDisruptionBudgets", Rule(TO, "poddisruptionbudgets.policy")),
    row("sync.toHost.serviceAccounts", Rule(TO, "serviceaccounts")),
    row("sync.toHost.priorityClasses", Rule(TO, "priorityclasses.scheduling.k8s.io")),
    row("sync.toHost.storageClasses", Rule(TO, "storageclasses.storage.k8s.io")),
    row("sync.toHost.persistentVolumes", Rule(TO, "persistentvolumes")),
    row("sync.toHost.volumeSnapshots", Rule(TO, "volumesnapshots.snapshot.storage.k8s.io")),
    row("sync.toHost.volumeSnapshotContents", Rule(TO, "volumesnapshotcontents.snapshot.storage.k8s.io")),
    row("sync.toHost.resourceClaims", Rule(TO, "resourceclaims.resource.k8s.io")),
    row("sync.toHost.resourceClaimTemplates", Rule(TO, "resourceclaimtemplates.resource.k8s.io")),
    row("sync.toHost.gatewayApi", Into("`sync.toHost` for the kinds of the Gateway API", gateway_api)),
    row("sync.toHost.customResources", Into("`sync.toHost`", resources_to_host)),
    row("sync.toHost.namespaces", Nothing("is fixed for good, so only spec.sync.toHost.namespaces says it")),
    row("sync.fromHost.events.enabled", Always),
    row("sync.fromHost.events", Nothing("events come as they are")),
    row("sync.fromHost.nodes", Into("`sync.nodes`", nodes)),
    row("sync.fromHost.configMaps", Rule(FROM, "configmaps")),
    row("sync.fromHost.secrets", Rule(FROM, "secrets")),
    row("sync.fromHost.storageClasses", Rule(FROM, "storageclasses.storage.k8s.io")),
    row("sync.fromHost.csiDrivers", Rule(FROM, "csidrivers.storage.k8s.io")),
    row("sync.fromHost.csiNodes", Rule(FROM, "csinodes.storage.k8s.io")),
    row("sync.fromHost.csiStorageCapacities", Rule(FROM, "csistoragecapacities.storage.k8s.io")),
    row("sync.fromHost.ingressClasses", Rule(FROM, "ingressclasses.networking.k8s.io")),
    row("sync.fromHost.gatewayClasses", Rule(FROM, "gatewayclasses.gateway.networking.k8s.io")),
    row("sync.fromHost.gateways", Rule(FROM, "gateways.gateway.networking.k8s.io")),
    row("sync.fromHost.runtimeClasses", Rule(FROM, "runtimeclasses.node.k8s.io")),
    row("sync.fromHost.priorityClasses", Rule(FROM, "priorityclasses.scheduling.k8s.io")),
    row("sync.fromHost.deviceClasses", Rule(FROM, "deviceclasses.resource.k8s.io")),
    row("sync.fromHost.volumeSnapshotClasses", Rule(FROM, "volumesnapshotclasses.snapshot.storage.k8s.io")),
    row("sync.fromHost.customResources", Into("`sync.fromHost`", resources_from_host)),
    row("controlPlane.distro.k8s.enabled", Moot),
    row("controlPlane.distro.k8s.version", Into("`version`", version)),
    row("controlPlane.distro.k8s.scheduler.enabled", Into("`sync.nodes.scheduler`", scheduler)),
    row("controlPlane.distro.k8s.apiServer.enabled", Always),
    row("controlPlane.distro.k8s.controllerManager.enabled", Always),
    row("controlPlane.distro.k8s.apiServer.extraArgs", Into("`controlPlane.extraArgs`", flags)),
    row("controlPlane.distro", Nothing(OWN_IMAGE)),
    row("controlPlane.backingStore.database.embedded.enabled", Moot),
    row("controlPlane.backingStore", Nothing(STORE)),
    row("controlPlane.proxy.extraSANs", Field("expose/extraSANs")),
    row("controlPlane.proxy", Moot),
    row("controlPlane.coredns.enabled", Always),
    row("controlPlane.coredns", Nothing(IN_PROCESS)),
    row("controlPlane.service.enabled", Always),
    row("controlPlane.service.labels", Field("expose/service/labels")),
    row("controlPlane.service.annotations", Field("expose/service/annotations")),
    row("controlPlane.service.httpsNodePort", Into("`expose.service.nodePort`", node_port)),
    row("controlPlane.service.kubeletNodePort", Nothing("kubelets are reached through the API server")),
    row("controlPlane.service.spec.type", Field("expose/type")),
    row("controlPlane.service.spec.loadBalancerClass", Field("expose/service/loadBalancerClass")),
    row(
        "controlPlane.service.spec.loadBalancerSourceRanges",
        Field("expose/service/loadBalancerSourceRanges"),
    ),
    row("controlPlane.service.spec.externalTrafficPolicy", Field("expose/service/externalTrafficPolicy")),
    row("controlPlane.service.spec", Nothing("see spec.expose.service")),
    row(
        "controlPlane.ingress",
        Into("`expose.type: Ingress`, `expose.externalAddress`, `expose.ingress`", ingress),
    ),
    row(
        "controlPlane.tlsRoute",
        Into("`expose.type: Gateway`, `expose.externalAddress`, `expose.gateway`", tls_route),
    ),
    row("controlPlane.standalone", Nothing("see `vkube controlplane`")),
    row("controlPlane.statefulSet.imagePullPolicy", Field("controlPlane/imagePullPolicy")),
    row("controlPlane.statefulSet.image", Nothing(OWN_IMAGE)),
    row("controlPlane.statefulSet.resources.requests", Field("controlPlane/resources/requests")),
    row("controlPlane.statefulSet.resources.limits", Field("controlPlane/resources/limits")),
    row("controlPlane.statefulSet.pods.labels", Field("controlPlane/podTemplate/metadata/labels")),
    row("controlPlane.statefulSet.pods.annotations", Field("controlPlane/podTemplate/metadata/annotations")),
    row(
        "controlPlane.statefulSet.env",
        Into("`controlPlane.podTemplate`: `env` of the container", container),
    ),
    row(
        "controlPlane.statefulSet.security.podSecurityContext",
        Field("controlPlane/podTemplate/spec/securityContext"),
    ),
    row(
        "controlPlane.statefulSet.security.containerSecurityContext",
        Nothing("the control plane's container runs without root rights; see spec.controlPlane.podTemplate"),
    ),
    row("controlPlane.statefulSet.persistence.volumeClaim.enabled", Field("backingStore/volume/enabled")),
    row("controlPlane.statefulSet.persistence.volumeClaim.size", Field("backingStore/volume/size")),
    row(
        "controlPlane.statefulSet.persistence.volumeClaim.storageClass",
        Field("backingStore/volume/storageClassName"),
    ),
    row(
        "controlPlane.statefulSet.persistence.volumeClaim.retentionPolicy",
        Nothing("spec.lifecycle.deletionPolicy says what stays"),
    ),
    row("controlPlane.statefulSet.persistence.addVolumes", Field("controlPlane/podTemplate/spec/volumes")),
    row(
        "controlPlane.statefulSet.persistence.addVolumeMounts",
        Into("`controlPlane.podTemplate`: `volumeMounts` of the container", container),
    ),
    row("controlPlane.statefulSet.persistence.binariesVolume", Moot),
    row("controlPlane.statefulSet.scheduling.nodeSelector", Field("controlPlane/nodeSelector")),
    row("controlPlane.statefulSet.scheduling.tolerations", Field("controlPlane/tolerations")),
    row("controlPlane.statefulSet.scheduling.priorityClassName", Field("controlPlane/priorityClassName")),
    row("controlPlane.statefulSet.scheduling.affinity", Field("controlPlane/podTemplate/spec/affinity")),
    row(
        "controlPlane.statefulSet.scheduling.topologySpreadConstraints",
        Field("controlPlane/podTemplate/spec/topologySpreadConstraints"),
    ),
    row("controlPlane.statefulSet.scheduling.podManagementPolicy", Moot),
    row(
        "controlPlane.statefulSet.initContainers",
        Into("`controlPlane.podTemplate.spec.initContainers`", init_containers),
    ),
    row(
        "controlPlane.statefulSet.sidecarContainers",
        Into("`controlPlane.podTemplate.spec.containers`", sidecars),
    ),
    row("controlPlane.statefulSet.hostAliases", Field("controlPlane/podTemplate/spec/hostAliases")),
    row("controlPlane.statefulSet.dnsPolicy", Field("controlPlane/podTemplate/spec/dnsPolicy")),
    row("controlPlane.statefulSet.dnsConfig", Field("controlPlane/podTemplate/spec/dnsConfig")),
    row("controlPlane.statefulSet.probes", Into("`controlPlane.probes`", probes)),
    row("controlPlane.statefulSet.enableServiceLinks", Moot),
    row(
        "controlPlane.statefulSet.highAvailability",
        Into("nothing, unless one replica is asked for", replicas),
    ),
    row("controlPlane.statefulSet", Nothing("see spec.controlPlane.podTemplate")),
    row("controlPlane.serviceMonitor.enabled", Into("`controlPlane.serviceMonitor.enabled`", monitored)),
    row("controlPlane.serviceMonitor.labels", Field("controlPlane/serviceMonitor/labels")),
    row("controlPlane.serviceMonitor", Nothing("see spec.controlPlane.serviceMonitor")),
    row("controlPlane.hostPathMapper", Nothing("it would need rights on the host's nodes")),
    row("controlPlane.advanced.virtualScheduler.enabled", Into("`sync.nodes.scheduler`", scheduler)),
    row("controlPlane.advanced.podDisruptionBudget", Moot),
    row("controlPlane.advanced", Nothing("see spec.controlPlane and spec.workloads")),
    row("controlPlane.endpoint", Nothing(NO_NODES)),
    row("networking.replicateServices.toHost", Into("`sync.toHost.services.mappings`", services_to_host)),
    row(
        "networking.replicateServices.fromHost",
        Into("`sync.fromHost.services.mappings`", services_from_host),
    ),
    row("networking.resolveDNS", Into("`networking.resolveDNS`", host_names)),
    row(
        "networking.advanced.clusterDomain",
        Into(
            "nothing: it is fixed for good, so only `networking.clusterDomain` of the spec says it",
            cluster_domain,
        ),
    ),
    row(
        "networking.advanced.fallbackHostCluster",
        Nothing("name the host's services in spec.networking.resolveDNS"),
    ),
    row("networking.advanced.proxyKubelets", Moot),
    row("networking.podCIDR", Moot),
    row("networking.serviceCIDR", Moot),
    row("policies.resourceQuota.enabled", Field("isolation/resourceQuota/enabled")),
    row("policies.resourceQuota.quota", Field("isolation/resourceQuota/hard")),
    row("policies.resourceQuota", Nothing("the quota's scopes and metadata are vkube's to choose")),
    row("policies.limitRange.enabled", Field("isolation/limitRange/enabled")),
    row("policies.limitRange.default", Field("isolation/limitRange/default")),
    row("policies.limitRange.defaultRequest", Field("isolation/limitRange/defaultRequest")),
    row("policies.limitRange.min", Field("isolation/limitRange/min")),
    row("policies.limitRange.max", Field("isolation/limitRange/max")),
    row("policies.limitRange", Nothing("the metadata is vkube's to choose")),
    row("policies.networkPolicy.enabled", Field("isolation/networkPolicy/enabled")),
    row(
        "policies.networkPolicy.workload.publicEgress",
        Into("`isolation.networkPolicy.egressCIDRs`, `isolation.networkPolicy.egressExceptCIDRs`", egress),
    ),
    row("policies.networkPolicy.fallbackDns", Moot),
    row("policies.networkPolicy", Nothing("see spec.isolation.networkPolicy")),
    row("policies.podSecurityStandard", Field("isolation/podSecurity")),
    row("policies.centralAdmission", Nothing("bind policies of the host to the host namespace instead")),
    row("exportKubeConfig.server", Field("kubeconfig/server")),
    row("exportKubeConfig.secret.name", Field("kubeconfig/secretName")),
    row("exportKubeConfig", Nothing("see spec.kubeconfig")),
    row("integrations.metricsServer", Into("`sync.fromHost` for `pods.metrics.k8s.io`", metrics)),
    row("integrations", Nothing("name the resources in spec.sync")),
    row("rbac.role.enabled", Moot),
    row("rbac.clusterRole.enabled", Moot),
    row("rbac", Nothing("roles with the label vkube.dev/aggregate-to-sync")),
    row("experimental.deploy.vcluster.manifests", Field("bootstrap/manifests")),
    row("experimental.deploy", Nothing("see spec.bootstrap; charts are for Flux or Argo CD")),
    row("experimental", Nothing("has no counterpart")),
    row("sleep.auto.afterInactivity", Field("lifecycle/sleep/after")),
    row("sleep.auto.schedule", Field("lifecycle/sleep/schedule")),
    row("sleep.auto.wakeup.schedule", Field("lifecycle/sleep/wakeSchedule")),
    row("sleep.auto.timezone", Field("lifecycle/sleep/timezone")),
    row("sleep", Nothing("see spec.lifecycle.sleep")),
    row("snapshots.auto", Into("`snapshots.schedule`, `snapshots.timezone`, `snapshots.keep`", snapshots)),
    row("snapshots", Nothing("snapshots are on the cluster's volume; see spec.snapshots")),
    row("deletion.auto.afterInactivity", Field("lifecycle/deleteAfter/sinceLastActivity")),
    row("deletion", Nothing("only spec.lifecycle.deletionProtection protects")),
    row("logging", Nothing("the operator chooses the form of logs")),
    row("telemetry", Nothing("there is none")),
    row("privateNodes", Nothing(NO_NODES)),
    row("deploy", Nothing(NO_NODES)),
    row("plugins", Nothing(NO_PLUGINS)),
    row("plugin", Nothing(NO_PLUGINS)),
    row("platform", Nothing("there is no platform")),
    row("pro", Nothing("there is no other edition")),
    row("global", Nothing("it is the chart's")),
    row("serviceCIDR", Moot),
];

/// The table, for people.
pub fn markdown() -> String {
    let mut text = String::from("| in `vcluster.yaml` | here |\n|---|---|\n");
    for Row { path, means } in TABLE {
        let here = match means {
            Field(target) => format!("`{}`", target.replace('/', ".")),
            Into(words, _) => (*words).to_owned(),
            Rule(way, resource) => format!("`sync.{way}` for `{resource}`"),
            Always => "always on".to_owned(),
            Moot => "so anyway, or not needed".to_owned(),
            Nothing(why) => format!("nothing else: {why}"),
        };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "| `{path}` | {here} |");
    }
    text
}
