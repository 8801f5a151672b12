//! The configuration of vCluster that a cluster has, in terms of its spec.

use serde_json::{Map, Value};
use vkube_crds::VirtualCluster;

use super::{Report, Stop, sources};
use crate::apply::Applied;
use crate::build;
use crate::conditions::Check;
use crate::config::{self, Document};
use crate::context::Context;
use crate::names::Identity;
use crate::reason::Reason;

/// Reads what is asked that way; empty if nothing is.
pub(super) async fn ensure(
    context: &Context,
    cluster: &VirtualCluster,
    report: &mut Report,
) -> Result<Map<String, Value>, Stop> {
    let spec = &cluster.spec;
    if spec.config.is_none() && spec.config_from.is_empty() {
        return Ok(Map::new());
    }
    let documents = documents(context, cluster, report).await?;
    let asked = config::read(&documents, spec);
    if !asked.wrong.is_empty() {
        let message = asked.wrong.join("; ");
        report.checks.config = Check::Failed(Reason::ConfigInvalid, message.clone());
        return Err(Stop::Stalled(Reason::ConfigInvalid, message));
    }
    report.checks.config = match asked.without_effect() {
        None => Check::Passed(Reason::ConfigApplied, "every key has an effect".into()),
        Some(keys) => Check::Passed(Reason::ConfigPartlyApplied, keys),
    };
    Ok(asked.spec)
}

/// The documents of Secrets and ConfigMaps, which the operator needs rights to read and watch.
async fn documents(
    context: &Context,
    cluster: &VirtualCluster,
    report: &mut Report,
) -> Result<Vec<Document>, Stop> {
    let mut documents = Vec::new();
    if cluster.spec.config_from.is_empty() {
        return Ok(documents);
    }
    let identity = Identity::of(cluster);
    let grant = build::grant_beside(&identity, &context.options);
    let live = context.host.get(&grant.key).await?;
    if let Applied::Foreign(key) = context.host.apply_over(live, grant, &identity).await? {
        let message = format!("{} exists and does not belong to this cluster", key.describe());
        return Err(Stop::Stalled(Reason::NameConflict, message));
    }
    context.references.add(&identity, &sources::configurations(&cluster.spec, &identity));
    for (kind, at) in cluster.spec.config_from.iter().filter_map(vkube_crds::ConfigSource::place) {
        match sources::text(&context.host, &identity.namespace, kind, at).await? {
            Ok(text) => documents.push(Document { place: config::place(kind, &at.name, &at.key), text }),
            Err(missing) => {
                report.checks.config = Check::Failed(Reason::ConfigMissing, missing.clone());
                return Err(Stop::Waiting(missing));
            }
        }
    }
    Ok(documents)
}
