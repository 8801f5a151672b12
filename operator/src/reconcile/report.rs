//! What an attempt found, and how it is published.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;
use vkube_crds::{
    CertificateStatus, Endpoints, InventoryItem, KubeconfigStatus, Phase, PolicyStatus, SecretRef,
    SnapshotsStatus, VirtualCluster, VirtualClusterSpec, VirtualClusterStatus,
};

use crate::conditions::{self, Check, Checks, Findings, Mode, Progress};
use crate::context::Context;
use crate::error::{Error, has_code};
use crate::events;
use crate::names::{Identity, STATUS_MANAGER};

/// What an attempt found. What it did not reach stays as the status has it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What every step found.
    pub checks: Checks,
    /// How far it came.
    pub progress: Progress,
    /// What the user wants of the cluster as a whole.
    pub mode: Mode,
    /// Kubernetes version of the API server.
    pub version: Option<String>,
    /// Pods of the control plane.
    pub replicas: i32,
    /// Ready ones.
    pub ready_replicas: i32,
    /// Addresses.
    pub endpoints: Option<Endpoints>,
    /// The administrator's kubeconfig.
    pub kubeconfig: Option<KubeconfigStatus>,
    /// The policy in force.
    pub policy: Option<PolicyStatus>,
    /// Certificates.
    pub certificates: Vec<CertificateStatus>,
    /// The Secret by which Argo CD knows the cluster.
    pub argocd_secret: Option<SecretRef>,
    /// When the cluster will be deleted by itself.
    pub delete_at: Option<Time>,
    /// When it was used last, where that counts.
    pub last_activity: Option<Time>,
    /// The hash of the manifests that were applied inside.
    pub bootstrapped: Option<String>,
    /// The snapshots that are kept.
    pub snapshots: Option<SnapshotsStatus>,
    /// The snapshot that the cluster was brought to.
    pub restored_from: Option<String>,
    /// What was made on the host.
    pub inventory: Vec<InventoryItem>,
    /// When something is due by itself: a certificate to be renewed, or the end of the cluster.
    pub renewal: Option<Duration>,
}

impl Report {
    /// A report that knows what the status knows.
    pub fn of(cluster: &VirtualCluster) -> Self {
        let status = cluster.status.clone().unwrap_or_default();
        let mut report = Self {
            checks: Checks { monitored: Check::NotAsked, ..Checks::default() },
            progress: Progress::Working("reconciling has begun".into()),
            mode: if cluster.spec.replicas == Some(0) { Mode::Asleep } else { Mode::Running },
            version: status.version,
            replicas: status.replicas,
            ready_replicas: status.ready_replicas,
            endpoints: status.endpoints,
            kubeconfig: status.kubeconfig,
            policy: status.policy,
            certificates: status.certificates,
            argocd_secret: status.argocd_secret_ref,
            delete_at: status.delete_at,
            last_activity: status.last_activity_time,
            bootstrapped: status.bootstrapped,
            snapshots: status.snapshots,
            restored_from: status.restored_from,
            inventory: status.inventory,
            renewal: None,
        };
        report.expect(&cluster.spec);
        report
    }

    /// Says which of the steps that not every cluster has are to be heard of.
    pub fn expect(&mut self, spec: &VirtualClusterSpec) {
        let export = spec.export.as_ref().and_then(|export| export.argocd.as_ref());
        let exported = export.is_some_and(|argocd| argocd.enabled == Some(true));
        for (check, is_asked) in [
            (&mut self.checks.config, spec.config.is_some() || !spec.config_from.is_empty()),
            (&mut self.checks.argocd, exported),
            (&mut self.checks.bootstrap, spec.bootstrap.is_some()),
            (&mut self.checks.gates, !spec.readiness_gates.is_empty()),
            (&mut self.checks.restored, spec.restore_from.is_some()),
            (&mut self.checks.snapshots, spec.snapshots.is_some()),
        ] {
            if matches!(check, Check::Unreached | Check::NotAsked) {
                *check = if is_asked { Check::Unreached } else { Check::NotAsked };
            }
        }
    }

