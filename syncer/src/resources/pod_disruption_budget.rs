//! PodDisruptionBudgets, so that drains of the host's nodes respect them. All fields are the virtual side's; the
//! status is computed on each side from its own pods.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::mirror::{mirror, mirrored};
use crate::context::{Context, Kind};
use crate::error::Result;
use crate::labels::{ObjectKey, Translator};
use crate::queue::Outcome;

/// Brings one PodDisruptionBudget in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let object = cx.virtual_object::<PodDisruptionBudget>(key).await?;
    let desired = mirrored(cx, Kind::PodDisruptionBudget, object, to_host)?;
    mirror(cx, Kind::PodDisruptionBudget, key, &cx.host_side.disruption_budgets, desired).await
}

/// Without the limits on its selector a budget would count equally labelled pods of other virtual namespaces.
fn to_host(translator: &Translator, budget: PodDisruptionBudget) -> PodDisruptionBudget {
    let metadata = translator.metadata("PodDisruptionBudget", &budget.metadata);
    let namespace = budget.metadata.namespace.unwrap_or_default();
    let mut spec = budget.spec.unwrap_or_default();
    spec.selector = spec.selector.map(|selector| translator.selector_in(&namespace, &selector));
    PodDisruptionBudget { metadata, spec: Some(spec), status: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_budget_counts_pods_of_its_namespace_only() {
        let budget: PodDisruptionBudget = serde_saphyr::from_str(
            "{metadata: {name: b, namespace: shop}, spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}}",
        )
        .unwrap();
        let spec = to_host(&Translator::new(Config::new("demo", "tenant")), budget).spec.unwrap();
        let labels = spec.selector.unwrap().match_labels.unwrap();
        assert_eq!(labels["vkube.dev/virtual-namespace"], "shop");
        assert_eq!(labels["app"], "web");
    }
}
