//! The configuration of vCluster that a cluster has, in terms of its spec.

use vkube_crds::VirtualCluster;

use super::{Report, Stop, sources};
use crate::apply::Applied;
use crate::build;
use crate::conditions::Check;
use crate::config::{self, Asked};
use crate::context::Context;
use crate::document::Document;
use crate::names::Identity;
use crate::reason::Reason;

/// Reads what is asked that way; empty if nothing is.
pub(super) async fn ensure(
    context: &Context,
    cluster: &VirtualCluster,
    report: &mut Report,
) -> Result<Asked, Stop> {
    let spec = &cluster.spec;
    if spec.config.is_none() && spec.config_from.is_empty() {
        return Ok(Asked::default());
    }
    let documents = documents(context, cluster, report).await?;
    let mut asked = config::read(&documents, spec);
    if asked.wrong.is_empty() {
        asked.judge(cluster, context.options.admit);
    }
    if !asked.wrong.is_empty() {
        return Err(invalid(&asked.wrong, report));
    }
    report.checks.config = match asked.without_effect() {
        None => Check::Passed(Reason::ConfigApplied, "every key has an effect".into()),
        Some(keys) => Check::Passed(Reason::ConfigPartlyApplied, keys),
    };
    Ok(asked)
}

/// What cannot be built of a spec, told as what is wrong with the configuration as far as that asks for it.
pub(super) fn unbuildable(asked: &Asked, wrong: Vec<String>, report: &mut Report) -> Stop {
    let (mut of_config, mut of_spec) = (Vec::new(), Vec::new());
    for wrong in wrong {
        match asked.blame(&wrong) {
            Some(blamed) => of_config.push(blamed),
            None => of_spec.push(wrong),
        }
    }
    if of_config.is_empty() {
        return Stop::Stalled(Reason::InvalidSpec, of_spec.join("; "));
    }
    of_config.extend(of_spec);
    invalid(&of_config, report)
}

fn invalid(wrong: &[String], report: &mut Report) -> Stop {
    let message = wrong.join("; ");
    report.checks.config = Check::Failed(Reason::ConfigInvalid, message.clone());
    Stop::Stalled(Reason::ConfigInvalid, message)
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
            Ok(text) => documents.push(Document::of(kind, at, text)),
            Err(missing) => {
                report.checks.config = Check::Failed(Reason::ConfigMissing, missing.clone());
                return Err(Stop::Waiting(missing));
            }
        }
    }
    Ok(documents)
}
