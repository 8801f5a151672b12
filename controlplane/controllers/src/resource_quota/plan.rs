//! What a quota's status says, given the objects of its namespace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::{Value, json};
use vkube_usage::Amounts;
use vkube_usage::quantity::Quantity;
use vkube_usage::quota::{self, MEASURED, Resource};

use crate::clock::{remaining, sooner};

type Texts = BTreeMap<String, Text>;

/// What the quota limits.
pub(super) fn hard(quota: &ResourceQuota) -> Amounts {
    amounts(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()))
}

fn amounts(texts: Option<&Texts>) -> Amounts {
    let parse = |(name, text): (&String, &Text)| Some((name.clone(), Quantity::parse(&text.0).ok()?));
    texts.into_iter().flatten().filter_map(parse).collect()
}

/// The names that the quota limits.
fn names(quota: &ResourceQuota) -> impl Iterator<Item = &String> {
    quota.spec.iter().flat_map(|spec| spec.hard.iter().flat_map(BTreeMap::keys))
}

/// Whether the quota limits anything of objects of this kind.
pub(super) fn limits(quota: &ResourceQuota, resource: Resource<'_>) -> bool {
    names(quota).any(|name| {
        if MEASURED.contains(&resource) {
            quota::belongs(resource, name)
        } else {
            quota::counted(name) == Some(resource)
        }
    })
}

/// The group and plural name of the resources that the quota counts.
pub(super) fn counted(quota: &ResourceQuota) -> impl Iterator<Item = (String, String)> {
    names(quota)
        .filter_map(|name| {
            let devices = Resource::DEVICE_CLAIMS;
            quota::counted(name).or_else(|| quota::belongs(devices, name).then_some(devices))
        })
        .map(|one| (one.group.to_owned(), one.plural.to_owned()))
}

/// Pods as they count, and when one of them ceases to by time alone.
///
/// A pod that should be gone since more than its grace period is stuck on a lost node: it is not held against
/// its namespace any more, as if it had ended.
pub(super) fn pods(pods: &[Arc<Pod>], now: Timestamp) -> (Vec<Value>, Option<Duration>) {
    let mut next = None;
    let mut documents = Vec::new();
    for pod in pods {
        let Ok(mut document) = serde_json::to_value(&**pod) else { continue };
        let meta = &pod.metadata;
        if let (Some(at), Some(grace)) = (&meta.deletion_timestamp, meta.deletion_grace_period_seconds) {
            match remaining(at.0, grace, now) {
                Some(wait) => next = sooner(next, Some(wait)),
                None => document["status"]["phase"] = json!("Failed"),
            }
        }
        documents.push(document);
    }
    (documents, next)
}

