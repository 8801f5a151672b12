//! From what is asked to what is built: every default filled in, every value checked. Pure.
//!
//! After [`validate`] nothing is optional that the builders need, and nothing is left that Kubernetes would refuse for
//! its shape.

pub mod bootstrap;
mod database;
mod isolation;
pub mod rest;
pub mod snapshots;
pub mod template;
#[cfg(test)]
mod tests;
pub mod tuning;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PodTemplateSpec, Toleration};
use vkube_crds::{
    Access, AdditionalKubeconfig, ArgocdExport, DeletionPolicy, ExposeGateway, ExposeIngress, ExposeService,
    ExposeType, ImagePullPolicy, NamespaceMap, Networking, Quantity, RestoreFrom, VirtualCluster, Workloads,
    WritePermissions,
};

pub use database::Database;
pub use isolation::{Isolation, Network};

use crate::names::{Identity, PRIORITY_CLASS, wanted_host_namespace};
use crate::options::{KUBERNETES_VERSION, Options};

/// Everything about a virtual cluster that the builders need.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Pods of the control plane; more than one have a database.
    pub replicas: i32,
    /// Image of the control plane.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Requests of the control plane.
    pub requests: BTreeMap<String, Quantity>,
    /// Limits of the control plane.
    pub limits: BTreeMap<String, Quantity>,
    /// Nodes that the control plane may run on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the control plane tolerates.
    pub tolerations: Vec<Toleration>,
    /// Priority class of the control plane.
    pub priority_class: String,
    /// What the control plane is told besides, how it is probed and who measures it.
    pub tuning: tuning::Tuning,
    /// What is laid over the control plane's pod.
    pub pod_template: Option<PodTemplateSpec>,
    /// Further labels of the host namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Further annotations of the host namespace.
    pub namespace_annotations: BTreeMap<String, String>,
    /// The database outside that is the store.
    pub database: Option<Database>,
    /// The store's volume; `None` keeps data in the pod.
    pub volume: Option<Volume>,
    /// Names inside the cluster.
    pub networking: Networking,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// How clients reach the API server.
    pub expose: Expose,
    /// Validity of issued certificates.
    pub validity: Duration,
    /// How long before their end they are renewed.
    pub renew_before: Duration,
    /// The administrator's Secret.
    pub kubeconfig_secret: String,
    /// URL in the kubeconfig, if chosen.
    pub server: Option<String>,
    /// Kubeconfigs of other identities.
    pub additional: Vec<AdditionalKubeconfig>,
    /// Where and as what the cluster's pods run.
    pub workloads: Workloads,
    /// What the cluster shares with its host.
    pub sync: vkube_crds::Sync,
    /// Which virtual namespaces have namespaces of their own on the host.
    pub mapped: Option<Mapped>,
    /// Bounds of the workloads.
    pub isolation: Isolation,
    /// The cluster Secret of Argo CD, if it is to be written.
    pub argocd: Option<Argocd>,
    /// Whether the administrator's Secret is one of Cluster API.
    pub cluster_api: bool,
    /// When the cluster sleeps by itself.
    pub rest: Option<rest::Rest>,
    /// How long after its last use the cluster is deleted by itself.
    pub idle_lifetime: Option<Duration>,
    /// How long after its creation the cluster is deleted by itself.
    pub lifetime: Option<Duration>,
    /// What becomes of the host namespace on deletion.
    pub deletion_policy: DeletionPolicy,
    /// Secret with the certificate authority, if it is not the cluster's own.
    pub ca_secret: Option<String>,
    /// Who may do what inside.
    pub access: Vec<Access>,
    /// Writes that are refused.
    pub write_permissions: WritePermissions,
    /// What is applied inside before the cluster is ready.
    pub bootstrap: Option<bootstrap::Bootstrap>,
    /// Snapshots by schedule.
    pub snapshots: Option<snapshots::Snapshots>,
    /// The snapshot that the cluster starts from.
    pub restore_from: Option<RestoreFrom>,
}

