//! Which resources the API server serves.

use std::collections::HashSet;

use kube::client::APIGroupDiscoveryList;

use crate::api::{Api, Error};

/// A resource in its group's preferred version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ServedResource {
    /// The group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The plural name, as in URLs.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
    /// The names of its subresources.
    pub subresources: Vec<String>,
}

impl ServedResource {
    /// Whether all of `verbs` are served.
    pub fn supports(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|served| served == verb))
    }

    /// The URL of its collection, in `namespace` unless that is empty.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        let scope = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
        format!("{root}/{}/{scope}{}", self.version, self.plural)
    }

    /// The name in messages: `deployments.apps`, `pods`.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { self.full_name() }
    }

    /// The name people use: `deployments.apps`, `pods.`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// The outcome of a discovery.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Discovered {
    /// All resources, each in one version.
    pub resources: Vec<ServedResource>,
    /// Group versions that should be there, but cannot be read now.
    pub failed: Vec<String>,
}

/// Asks the server for all its resources.
pub(crate) async fn discover(api: &Api) -> Result<Discovered, Error> {
    let request = |path: &str, source| Error::Request { path: path.to_owned(), source: Box::new(source) };
    let core = api.client.list_core_api_versions_aggregated().await.map_err(|e| request("/api", e))?;
    let groups = api.client.list_api_groups_aggregated().await.map_err(|e| request("/apis", e))?;
    Ok(preferred([core, groups]))
}

/// Each resource in the first version of its group that has it.
fn preferred(documents: [APIGroupDiscoveryList; 2]) -> Discovered {
    let mut found = Discovered::default();
    for group in documents.into_iter().flat_map(|document| document.items) {
        let name = group.metadata.and_then(|meta| meta.name).unwrap_or_default();
        let mut seen = HashSet::new();
        for version in group.versions {
            let served = version.version.unwrap_or_default();
            if version.freshness.as_deref() == Some("Stale") {
                found.failed.push(if name.is_empty() { served.clone() } else { format!("{name}/{served}") });
            }
            for resource in version.resources {
                let plural = resource.resource.unwrap_or_default();
                if !seen.insert(plural.clone()) {
                    continue;
                }
                found.resources.push(ServedResource {
                    group: name.clone(),
                    version: served.clone(),
                    kind: resource.response_kind.and_then(|kind| kind.kind).unwrap_or_default(),
                    plural,
                    namespaced: resource.scope.as_deref() == Some("Namespaced"),
                    verbs: resource.verbs,
                    subresources: resource
                        .subresources
                        .into_iter()
                        .filter_map(|one| one.subresource)
                        .collect(),
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_is_taken_in_its_preferred_version_once() {
        let resource = |plural: &str| json!({"resource": plural, "scope": "Namespaced", "verbs": ["list"]});
        let groups = json!({"items": [{"metadata": {"name": "autoscaling"}, "versions": [
            {"version": "v2", "freshness": "Current", "resources": [resource("horizontalpodautoscalers")]},
            {"version": "v1", "freshness": "Stale", "resources": [resource("horizontalpodautoscalers"), resource("old")]},
        ]}]});
        let found = preferred([APIGroupDiscoveryList::default(), serde_json::from_value(groups).unwrap()]);
        let paths: Vec<_> = found.resources.iter().map(|one| one.path("shop")).collect();
        assert_eq!(
            paths,
            [
                "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers",
                "/apis/autoscaling/v1/namespaces/shop/old"
            ]
        );
        assert_eq!(found.failed, ["autoscaling/v1"]);
    }
}
