//! ClusterRole aggregation: a cluster role with selectors has the rules of all cluster roles they select.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde_json::{Value, json};

use crate::Context;
use crate::api::{Error, path_of};
use crate::informers::Informer;
use crate::queue::Key;
use crate::selectors::matches;

/// The rules are applied under a name of their own, so that whoever applies the selectors does not own them.
const MANAGER: &str = "clusterrole-aggregation-controller";

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let roles: Informer<ClusterRole> = context.informers.of();
    let queue = context.queue("ClusterRoleAggregator");
    roles.subscribe({
        let (queue, roles) = (queue.clone(), roles.clone());
        move |change| {
            if let Some(role) = change.new.as_ref().filter(|role| role.aggregation_rule.is_some()) {
                queue.add(Key::of(&**role));
            }
            // Whatever changed may be, or have been, selected by any.
            for role in roles.all().iter().filter(|role| role.aggregation_rule.is_some()) {
                queue.add(Key::of(&**role));
            }
        }
    });
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = roles.synced() => {}
        }
        queue.run(1, &shutdown, |key| aggregate(&roles, key)).await;
    }
}

async fn aggregate(roles: &Informer<ClusterRole>, key: Key) -> Result<(), Error> {
    let Some(role) = roles.get("", &key.name) else { return Ok(()) };
    let Some(rules) = plan(&role, &roles.all()) else { return Ok(()) };
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": key.name},
        "rules": rules,
    });
    let applied = roles.api().apply::<Value>(&path_of::<ClusterRole>(&role.metadata), &body, MANAGER).await;
    match applied {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// The rules that the role should have; `None` if it has them, or if its rules are its own.
fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.iter().flatten();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        let selected =
            all.iter().filter(|other| matches(selector, other.metadata.labels.as_ref())).filter(|other| {
                // A role that selects itself would never lose a rule.
                other.metadata.name != role.metadata.name
            });
        for rule in selected.flat_map(|other| other.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    (rules != role.rules.clone().unwrap_or_default()).then_some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, label: &str, resources: &[&str]) -> Arc<ClusterRole> {
        let rules: Vec<Value> = resources
            .iter()
            .map(|resource| json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]}))
            .collect();
        let metadata = json!({"name": name, "labels": {"to": label}});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "rules": rules})).unwrap())
    }

    fn aggregate(rules: &[PolicyRule]) -> ClusterRole {
        let selectors = json!([{"matchLabels": {"to": "view"}}, {"matchLabels": {"to": "edit"}}]);
        serde_json::from_value(json!({
            "metadata": {"name": "all", "labels": {"to": "view"}},
            "aggregationRule": {"clusterRoleSelectors": selectors},
            "rules": rules,
        }))
        .unwrap()
    }

    fn resources(rules: &[PolicyRule]) -> Vec<&str> {
        rules.iter().flat_map(|rule| rule.resources.iter().flatten()).map(String::as_str).collect()
    }

    #[test]
    fn an_aggregated_role_has_the_rules_of_the_selected_roles_once_each() {
        let all = [
            role("a", "edit", &["secrets"]),
            role("b", "view", &["pods", "services"]),
            role("c", "view", &["pods"]),
            role("d", "other", &["nodes"]),
        ];
        let rules = plan(&aggregate(&[]), &all).unwrap();
        assert_eq!(resources(&rules), ["pods", "services", "secrets"]);
        assert_eq!(plan(&aggregate(&rules), &all), None);
    }

    #[test]
    fn rules_go_with_the_roles_they_came_from() {
        let before = plan(&aggregate(&[]), &[role("b", "view", &["pods"])]).unwrap();
        let itself = Arc::new(aggregate(&before));
        assert_eq!(plan(&aggregate(&before), &[itself]), Some(Vec::new()));
    }

    #[test]
    fn other_roles_keep_their_rules() {
        assert_eq!(plan(&role("a", "view", &["pods"]), &[role("b", "view", &["nodes"])]), None);
    }
}