/// The store's volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its size.
    pub size: Quantity,
    /// Its storage class; `None` is the host's default.
    pub storage_class: Option<String>,
}

/// The cluster Secret of Argo CD.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Argocd {
    /// Argo CD's namespace.
    pub namespace: String,
    /// Name of the cluster there.
    pub name: String,
    /// User inside the cluster.
    pub user: String,
    /// Group inside the cluster.
    pub group: String,
    /// Everything else, as asked.
    pub asked: ArgocdExport,
}

/// Virtual namespaces that have namespaces of their own on the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapped {
    /// Which has which.
    pub map: NamespaceMap,
    /// Further labels of those on the host.
    pub labels: BTreeMap<String, String>,
}

/// How clients reach the API server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expose {
    /// Type of the Service.
    pub type_: ExposeType,
    /// Its details.
    pub service: ExposeService,
    /// The Ingress, for that type.
    pub ingress: ExposeIngress,
    /// The route, for that type.
    pub gateway: ExposeGateway,
    /// Name or address outside.
    pub external_address: Option<String>,
    /// Further names in the serving certificate.
    pub extra_sans: Vec<String>,
}

const HOUR: u64 = 3600;
const DEFAULT_VALIDITY: Duration = Duration::from_secs(365 * 24 * HOUR);
const DEFAULT_RENEW_BEFORE: Duration = Duration::from_secs(90 * 24 * HOUR);
/// Shorter ones would be renewed, and the control plane restarted, all the time.
const LEAST_VALIDITY: Duration = Duration::from_secs(HOUR);