/// The quota with the status that it should have.
///
/// `counted` has the numbers of those objects of which nothing else matters; what it lacks is left as it was.
pub(super) fn plan(
    quota: &ResourceQuota,
    hard: &Amounts,
    objects: &[(Resource<'static>, Value)],
    counted: &Amounts,
) -> ResourceQuota {
    let document = json!({"spec": quota.spec});
    let mut used =
        quota::total(hard, &document, objects.iter().map(|(resource, object)| (*resource, object)));
    let status = quota.status.clone().unwrap_or_default();
    let before = amounts(status.used.as_ref());
    for name in hard.keys().filter(|name| quota::counted(name).is_some()) {
        match counted.get(name).or_else(|| before.get(name)) {
            Some(amount) => drop(used.insert(name.clone(), amount.clone())),
            None => drop(used.remove(name)),
        }
    }
    let mut updated = quota.clone();
    updated.status =
        Some(ResourceQuotaStatus { hard: written(hard, status.hard), used: written(&used, status.used) });
    updated
}

/// The amounts as text; as they were written before if they are the same.
fn written(amounts_now: &Amounts, before: Option<Texts>) -> Option<Texts> {
    if before.is_some() && amounts(before.as_ref()) == *amounts_now {
        return before;
    }
    Some(amounts_now.iter().map(|(name, amount)| (name.clone(), Text(amount.to_string()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::running;

    fn quota(hard: &Value, status: &Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": status}))
            .unwrap()
    }

    fn pod(cpu: &str) -> (Resource<'static>, Value) {
        let container = json!({"name": "main", "resources": {"requests": {"cpu": cpu}}});
        (Resource::core("pods"), json!({"spec": {"containers": [container]}}))
    }

    fn status(quota: &ResourceQuota) -> Value {
        json!(quota.status)
    }

    #[test]
    fn a_new_quota_gets_its_limits_and_the_present_usage() {
        let quota = quota(&json!({"pods": "10", "requests.cpu": "1", "configmaps": "4"}), &json!({}));
        let counted = [("configmaps".to_owned(), Quantity::parse("1").unwrap())].into();
        let updated = plan(&quota, &hard(&quota), &[pod("200m"), pod("300m")], &counted);
        assert_eq!(
            status(&updated),
            json!({
                "hard": {"configmaps": "4", "pods": "10", "requests.cpu": "1"},
                "used": {"configmaps": "1", "pods": "2", "requests.cpu": "500m"},
            })
        );
    }

    #[test]
    fn equal_amounts_are_not_written_anew() {
        let same = json!({"hard": {"requests.cpu": "1000m"}, "used": {"requests.cpu": "0.5"}});
        let quota = quota(&json!({"requests.cpu": "1"}), &same);
        assert_eq!(plan(&quota, &hard(&quota), &[pod("500m")], &Amounts::new()), quota);
    }

    #[test]
    fn what_is_no_longer_limited_is_no_longer_shown() {
        let old = json!({"hard": {"pods": "1", "services": "2"}, "used": {"pods": "1", "services": "1"}});
        let quota = quota(&json!({"pods": "1"}), &old);
        let updated = plan(&quota, &hard(&quota), &[pod("1")], &Amounts::new());
        assert_eq!(status(&updated), json!({"hard": {"pods": "1"}, "used": {"pods": "1"}}));
    }

    #[test]
    fn a_kind_that_cannot_be_counted_now_keeps_its_last_count() {
        let quota = |used: &Value| {
            quota(&json!({"count/widgets.example.com": "5"}), &json!({"hard": {}, "used": used}))
        };
        let known = quota(&json!({"count/widgets.example.com": "2"}));
        let updated = plan(&known, &hard(&known), &[], &Amounts::new());
        assert_eq!(status(&updated)["used"], json!({"count/widgets.example.com": "2"}));
        let unknown = quota(&json!({}));
        assert_eq!(status(&plan(&unknown, &hard(&unknown), &[], &Amounts::new()))["used"], json!({}));
    }

    #[test]
    fn a_pod_stuck_past_its_grace_period_is_not_charged() {
        let mut stuck = running("a");
        stuck.metadata.deletion_timestamp = Some(crate::clock::time(Timestamp::from_second(100).unwrap()));
        stuck.metadata.deletion_grace_period_seconds = Some(30);
        let stuck = [Arc::new(stuck)];
        let charged = |second| {
            let (documents, next) = pods(&stuck, Timestamp::from_second(second).unwrap());
            let usage = quota::of(Resource::core("pods"), &documents[0]);
            (usage.contains_key("pods"), next)
        };
        assert_eq!(charged(110), (true, Some(Duration::from_secs(20))));
        assert_eq!(charged(131), (false, None));
    }

    #[test]
    fn a_quota_is_woken_only_by_what_it_limits() {
        let quota = quota(&json!({"count/jobs.batch": "1", "limits.memory": "1Gi"}), &json!({}));
        assert!(limits(&quota, Resource { group: "batch", plural: "jobs" }));
        assert!(limits(&quota, Resource::core("pods")));
        assert!(!limits(&quota, Resource::core("services")));
        assert!(!limits(&quota, Resource::core("configmaps")));
    }
}
