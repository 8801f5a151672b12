//! Mirrors what the workloads of clusters use into their status, as the host counts it.
//!
//! A quota's status changes with every pod. So a change is only noted, and looked at a moment later together with all that
//! came meanwhile; and then not again for a while. The mirror is a writer of its own: it wakes no reconcile.
//!
//! ```text
//!   ResourceQuota ─► due in 2 s, but 20 s after the last look ─► list ─► status.quota, if it differs
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::reflector::Store;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::time::Instant;
use vkube_crds::{MOST_QUOTAS, NamespaceQuota, Quantity, QuotaStatus, VirtualCluster};

use crate::apply::Host;
use crate::build::{Key, WORKLOAD_QUOTAS};
use crate::context::{Cluster, ClusterRef};
use crate::error::{Error, has_code};
use crate::names::{Identity, QUOTA_MANAGER};

/// From a change to the look at it: what comes together is looked at together.
const SETTLE: Duration = Duration::from_secs(2);
/// From one look at a cluster to the next.
const REST: Duration = Duration::from_secs(20);

/// Mirrors for ever. `changed` names clusters whose quotas may have changed.
pub async fn mirror(host: &Host, clusters: &Store<Cluster>, changed: impl Stream<Item = ClusterRef>) {
    let mut changed = std::pin::pin!(changed.fuse());
    let mut pace = Pace::default();
    loop {
        let next = pace.next();
        let due = async {
            match next {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(cluster) = changed.next() => pace.note(cluster, Instant::now()),
            () = due => {
                for cluster in pace.take(Instant::now()) {
                    let Some(known) = clusters.get(&cluster) else { continue };
                    let Ok(known) = &known.0 else { continue };
                    if let Err(error) = update(host, known).await {
                        tracing::warn!(name = cluster.name, error = error.chain(), "failed to mirror a quota");
                        pace.note(cluster, Instant::now());
                    }
                }
            }
        }
    }
}

/// When which cluster is looked at.
#[derive(Debug, Default)]
struct Pace {
    due: HashMap<ClusterRef, Instant>,
    looked: HashMap<ClusterRef, Instant>,
}

impl Pace {
    /// Notes a change.
    fn note(&mut self, cluster: ClusterRef, now: Instant) {
        let rested = self.looked.get(&cluster).map(|last| *last + REST);
        let due = rested.map_or(now + SETTLE, |rested| rested.max(now + SETTLE));
        self.due.entry(cluster).or_insert(due);
    }

    /// When there is something to do.
    fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// The clusters to look at.
    fn take(&mut self, now: Instant) -> Vec<ClusterRef> {
        self.looked.retain(|_, last| *last + REST > now);
        let taken: Vec<_> = self.due.extract_if(|_, due| *due <= now).map(|(cluster, _)| cluster).collect();
        self.looked.extend(taken.iter().map(|cluster| (cluster.clone(), now)));
        taken
    }
}

async fn update(host: &Host, cluster: &VirtualCluster) -> Result<(), Error> {
    let Some(status) = &cluster.status else { return Ok(()) };
    if status.host_namespace.is_none() {
        return Ok(());
    }
    let everywhere = Key::new::<ResourceQuota>(None, "");
    let quota = sum(&host.list(&everywhere, &Identity::of(cluster).uid_selector()).await?);
    if quota == status.quota {
        return Ok(());
    }
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let api: Api<VirtualCluster> = Api::namespaced(host.client().clone(), &namespace);
    let body = json!({
        "apiVersion": VirtualCluster::api_version(&()),
        "kind": VirtualCluster::kind(&()),
        // A cluster of the same name that came meanwhile is none of ours.
        "metadata": {"name": name, "uid": cluster.metadata.uid},
        "status": quota.map_or_else(|| json!({}), |quota| json!({"quota": quota})),
    });
    let params = PatchParams::apply(QUOTA_MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(body)).await {
        Err(error) if has_code(&error, 404) || has_code(&error, 409) => Ok(()),
        Err(source) => {
            Err(Error::Apply { what: format!("quota of VirtualCluster {namespace}/{name}"), source })
        }
        Ok(_) => Ok(()),
    }
}

/// What the quotas of the workloads say together. Those of a namespace count resources of their own each; those of another
/// namespace count the same resources there.
fn sum(quotas: &[DynamicObject]) -> Option<QuotaStatus> {
    let mut each: BTreeMap<String, NamespaceQuota> = BTreeMap::new();
    for quota in quotas.iter().filter(|quota| WORKLOAD_QUOTAS.contains(&quota.name_any().as_str())) {
        let status = quota.data.get("status").cloned().unwrap_or_default();
        let status: ResourceQuotaStatus = serde_json::from_value(status).unwrap_or_default();
        let name = quota.namespace().unwrap_or_default();
        let one = each.entry(name.clone()).or_insert_with(|| NamespaceQuota { name, ..Default::default() });
        for (sum, part) in [(&mut one.hard, status.hard), (&mut one.used, status.used)] {
            let amounts: BTreeMap<_, _> = part.unwrap_or_default();
            sum.extend(amounts.into_iter().map(|(resource, amount)| (resource, Quantity(amount.0))));
        }
    }
    let mut all = QuotaStatus::default();
    for one in each.values() {
        add(&mut all.hard, &one.hard);
        add(&mut all.used, &one.used);
    }
    if each.len() > 1 {
        all.namespaces = each.into_values().take(MOST_QUOTAS).collect();
    } else if each.is_empty() {
        return None;
    }
    Some(all)
}

fn add(sum: &mut BTreeMap<String, Quantity>, more: &BTreeMap<String, Quantity>) {
    for (resource, amount) in more {
        match sum.get_mut(resource) {
            // The host writes quantities, so there always is a sum.
            Some(before) => *before = before.plus(amount).unwrap_or_else(|| before.clone()),
            None => drop(sum.insert(resource.clone(), amount.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ApiResource;

    use super::*;

    fn mk(name: &str, status: serde_json::Value) -> DynamicObject {
        let resource = ApiResource::erase::<ResourceQuota>(&());
        DynamicObject::new(name, &resource).within("home").data(json!({"status": status}))
    }

    #[test]
    fn the_quotas_of_workloads_are_told_as_one_without_the_control_planes() {
        let quotas = [
            mk("vc-compute", json!({"hard": {"pods": "9"}, "used": {"pods": "2"}})),
            mk("vc-objects", json!({"hard": {"secrets": "50"}, "used": {"secrets": "7"}})),
            mk("vc-control-plane", json!({"hard": {"pods": "1"}, "used": {"pods": "1"}})),
        ];
        let told = serde_json::to_value(sum(&quotas)).unwrap();
        let expected = json!({"hard": {"pods": "9", "secrets": "50"}, "used": {"pods": "2", "secrets": "7"}});
        assert_eq!(told, expected);
        assert_eq!(sum(&quotas[2..]), None);
    }

    #[test]
    fn quotas_of_several_namespaces_are_told_together_and_each_by_itself() {
        let amounts = |cpu: &str, memory: &str| json!({"requests.cpu": cpu, "requests.memory": memory});
        let quota = |namespace: &str, used: serde_json::Value| {
            mk("vc-compute", json!({"hard": amounts("10", "20Gi"), "used": used})).within(namespace)
        };
        let home = quota("home", amounts("500m", "0"));
        let quotas =
            [quota("mapped", amounts("2", "512Mi")), home, mk("vc-objects", json!({"hard": {"pods": "9"}}))];
        let told = serde_json::to_value(sum(&quotas)).unwrap();
        let expected = json!({
            "hard": {"pods": "9", "requests.cpu": "20", "requests.memory": "40Gi"},
            "used": amounts("2500m", "512Mi"),
            "namespaces": [
                {"name": "home", "hard": {"pods": "9", "requests.cpu": "10", "requests.memory": "20Gi"},
                    "used": amounts("500m", "0")},
                {"name": "mapped", "hard": amounts("10", "20Gi"), "used": amounts("2", "512Mi")},
            ],
        });
        assert_eq!(told, expected);
        let many: Vec<_> =
            (0..=MOST_QUOTAS).map(|number| quota(&format!("{number:02}"), amounts("1", "0"))).collect();
        let told = sum(&many).unwrap();
        assert_eq!((told.namespaces.len(), told.used["requests.cpu"].0.as_str()), (MOST_QUOTAS, "33"));
    }

    #[test]
    fn a_cluster_that_changes_all_the_time_is_looked_at_now_and_then() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let cluster = || ClusterRef::new("demo").within("tenants");
        let mut looks = 0;
        for second in 0..=62 {
            let now = begin + Duration::from_secs(second);
            pace.note(cluster(), now);
            looks += pace.take(now).len();
        }
        // After 2, 22, 42 and 62 seconds.
        assert_eq!(looks, 4);
    }

    #[test]
    fn a_cluster_that_rests_is_forgotten() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        pace.note(ClusterRef::new("demo").within("tenants"), begin);
        assert_eq!(pace.next(), Some(begin + SETTLE));
        assert_eq!(pace.take(begin + SETTLE).len(), 1);
        assert_eq!(pace.next(), None);
        pace.take(begin + SETTLE + REST);
        assert!(pace.looked.is_empty());
    }
}
