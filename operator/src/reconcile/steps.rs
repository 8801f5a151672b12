//! The steps of an attempt, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::DynamicObject;
use kube::{Resource as _, ResourceExt};
use vkube_crds::{Endpoints, ExposeType, InventoryItem, PolicyStatus, VirtualCluster, VirtualClusterPolicy};

use super::certificates::{self, Certificates};
use super::{Report, Stop, kubeconfigs, mapped, monitor, namespace, publish, route, sleep, snapshots};
use super::{argocd, bootstrap, config, control_plane, database, files, gates, lifetime, sources, volume};
use crate::apply::Applied;
use crate::build::{self, Data, Hashes, Key, Object};
use crate::conditions::Check;
use crate::config::Asked;
use crate::context::Context;
use crate::error::Error;
use crate::events;
use crate::inventory;
use crate::names::Identity;
use crate::observe;
use crate::options::InternalAddress;
use crate::policy::{self, Binding};
use crate::reason::Reason;
use crate::settings::{self, Settings};

/// The Service network needs a moment to know a pod that became ready.
const PROBE_POLL: Duration = Duration::from_millis(100);

/// Everything that the steps share.
pub(super) struct Attempt<'a> {
    pub(super) context: &'a Context,
    pub(super) cluster: &'a VirtualCluster,
    pub(super) identity: Identity,
    pub(super) settings: Settings,
    /// What the cluster asks for by a configuration of vCluster.
    pub(super) asked: Asked,
    /// What is on the host for the cluster, as far as this attempt has seen.
    made: Mutex<BTreeSet<InventoryItem>>,
    /// Whether the host namespace was made by this attempt, so that nothing in it needs to be read.
    fresh: bool,
}

/// Takes every step that can be taken.
pub(super) async fn attempt(
    context: &Context,
    cluster: &VirtualCluster,
    report: &mut Report,
) -> Result<(), Stop> {
    let (settings, asked, policy) = resolve(context, cluster, report).await?;
    let identity = Identity::of(cluster);
    let made = Mutex::default();
    let mut attempt = Attempt { context, cluster, identity, settings, asked, made, fresh: false };
    let outcome = take(&mut attempt, policy.as_deref(), report).await;
    let made = attempt.made.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.inventory = inventory::after(&report.inventory, made, outcome.is_ok());
    outcome
}

/// Takes the steps, one after the other.
async fn take(attempt: &mut Attempt<'_>, policy: Option<&str>, report: &mut Report) -> Result<(), Stop> {
    let used = lifetime::used(attempt, report).await?;
    lifetime::ensure(attempt, used, report).await?;
    sleep::by_rule(attempt, used, report);
    let begun = report.clone();
    let (announced, fresh) =
        tokio::join!(announce(attempt, &begun), namespace::ensure(attempt, policy, report));
    announced?;
    attempt.fresh = fresh?;
    grant(attempt).await?;
    let services = guard(attempt, report).await?;
    mapped::ensure(attempt, policy, report).await?;
    let certificates = certificates::ensure(attempt, &services, report).await?;
    let data = data(attempt, report).await?;
    let files = files::ensure(attempt, report).await?;
    monitor::ensure(attempt, &certificates, report).await?;
    let hashes = Hashes { pki: certificates.hash.clone(), files };
    let rolled = control_plane::ensure(attempt, &hashes, &data, report).await;
    if matches!(rolled, Err(Stop::Stalled(Reason::UpgradeFailed, _))) && report.ready_replicas > 0 {
        // The pods that the upgrade has not come to may serve. It is the upgrade that is told, whatever they answer.
        let _ = available(attempt, &services, &certificates, report).await;
    }
    rolled?;
    if attempt.settings.replicas == 0 {
        return sleep::settle(attempt, &services, &certificates, report).await;
    }
    sleep::answer_door(attempt).await?;
    available(attempt, &services, &certificates, report).await?;
    snapshots::restore(attempt, &services, &certificates, report).await?;
    kubeconfigs::ensure(attempt, &certificates, report).await?;
    argocd::ensure(attempt, &certificates, report).await?;
    bootstrap::ensure(attempt, &services, &certificates, report).await?;
    snapshots::ensure(attempt, &services, &certificates, report).await;
    kubeconfigs::reachable(attempt, report)?;
    gates::ensure(attempt, report)
}