/// Checks the effective spec and fills in what is open. `bounds` are the policy's limits of the quota.
///
/// The error lists everything that is wrong, as `path: why`.
pub fn validate(
    cluster: &VirtualCluster,
    options: &Options,
    bounds: &BTreeMap<String, Quantity>,
) -> Result<Settings, Vec<String>> {
    let spec = &cluster.spec;
    let mut wrong = Vec::new();
    let control_plane = spec.control_plane.clone().unwrap_or_default();
    let host = spec.host_namespace.clone().unwrap_or_default();
    let lifecycle = spec.lifecycle.clone().unwrap_or_default();
    let kubeconfig = spec.kubeconfig.clone().unwrap_or_default();
    let resources = control_plane.resources.clone().unwrap_or_default();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();

    if let Some(version) = &spec.version
        && version.trim_start_matches('v') != KUBERNETES_VERSION
    {
        wrong.push(format!("version: {version:?} is not served by this release, {KUBERNETES_VERSION} is"));
    }
    // The CRD says so too; not every API server evaluates its rules.
    if Identity::of(cluster).host_namespace != wanted_host_namespace(cluster) {
        wrong.push("hostNamespace.name: is immutable".into());
    }
    for (path, keys) in [("labels", &host.labels), ("annotations", &host.annotations)] {
        for key in keys.keys().filter(|key| is_reserved(key)) {
            wrong.push(format!("hostNamespace.{path}: {key} belongs to Kubernetes or vkube"));
        }
    }
    quantities("controlPlane.resources.requests", &resources.requests, &mut wrong);
    quantities("controlPlane.resources.limits", &resources.limits, &mut wrong);
    let tuning = tuning::validate(&control_plane, &mut wrong);
    let pod_template = template::validate(control_plane.pod_template.as_ref(), &mut wrong);
    let (validity, renew_before) = certificates(spec.certificates.as_ref(), &mut wrong);
    let expose = expose(spec.expose.clone().unwrap_or_default(), &mut wrong);
    let volume = volume(spec.backing_store.as_ref(), options, &mut wrong);
    let (replicas, uid) = (spec.replicas.unwrap_or(1), cluster.metadata.uid.as_deref().unwrap_or_default());
    let database = database::validate(spec.backing_store.as_ref(), replicas, uid, &mut wrong);
    let isolation = isolation::validate(spec.isolation.as_ref(), bounds, &mut wrong);
    let workloads = spec.workloads.clone().unwrap_or_default();
    let networking = spec.networking.clone().unwrap_or_default();
    let sync = spec.sync.clone().unwrap_or_default();
    wrong.extend((options.check)(spec));
    let mapped = mapped(name, &sync, options, &mut wrong);
    let priority_class = control_plane.priority_class_name.clone().unwrap_or_else(|| PRIORITY_CLASS.into());
    if workloads.priority_class_name.as_ref() == Some(&priority_class) {
        wrong.push(format!("workloads.priorityClassName: {priority_class} is the control plane's"));
    }

    let secret = kubeconfig.secret_name.clone().unwrap_or_else(|| format!("{name}-kubeconfig"));
    if kubeconfig.additional.iter().any(|additional| additional.name == secret) {
        wrong.push(format!("kubeconfig.additional: {secret} is the administrator's Secret"));
    }
    for additional in &kubeconfig.additional {
        if additional.group.as_deref() == Some("system:masters") {
            wrong.push(format!(
                "kubeconfig.additional.{}: system:masters cannot be revoked; bind a role inside the cluster",
                additional.name
            ));
        }
    }
    let argocd = argocd(cluster, &mut wrong);
    let export = spec.export.as_ref().and_then(|export| export.cluster_api.as_ref());
    let cluster_api = export.and_then(|export| export.enabled) == Some(true);
    if cluster_api && secret != format!("{name}-kubeconfig") {
        wrong.push(format!("kubeconfig.secretName: Cluster API looks for {name}-kubeconfig"));
    }
    let until_deleted = lifetime(
        "lifecycle.deleteAfter.sinceCreation",
        lifecycle.delete_after.as_ref().and_then(|after| after.since_creation.as_ref()),
        &mut wrong,
    );
    let idle_lifetime = lifetime(
        "lifecycle.deleteAfter.sinceLastActivity",
        lifecycle.delete_after.as_ref().and_then(|after| after.since_last_activity.as_ref()),
        &mut wrong,
    );
    let rest = rest::validate(lifecycle.sleep.as_ref(), options.next_time, &mut wrong);
    let bootstrap = bootstrap::validate(spec.bootstrap.as_ref(), &mut wrong);
    let snapshots = snapshots::validate(spec.snapshots.as_ref(), options.next_time, &mut wrong);
    if database.is_some() && snapshots.is_some() {
        wrong.push(
            "snapshots: are kept on a volume, which ExternalDatabase has not; back up the database".into(),
        );
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let ca_secret = spec.certificates.as_ref().and_then(|asked| asked.ca_secret_ref.clone());
    Ok(Settings {
        replicas: replicas.max(0),
        image_pull_policy: control_plane.image_pull_policy.or(options.image_pull_policy),
        image: control_plane.image.unwrap_or_else(|| options.image.clone()),
        requests: with_defaults(resources.requests, &[("cpu", "20m"), ("memory", "32Mi")]),
        limits: with_defaults(resources.limits, &[("memory", "512Mi")]),
        node_selector: control_plane.node_selector,
        tolerations: control_plane.tolerations,
        priority_class,
        tuning,
        pod_template,
        namespace_labels: host.labels,
        namespace_annotations: host.annotations,
        volume: volume.filter(|_| database.is_none()),
        database,
        cluster_domain: networking.cluster_domain.clone().unwrap_or_else(|| "cluster.local".into()),
        networking,
        expose,
        validity,
        renew_before,
        kubeconfig_secret: secret,
        server: kubeconfig.server,
        additional: kubeconfig.additional,
        workloads,
        mapped,
        sync,
        isolation,
        argocd,
        cluster_api,
        lifetime: until_deleted,
        idle_lifetime,
        rest,
        deletion_policy: lifecycle.deletion_policy.unwrap_or_default(),
        ca_secret: ca_secret.map(|secret| secret.name),
        access: spec.access.clone(),
        write_permissions: lifecycle.write_permissions.unwrap_or_default(),
        bootstrap,
        snapshots,
        restore_from: spec.restore_from.clone(),
    })
}

impl Settings {
    /// Whether it counts when the cluster is used.
    pub fn depends_on_use(&self) -> bool {
        self.idle_lifetime.is_some() || self.rest.as_ref().is_some_and(|rest| rest.after.is_some())
    }
}

fn mapped(
    cluster: &str,
    sync: &vkube_crds::Sync,
    options: &Options,
    wrong: &mut Vec<String>,
) -> Option<Mapped> {
    let path = "sync.toHost.namespaces";
    let asked = sync.namespaces()?;
    for key in asked.extra_labels.keys().filter(|key| is_reserved(key)) {
        wrong.push(format!("{path}.extraLabels: {key} belongs to Kubernetes or vkube"));
    }
    // What is wrong with the mappings themselves, `options.check` says.
    let map = NamespaceMap::parse(cluster, &asked.rule.mappings).ok()?;
    if map.origin(&options.namespace).is_some() {
        wrong.push(format!("{path}: namespace {} is the operator's", options.namespace));
    }
    Some(Mapped { map, labels: asked.extra_labels.clone() })
}

fn certificates(asked: Option<&vkube_crds::Certificates>, wrong: &mut Vec<String>) -> (Duration, Duration) {
    let mut read = |path: &str, text: Option<&String>, default: Duration| {
        let Some(text) = text else { return default };
        match text.parse::<kube::core::Duration>() {
            Ok(duration) if !duration.is_negative() => duration.into(),
            _ => {
                wrong.push(format!("certificates.{path}: {text:?} is not a duration such as 8760h"));
                default
            }
        }
    };
    let validity = read("validity", asked.and_then(|asked| asked.validity.as_ref()), DEFAULT_VALIDITY);
    // A short validity alone is a complete request; certificates are then renewed at two thirds of it.
    let default = if validity > DEFAULT_RENEW_BEFORE { DEFAULT_RENEW_BEFORE } else { validity / 3 };
    let renew_before = read("renewBefore", asked.and_then(|asked| asked.renew_before.as_ref()), default);
    if validity < LEAST_VALIDITY {
        wrong.push("certificates.validity: must be an hour or more".into());
    } else if renew_before >= validity {
        wrong.push("certificates.renewBefore: must be shorter than the validity".into());
    }
    (validity, renew_before)
}

fn argocd(cluster: &VirtualCluster, wrong: &mut Vec<String>) -> Option<Argocd> {
    let asked = cluster.spec.export.as_ref()?.argocd.clone()?;
    for key in asked.labels.keys().filter(|key| is_reserved(key) || key.starts_with("argocd.argoproj.io/")) {
        wrong.push(format!("export.argocd.labels: {key} belongs to Kubernetes, Argo CD or vkube"));
    }
    if asked.enabled != Some(true) {
        return None;
    }
    let metadata = &cluster.metadata;
    let own = || {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        format!("{namespace}-{}", metadata.name.as_deref().unwrap_or_default())
    };
    Some(Argocd {
        namespace: asked.namespace.clone().unwrap_or_else(|| "argocd".into()),
        name: asked.name.clone().unwrap_or_else(own),
        user: asked.user.clone().unwrap_or_else(|| "argocd".into()),
        group: asked.group.clone().unwrap_or_else(|| "system:masters".into()),
        asked,
    })
}

/// Reads how long a cluster may live.
pub fn lifetime(path: &str, text: Option<&String>, wrong: &mut Vec<String>) -> Option<Duration> {
    let text = text?;
    match text.parse::<kube::core::Duration>() {
        Ok(duration) if !duration.is_negative() => Some(duration.into()),
        _ => {
            wrong.push(format!("{path}: {text:?} is not a duration such as 72h"));
            None
        }
    }
}

fn expose(asked: vkube_crds::Expose, wrong: &mut Vec<String>) -> Expose {
    let type_ = asked.type_.unwrap_or_default();
    let service = asked.service.unwrap_or_default();
    let mut needs = |present: bool, field: &str, types: &[ExposeType]| {
        if present && !types.contains(&type_) {
            wrong.push(format!("expose.service.{field}: not for type {}", type_.as_str()));
        }
    };
    let outside = [ExposeType::NodePort, ExposeType::LoadBalancer];
    needs(service.node_port.is_some(), "nodePort", &outside);
    needs(service.external_traffic_policy.is_some(), "externalTrafficPolicy", &outside);
    needs(service.load_balancer_class.is_some(), "loadBalancerClass", &[ExposeType::LoadBalancer]);
    needs(
        !service.load_balancer_source_ranges.is_empty(),
        "loadBalancerSourceRanges",
        &[ExposeType::LoadBalancer],
    );
    for key in service.labels.keys().filter(|key| is_reserved(key)) {
        wrong.push(format!("expose.service.labels: {key} belongs to Kubernetes or vkube"));
    }
    for range in &service.load_balancer_source_ranges {
        isolation::cidr("expose.service.loadBalancerSourceRanges", range, wrong);
    }
    for name in asked.extra_sans.iter().chain(&asked.external_address) {
        if name.parse::<IpAddr>().is_err() && !is_host_name(name) {
            wrong.push(format!("expose: {name:?} is neither a host name nor an address"));
        }
    }
    let gateway = asked.gateway.unwrap_or_default();
    let by_name = [ExposeType::Ingress, ExposeType::Gateway].contains(&type_);
    let is_name = |name: &String| name.parse::<IpAddr>().is_err() && !name.starts_with('*');
    if by_name && !asked.external_address.as_ref().is_some_and(is_name) {
        wrong.push(format!("expose.externalAddress: type {} needs a host name", type_.as_str()));
    }
    if type_ == ExposeType::Gateway && gateway.parent_refs.is_empty() {
        wrong.push("expose.gateway.parentRefs: type Gateway needs a Gateway".into());
    }
    Expose {
        type_,
        service,
        ingress: asked.ingress.unwrap_or_default(),
        gateway,
        external_address: asked.external_address,
        extra_sans: asked.extra_sans,
    }
}

fn volume(
    asked: Option<&vkube_crds::BackingStore>,
    options: &Options,
    wrong: &mut Vec<String>,
) -> Option<Volume> {
    let asked = asked.and_then(|store| store.volume.clone()).unwrap_or_default();
    let size = asked.size.unwrap_or_else(|| "5Gi".into());
    if size.nanos().is_none_or(|amount| amount <= 0) {
        wrong.push(format!("backingStore.volume.size: {:?} is not a size", size.0));
    }
    asked
        .enabled
        .unwrap_or(options.persistence)
        .then_some(Volume { size, storage_class: asked.storage_class_name })
}

/// Names a value for each that is not named yet.
fn with_defaults(
    mut map: BTreeMap<String, Quantity>,
    defaults: &[(&str, &str)],
) -> BTreeMap<String, Quantity> {
    for (name, amount) in defaults {
        map.entry((*name).to_owned()).or_insert_with(|| (*amount).into());
    }
    map
}

fn quantities(path: &str, map: &BTreeMap<String, Quantity>, wrong: &mut Vec<String>) {
    for (name, amount) in map {
        if amount.nanos().is_none_or(|amount| amount < 0) {
            wrong.push(format!("{path}.{name}: {:?} is not an amount", amount.0));
        }
    }
}

/// Keys that mean something to Kubernetes, or to us.
fn is_reserved(key: &str) -> bool {
    is_ours(key) || is_below(key, "kubernetes.io") || is_below(key, "k8s.io")
}

/// Keys that mean something to us.
fn is_ours(key: &str) -> bool {
    is_below(key, vkube_crds::GROUP)
}

/// Whether the prefix of a key is a domain or below it.
fn is_below(key: &str, domain: &str) -> bool {
    let prefix = key.split_once('/').and_then(|(prefix, _)| prefix.strip_suffix(domain));
    prefix.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// A DNS name, possibly with a leading wildcard.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
}
