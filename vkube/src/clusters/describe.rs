//! `vkube describe NAME`: everything about a virtual cluster that a person wants to know, in one page.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, ResourceExt, api::ListParams};
use vkube_crds::{Quantity, QuotaStatus, VirtualCluster};

use super::{
    Target,
    output::{Format, document, value},
    state::age,
    table::Table,
};
use crate::cli::Outcome;

/// Which cluster, and how to show it.
#[derive(Debug, Args)]
pub struct Options {
    /// Which cluster.
    #[command(flatten)]
    pub target: Target,
    /// The object itself, as JSON or YAML, instead of the page.
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// Describes.
pub async fn run(options: Options) -> Outcome {
    let (host, cluster) = options.target.find().await?;
    if let Some(format @ (Format::Json | Format::Yaml)) = options.output {
        print!("{}", document(&value(&cluster)?, format));
        return Ok(());
    }
    let events = events(&host, &cluster).await?;
    print!("{}", page(&cluster, &events, Timestamp::now()));
    Ok(())
}

async fn events(host: &Client, cluster: &VirtualCluster) -> Result<Vec<Event>, kube::Error> {
    let uid = cluster.uid().unwrap_or_default();
    let params = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let api: Api<Event> = Api::namespaced(host.clone(), &cluster.namespace().unwrap_or_default());
    Ok(api.list(&params).await?.items)
}

/// The page. Sections that would be empty are left out.
fn page(cluster: &VirtualCluster, events: &[Event], now: Timestamp) -> String {
    let status = cluster.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let endpoints = status.endpoints.unwrap_or_default();
    let created = cluster.creation_timestamp().map(|time| format!("{} ago", age(time.0, now)));
    let kubeconfig = status.kubeconfig.map(|kubeconfig| {
        format!("Secret {}, key {}", kubeconfig.secret_ref.name, kubeconfig.secret_ref.key)
    });
    let policy = status.policy.as_ref().map(|policy| policy.name.clone());
    let mut facts = Table::new(&["", ""]);
    for (name, fact) in [
        ("Name:", Some(cluster.name_any())),
        ("Namespace:", cluster.namespace()),
        ("Created:", created),
        ("Phase:", status.phase.map(|phase| phase.as_str().to_owned())),
        ("Status:", ready.map(|ready| format!("{}: {}", ready.reason, ready.message))),
        ("Version:", status.version),
        ("Replicas:", Some(format!("{} ({} ready)", status.replicas, status.ready_replicas))),
        ("Policy:", policy),
        ("Host namespace:", status.host_namespace),
        ("Internal URL:", endpoints.internal_url),
        ("External URL:", endpoints.external_url),
        ("Kubeconfig:", kubeconfig),
    ] {
        if let Some(fact) = fact {
            facts.add(vec![name.to_owned(), fact]);
        }
    }
    let mut text = facts.render(0, false);

    let mut certificates = Table::new(&["name", "ends"]);
    for certificate in &status.certificates {
        let ends = certificate.not_after.as_ref().map(|end| end.0.to_string()).unwrap_or_default();
        certificates.add(vec![certificate.name.clone(), ends]);
    }
    section(&mut text, "Certificates:", &certificates);

    let QuotaStatus { hard, used, namespaces } = status.quota.unwrap_or_default();
    let mut quota = Table::new(&["resource", "used", "hard"]);
    for row in amounts(&hard, &used) {
        quota.add(row.into());
    }
    section(&mut text, "Quota:", &quota);
    let mut each = Table::new(&["namespace", "resource", "used", "hard"]);
    for one in &namespaces {
        for [resource, used, hard] in amounts(&one.hard, &one.used) {
            each.add(vec![one.name.clone(), resource, used, hard]);
        }
    }
    section(&mut text, "Quota by namespace:", &each);

    let mut enforced = Table::new(&["field", "requested", "effective"]);
    for field in status.policy.iter().flat_map(|policy| &policy.enforced_fields) {
        enforced.add(vec![field.path.clone(), field.requested.clone(), field.effective.clone()]);
    }
    section(&mut text, "Overruled by the policy:", &enforced);

    let mut conditions = Table::new(&["type", "status", "reason", "since", "message"]);
    for condition in &status.conditions {
        conditions.add(vec![
            condition.type_.clone(),
            condition.status.clone(),
            condition.reason.clone(),
            age(condition.last_transition_time.0, now),
            condition.message.clone(),
        ]);
    }
    section(&mut text, "Conditions:", &conditions);
    section(&mut text, "Events:", &told(events, now));
    text
}

/// Each resource, how much of it is used, and how much may be.
fn amounts(
    hard: &BTreeMap<String, Quantity>,
    used: &BTreeMap<String, Quantity>,
) -> impl Iterator<Item = [String; 3]> {
    hard.iter().map(|(resource, hard)| {
        let used = used.get(resource).map_or_else(|| "?".to_owned(), |used| used.0.clone());
        [resource.clone(), used, hard.0.clone()]
    })
}

/// Events, the oldest first.
fn told(events: &[Event], now: Timestamp) -> Table {
    let mut sorted: Vec<_> = events.iter().map(|event| (last_seen(event), event)).collect();
    sorted.sort_by_key(|(seen, _)| *seen);
    let mut table = Table::new(&["type", "reason", "age", "message"]);
    for (seen, event) in sorted {
        table.add(vec![
            event.type_.clone().unwrap_or_default(),
            event.reason.clone().unwrap_or_default(),
            seen.map_or_else(String::new, |seen| age(seen, now)),
            event.message.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// When an event happened last, by whichever field its writer fills in.
fn last_seen(event: &Event) -> Option<Timestamp> {
    let series =
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    series
        .or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
        .or_else(|| event.event_time.as_ref().map(|time| time.0))
        .or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn section(text: &mut String, title: &str, table: &Table) {
    if !table.is_empty() {
        text.push_str(title);
        text.push('\n');
        text.push_str(&table.render(2, true));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_says_what_is_known_and_nothing_else() {
        let cluster: VirtualCluster = serde_json::from_value(json!({
            "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": {"name": "demo", "namespace": "tenants", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {},
            "status": {
                "phase": "Running", "replicas": 1, "readyReplicas": 1,
                "policy": {"name": "standard", "uid": "u", "observedGeneration": 1, "enforcedFields": [
                    {"path": "isolation.podSecurity", "requested": "privileged", "effective": "baseline"}]},
                "quota": {"hard": {"pods": "100", "requests.cpu": "8"}, "used": {"pods": "3"}, "namespaces": [
                    {"name": "vc-tenants-demo", "hard": {"pods": "50"}, "used": {"pods": "3"}},
                    {"name": "demo-team-a", "hard": {"pods": "50"}, "used": {"pods": "0"}}]},
                "conditions": [{"type": "Ready", "status": "True", "reason": "Running", "message": "well",
                    "lastTransitionTime": "2026-01-01T00:00:10Z"}],
            },
        }))
        .unwrap();
        let event: Event = serde_json::from_value(json!({
            "metadata": {"name": "e"}, "involvedObject": {}, "type": "Normal", "reason": "Running",
            "message": "it runs", "eventTime": "2026-01-01T00:00:10.000000Z",
        }))
        .unwrap();
        let now = "2026-01-01T00:01:10Z".parse().unwrap();
        assert_eq!(
            page(&cluster, &[event], now),
            "\
Name:        demo
Namespace:   tenants
Created:     70s ago
Phase:       Running
Status:      Running: well
Replicas:    1 (1 ready)
Policy:      standard
Quota:
  RESOURCE       USED   HARD
  pods           3      100
  requests.cpu   ?      8
Quota by namespace:
  NAMESPACE         RESOURCE   USED   HARD
  vc-tenants-demo   pods       3      50
  demo-team-a       pods       0      50
Overruled by the policy:
  FIELD                   REQUESTED    EFFECTIVE
  isolation.podSecurity   privileged   baseline
Conditions:
  TYPE    STATUS   REASON    SINCE   MESSAGE
  Ready   True     Running   60s     well
Events:
  TYPE     REASON    AGE   MESSAGE
  Normal   Running   60s   it runs
"
        );
    }

    #[test]
    fn a_page_says_which_readiness_gates_are_waited_for() {
        let waits = "nobody has set condition example.com/Seeded yet";
        let condition = |type_: &str| {
            json!({"type": type_, "status": "False", "reason": "ReadinessGatesNotReady", "message": waits,
                "lastTransitionTime": "2026-01-01T00:00:10Z"})
        };
        let cluster: VirtualCluster = serde_json::from_value(json!({
            "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster",
            "metadata": {"name": "demo", "namespace": "tenants"},
            "spec": {"readinessGates": [{"conditionType": "example.com/Seeded"}]},
            "status": {"conditions": [condition("Ready"), condition("ReadinessGatesPassed")]},
        }))
        .unwrap();
        let page = page(&cluster, &[], "2026-01-01T00:01:10Z".parse().unwrap());
        assert!(page.contains(&format!("Status:      ReadinessGatesNotReady: {waits}\n")), "{page}");
        assert!(
            page.contains(&format!(
                "ReadinessGatesPassed   False    ReadinessGatesNotReady   60s     {waits}"
            )),
            "{page}"
        );
    }
}
