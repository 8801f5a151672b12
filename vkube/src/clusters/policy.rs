//! `vkube policy list` and `vkube policy describe NAME`: what administrators allow and enforce, and for whom.

use clap::{Args, Subcommand};
use kube::{Api, ResourceExt, api::ListParams};
use vkube_crds::{VirtualCluster, VirtualClusterPolicy};

use super::{
    Place,
    output::{Collection, Format, document, value},
    table::Table,
};
use crate::cli::Outcome;

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the policies of the host.
    #[command(visible_alias = "ls")]
    List(ListOptions),
    /// Show a policy, the clusters that it shapes, and what it overrules in each.
    Describe(DescribeOptions),
}

/// How to list.
#[derive(Debug, Args)]
pub struct ListOptions {
    /// The host.
    #[command(flatten)]
    pub place: Place,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Leave out the line of headings.
    #[arg(long)]
    pub no_headers: bool,
}

/// Which policy.
#[derive(Debug, Args)]
pub struct DescribeOptions {
    /// Its name.
    pub name: String,
    /// The host.
    #[command(flatten)]
    pub place: Place,
}

/// Runs the subcommand.
pub async fn run(command: Command) -> Outcome {
    match command {
        Command::List(options) => list(options).await,
        Command::Describe(options) => describe(options).await,
    }
}

async fn list(options: ListOptions) -> Outcome {
    let host = options.place.client().await?;
    let policies = Collection::of::<VirtualClusterPolicy>(None, None);
    let text = policies.show(&host, options.output, !options.no_headers).await?;
    if text.is_empty() && options.output != Format::Name {
        eprintln!("No policies found.");
    }
    print!("{text}");
    Ok(())
}

async fn describe(options: DescribeOptions) -> Outcome {
    let host = options.place.client().await?;
    let policy = Api::<VirtualClusterPolicy>::all(host.clone()).get_opt(&options.name).await?;
    let policy = policy.ok_or_else(|| format!("no VirtualClusterPolicy {:?}", options.name))?;
    let clusters = Api::<VirtualCluster>::all(host).list(&ListParams::default()).await?.items;
    print!("{}", page(&policy, &clusters)?);
    Ok(())
}

fn page(policy: &VirtualClusterPolicy, clusters: &[VirtualCluster]) -> Result<String, super::Failure> {
    let mut text = format!("Name:   {}\n", policy.name_any());
    for condition in policy.status.iter().flat_map(|status| &status.conditions) {
        text.push_str(&format!("{}:  {} ({})\n", condition.type_, condition.status, condition.message));
    }
    text.push_str("Spec:\n");
    for line in document(&value(&policy.spec)?, Format::Yaml).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    let mut shaped = Table::new(&["namespace", "name", "overruled"]);
    for cluster in clusters {
        let bound = cluster.status.as_ref().and_then(|status| status.policy.as_ref());
        let Some(bound) = bound.filter(|bound| bound.name == policy.name_any()) else { continue };
        let overruled: Vec<_> = bound
            .enforced_fields
            .iter()
            .map(|field| format!("{} ({} instead of {})", field.path, field.effective, field.requested))
            .collect();
        shaped.add(vec![cluster.namespace().unwrap_or_default(), cluster.name_any(), overruled.join(", ")]);
    }
    if !shaped.is_empty() {
        text.push_str("Virtual clusters:\n");
        text.push_str(&shaped.render(2, true));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_names_the_clusters_that_the_policy_shapes() {
        let policy = serde_json::from_value(json!({
            "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualClusterPolicy",
            "metadata": {"name": "standard"}, "spec": {"priority": 3},
        }))
        .unwrap();
        let cluster = |name: &str, policy: &str| {
            serde_json::from_value(json!({
                "apiVersion": "vkube.dev/v1alpha1", "kind": "VirtualCluster",
                "metadata": {"name": name, "namespace": "t"}, "spec": {},
                "status": {"replicas": 1, "readyReplicas": 1, "policy": {"name": policy, "uid": "u",
                    "observedGeneration": 1,
                    "enforcedFields": [{"path": "a.b", "requested": "x", "effective": "y"}]}},
            }))
            .unwrap()
        };
        let text = page(&policy, &[cluster("a", "standard"), cluster("b", "other")]).unwrap();
        assert!(text.contains("  priority: 3\n"), "{text}");
        assert!(text.contains("  t           a      a.b (y instead of x)\n"), "{text}");
        assert!(!text.contains("  b "), "{text}");
    }
}