/// Finds the policy and what it makes of the spec.
async fn resolve(
    context: &Context,
    cluster: &VirtualCluster,
    report: &mut Report,
) -> Result<(Settings, Asked, Option<String>), Stop> {
    let policies = context.policies();
    let by_namespace = policies.iter().any(|policy| {
        policy.spec.selector.as_ref().is_some_and(|selector| selector.namespace_selector.is_some())
    });
    let labels = if by_namespace {
        let key = Key::new::<Namespace>(None, &cluster.namespace().unwrap_or_default());
        context.host.get(&key).await?.map(|namespace| namespace.labels().clone()).unwrap_or_default()
    } else {
        BTreeMap::new()
    };
    let (policy, rivals) = match policy::bind(cluster, &labels, &policies) {
        Binding::Unbound => (None, Vec::new()),
        Binding::Bound(policy, rivals) => (Some(policy), rivals),
        Binding::Missing(name) => {
            // What was built under it stays as it is: without it we do not know what is allowed.
            let message = format!("VirtualClusterPolicy {name} does not exist");
            report.checks.policy = Check::Unknown(Reason::PolicyMissing, message.clone());
            return Err(Stop::Stalled(Reason::PolicyMissing, message));
        }
        Binding::NotAllowed(name) => {
            let message = format!("the selector of VirtualClusterPolicy {name} does not match this cluster");
            report.checks.policy = Check::Failed(Reason::PolicyNotAllowed, message.clone());
            return Err(Stop::Stalled(Reason::PolicyNotAllowed, message));
        }
    };
    let configured = config::ensure(context, cluster, report).await?;
    let merged = policy::merge(&cluster.spec, configured.spec.clone(), policy.as_deref());
    let effective = merged.map_err(|error| Stop::Stalled(Reason::InvalidSpec, error.to_string()))?;
    report.expect(&effective.spec);
    let constraints = policy.as_ref().and_then(|policy| policy.spec.constraints.clone()).unwrap_or_default();
    let asked = VirtualCluster { spec: effective.spec, ..cluster.clone() };
    let settings = settings::validate(&asked, &context.options, &constraints.max_resource_quota)
        .map_err(|wrong| config::unbuildable(&configured, wrong, report))?;
    let mut violations = policy::constrain(&settings, &constraints, &context.options.image);
    let own_namespace = cluster.namespace().unwrap_or_default();
    let exportable = &constraints.allowed_export_namespaces;
    violations.extend(policy::constrain_export(&settings, &own_namespace, exportable));
    if !violations.is_empty() {
        let message = violations.join("; ");
        context.metrics.violated();
        if let Some(policy) = &policy {
            events::publish_violation(&context.recorder, policy, cluster, &message).await;
        }
        report.checks.policy = Check::Failed(Reason::PolicyRejected, message.clone());
        return Err(Stop::Stalled(Reason::PolicyRejected, message));
    }
    report.policy = policy.as_ref().map(|policy| PolicyStatus {
        name: policy.name_any(),
        uid: policy.uid().unwrap_or_default(),
        observed_generation: policy.metadata.generation.unwrap_or_default(),
        enforced_fields: effective.enforced,
    });
    report.checks.policy = accepted(policy.as_deref(), &rivals);
    Ok((settings, configured, policy.map(|policy| policy.name_any())))
}

fn accepted(policy: Option<&VirtualClusterPolicy>, rivals: &[String]) -> Check {
    let Some(policy) = policy else { return Check::Passed(Reason::NoPolicy, "no policy applies".into()) };
    let message = format!("VirtualClusterPolicy {} is in force", policy.name_any());
    if rivals.is_empty() {
        return Check::Passed(Reason::PolicyApplied, message);
    }
    let rivals = rivals.join(", ");
    Check::Passed(
        Reason::PolicyAmbiguous,
        format!("{message}; of the same priority and later by name: {rivals}"),
    )
}