    /// Asks for another look at the cluster after this time, unless one is due before.
    pub fn look_again(&mut self, after: Duration) {
        self.renewal = Some(self.renewal.map_or(after, |earlier| earlier.min(after)));
    }

    /// The status that says so.
    pub fn status(&self, cluster: &VirtualCluster, now: Timestamp) -> VirtualClusterStatus {
        let before = cluster.status.clone().unwrap_or_default();
        let identity = Identity::of(cluster);
        let generation = cluster.metadata.generation.unwrap_or_default();
        let findings = Findings {
            checks: &self.checks,
            progress: &self.progress,
            mode: &self.mode,
            // The kubeconfig is written when the cluster is ready for the first time.
            established: self.kubeconfig.is_some(),
        };
        VirtualClusterStatus {
            observed_generation: Some(generation),
            conditions: conditions::conditions(&findings, &before.conditions, generation, Time(now)),
            phase: Some(conditions::phase(&findings, &before.conditions)),
            version: self.version.clone(),
            replicas: self.replicas,
            ready_replicas: self.ready_replicas,
            selector: Some(identity.control_plane_pods()),
            host_namespace: Some(identity.host_namespace),
            endpoints: self.endpoints.clone(),
            kubeconfig: self.kubeconfig.clone(),
            policy: self.policy.clone(),
            certificates: self.certificates.clone(),
            argocd_secret_ref: self.argocd_secret.clone(),
            delete_at: self.delete_at.clone(),
            last_activity_time: self.last_activity.clone(),
            bootstrapped: self.bootstrapped.clone(),
            snapshots: self.snapshots.clone(),
            restored_from: self.restored_from.clone(),
            inventory: self.inventory.clone(),
            quota: before.quota,
        }
    }
}

/// Writes the status unless it already says so, and announces what became different.
pub async fn publish(context: &Context, cluster: &VirtualCluster, report: &Report) -> Result<(), Error> {
    let now = Timestamp::now();
    // The API keeps times to the second.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let mut before = cluster.status.clone().unwrap_or_default();
    // What others say is theirs to write: it is not compared, and the host keeps it beside what is applied.
    before.conditions.retain(|condition| !conditions::is_of_others(condition));
    let after = report.status(cluster, now);
    if before == after {
        return Ok(());
    }
    write(context, cluster, &after).await?;
    let first_ready = before.phase != Some(Phase::Running)
        && after.phase == Some(Phase::Running)
        && before.kubeconfig.is_none();
    if let (true, Some(created)) = (first_ready, &cluster.metadata.creation_timestamp) {
        context.metrics.provisioned(Timestamp::now().duration_since(created.0).unsigned_abs());
    }
    if before.phase != after.phase {
        tracing::info!(
            namespace = cluster.metadata.namespace,
            name = cluster.metadata.name,
            generation = cluster.metadata.generation,
            phase = after.phase.map(Phase::as_str),
            "phase changed"
        );
    }
    events::publish(&context.recorder, cluster, events::transitions(&before, &after)).await;
    Ok(())
}

async fn write(
    context: &Context,
    cluster: &VirtualCluster,
    status: &VirtualClusterStatus,
) -> Result<(), Error> {
    let namespace = cluster.namespace().unwrap_or_default();
    let name = cluster.name_any();
    let api: Api<VirtualCluster> = Api::namespaced(context.host.client().clone(), &namespace);
    // Somebody else writes the quota.
    let status = VirtualClusterStatus { quota: None, ..status.clone() };
    let body = json!({
        "apiVersion": VirtualCluster::api_version(&()),
        "kind": VirtualCluster::kind(&()),
        // A cluster of the same name that came meanwhile is none of ours.
        "metadata": {"name": name, "uid": cluster.metadata.uid},
        "status": status,
    });
    let params = PatchParams::apply(STATUS_MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(body)).await {
        Ok(_) => Ok(()),
        Err(error) if has_code(&error, 404) => Ok(()),
        Err(source) => {
            Err(Error::Apply { what: format!("status of VirtualCluster {namespace}/{name}"), source })
        }
    }
}
