//! `vkube delete NAME…`: virtual clusters, with everything of them.

use clap::Args;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;
use vkube_crds::annotations;

use super::{
    FIELD_MANAGER, Patience, Place, api_of, find,
    wait::{Goal, until},
};
use crate::cli::Outcome;

/// Which clusters, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Their names.
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Where they are; without a namespace, the names are looked for in all.
    #[command(flatten)]
    pub place: Place,
    /// Release them after one try at everything; host objects may be left behind.
    #[arg(long)]
    pub force: bool,
    /// Those that do not exist are no error.
    #[arg(long)]
    pub ignore_not_found: bool,
    /// How long to wait for each.
    #[command(flatten)]
    pub patience: Patience,
}

/// Deletes, and waits.
pub async fn run(options: Options) -> Outcome {
    let host = options.place.client().await?;
    let mut clusters = Vec::new();
    for name in &options.names {
        match find(&host, name, &options.place).await {
            Ok(cluster) => clusters.push(cluster),
            Err(error) if options.ignore_not_found && !error.is::<kube::Error>() => {}
            Err(error) => return Err(error),
        }
    }
    for cluster in &clusters {
        let (api, name) = (api_of(&host, cluster), cluster.name_any());
        if options.force {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
            let patch = json!({"metadata": {"annotations": {annotations::FORCE_DELETE: "true"}}});
            api.patch(&name, &params, &Patch::Merge(patch)).await?;
        }
        let preconditions = Some(Preconditions { uid: cluster.uid(), resource_version: None });
        api.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default() }).await?;
        if options.patience.no_wait {
            println!("virtualcluster.vkube.dev/{name} deleted");
        }
    }
    if options.patience.no_wait {
        return Ok(());
    }
    for cluster in &clusters {
        until(api_of(&host, cluster), cluster, Goal::Gone, options.patience.timeout).await?;
    }
    Ok(())
}