/// Says at once that a new generation is being worked on, so that nobody takes the old state for the new one's.
async fn announce(attempt: &Attempt<'_>, report: &Report) -> Result<(), Stop> {
    let observed = attempt.cluster.status.as_ref().and_then(|status| status.observed_generation);
    if observed != attempt.cluster.metadata.generation {
        publish(attempt.context, attempt.cluster, report).await?;
    }
    Ok(())
}

/// Gives the operator its rights in the cluster's namespaces.
async fn grant(attempt: &Attempt<'_>) -> Result<(), Stop> {
    let grants = build::grants(&attempt.identity, &attempt.context.options);
    attempt.apply_all(grants).await?;
    attempt.context.secrets.hold(&attempt.identity.namespace, &attempt.identity.uid);
    attempt.context.references.set(&attempt.identity, &sources::all(attempt));
    Ok(())
}

/// The Services of a cluster, as the host has them.
#[derive(Default)]
pub(super) struct Services {
    pub(super) internal: Option<DynamicObject>,
    pub(super) external: Option<DynamicObject>,
}

/// Puts everything in place that has to be there before the first pod.
async fn guard(attempt: &Attempt<'_>, report: &mut Report) -> Result<Services, Stop> {
    let guards = build::guards(&attempt.identity, &attempt.settings);
    let optional = if attempt.fresh { Vec::new() } else { build::optional(&attempt.identity) };
    let unwanted = build::unwanted(optional, &guards);
    let removal =
        try_join_all(unwanted.iter().map(|key| attempt.context.host.remove(key, &attempt.identity)));
    let (live, removed) = tokio::join!(attempt.apply_all(guards), removal);
    let live =
        live.inspect_err(|_| report.checks.isolation = Check::Pending("guards are being applied".into()))?;
    removed?;
    report.checks.isolation = isolation(&attempt.settings);
    let mut services = Services::default();
    for object in live.into_iter().filter(is_service) {
        if object.name_any() == attempt.identity.name {
            services.internal = Some(object);
        } else {
            services.external = Some(object);
        }
    }
    let amiss = route::ensure(attempt).await?;
    endpoint(attempt, &services, amiss, report)?;
    Ok(services)
}

fn is_service(object: &DynamicObject) -> bool {
    object.types.as_ref().is_some_and(|types| types.kind == Service::kind(&()))
}

fn isolation(settings: &Settings) -> Check {
    let isolation = &settings.isolation;
    let off: Vec<_> = [
        ("quota", isolation.quota.is_none()),
        ("limit range", isolation.limits.is_none()),
        ("network policy", isolation.network.is_none()),
    ]
    .into_iter()
    .filter_map(|(name, off)| off.then_some(name))
    .collect();
    if off.is_empty() {
        return Check::applied("quota, limits, network policies and Pod Security are in force");
    }
    Check::Passed(Reason::PartlyDisabled, format!("switched off by the spec: {}", off.join(", ")))
}

/// Derives the addresses of the API server from its Services.
fn endpoint(
    attempt: &Attempt<'_>,
    services: &Services,
    amiss: Option<Check>,
    report: &mut Report,
) -> Result<(), Stop> {
    let Some(address) =
        services.internal.as_ref().and_then(|live| observe::cluster_ips(live).into_iter().next())
    else {
        report.checks.endpoint = Check::Pending("the Service has no cluster IP yet".into());
        return Err(Stop::Waiting("waiting for the Service's cluster IP".into()));
    };
    let host = match attempt.context.options.internal_address {
        InternalAddress::ServiceName => attempt.identity.service_host(),
        InternalAddress::ClusterIp if address.contains(':') => format!("[{address}]"),
        InternalAddress::ClusterIp => address,
    };
    let external_url = external_url(&attempt.settings, services.external.as_ref());
    report.checks.endpoint = match (attempt.settings.expose.type_, &external_url) {
        (ExposeType::LoadBalancer, None) => {
            Check::Failed(Reason::EndpointPending, "the load balancer has no address yet".into())
        }
        _ => amiss.unwrap_or_else(|| Check::applied("the API server has its addresses")),
    };
    report.endpoints = Some(Endpoints { internal_url: Some(format!("https://{host}:443")), external_url });
    Ok(())
}

fn external_url(settings: &Settings, service: Option<&DynamicObject>) -> Option<String> {
    let balancer = service.map(observe::balancer_addresses).unwrap_or_default();
    let host = settings.expose.external_address.clone().or_else(|| balancer.into_iter().next())?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let port = match settings.expose.type_ {
        ExposeType::ClusterIP => return None,
        ExposeType::NodePort => observe::node_port(service?)?,
        ExposeType::LoadBalancer | ExposeType::Ingress | ExposeType::Gateway => 443,
    };
    Some(format!("https://{host}:{port}"))
}

/// Puts in place what keeps the data.
async fn data(attempt: &Attempt<'_>, report: &mut Report) -> Result<Data, Stop> {
    match &attempt.settings.database {
        Some(database) => database::ensure(attempt, database, report).await.map(Data::Database),
        None => volume::ensure(attempt, report)
            .await
            .map(|is_kept| if is_kept { Data::Volume } else { Data::Pod }),
    }
}

/// Asks the API server through its Service.
async fn available(
    attempt: &Attempt<'_>,
    services: &Services,
    certificates: &Certificates,
    report: &mut Report,
) -> Result<(), Stop> {
    if !attempt.context.options.probe {
        report.checks.available = Check::applied("the control plane's pod is ready");
        return Ok(());
    }
    let address = services.internal.as_ref().and_then(|live| observe::cluster_ips(live).into_iter().next());
    let authority = &certificates.authority.pair.certificate;
    match observe::answers(&address.unwrap_or_default(), &attempt.identity.service_host(), authority).await {
        Ok(version) => {
            if !version.is_empty() {
                report.version = Some(version);
            }
            report.checks.available = Check::applied("the API server answers through its Service");
            Ok(())
        }
        Err(why) => {
            let message = format!("the API server does not answer through its Service: {why}");
            report.checks.available = Check::Failed(Reason::ApiUnreachable, message.clone());
            Err(Stop::WaitFor(PROBE_POLL, message))
        }
    }
}

impl Attempt<'_> {
    /// Applies objects that do not depend on each other; returns them as the host has them.
    pub(super) async fn apply_all(&self, objects: Vec<Object>) -> Result<Vec<DynamicObject>, Stop> {
        let applied = try_join_all(objects.into_iter().map(|object| self.apply(object))).await?;
        applied.into_iter().map(|applied| self.ours(applied)).collect()
    }

    pub(super) async fn apply(&self, object: Object) -> Result<Applied, Error> {
        let live = self.live(&object.key).await?;
        self.context.host.apply_over(live, object, &self.identity).await
    }

    /// Whether the cluster was reached from outside before this attempt.
    pub(super) fn was_exposed(&self) -> bool {
        let endpoints = self.cluster.status.as_ref().and_then(|status| status.endpoints.as_ref());
        endpoints.is_some_and(|endpoints| endpoints.external_url.is_some())
    }

    /// The object as the host has it.
    pub(super) async fn live(&self, key: &Key) -> Result<Option<DynamicObject>, Error> {
        if self.fresh && key.namespace.as_ref() == Some(&self.identity.host_namespace) {
            return Ok(None);
        }
        self.context.host.get(key).await
    }

    /// Enters an object in the inventory.
    pub(super) fn note(&self, live: &DynamicObject) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(inventory::item(live));
    }

    /// The live object, if it is ours and its namespace stays.
    pub(super) fn ours(&self, applied: Applied) -> Result<DynamicObject, Stop> {
        match applied {
            Applied::Ours { live, written } => {
                self.note(&live);
                if written && self.has_settled() {
                    let kind = live.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default();
                    self.context.metrics.corrected(kind);
                }
                Ok(*live)
            }
            Applied::Foreign(key) => Err(Stop::Stalled(
                Reason::NameConflict,
                format!("{} exists and does not belong to this cluster", key.describe()),
            )),
            Applied::Terminating => {
                Err(Stop::Waiting(format!("namespace {} is being deleted", self.identity.host_namespace)))
            }
        }
    }

    /// Whether this generation was built before, so that what is written now had drifted.
    fn has_settled(&self) -> bool {
        let status = self.cluster.status.as_ref();
        status.is_some_and(|status| {
            status.observed_generation == self.cluster.metadata.generation
                && status.conditions.iter().all(|condition| condition.type_ != "Reconciling")
        })
    }
}
