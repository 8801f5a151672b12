//! The schema of a cluster whose store is a database outside goes with the cluster; one that its owner named stays, free for
//! another.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::runtime::events::EventType;
use vkube_crds::{DeletionPolicy, VirtualCluster, annotations};

use super::{POD_POLL, Wait};
use crate::build::Key;
use crate::context::Context;
use crate::error::Error;
use crate::events;
use crate::names::{CLAIMED_SCHEMA, Identity, SCHEMA};
use crate::options::Login;
use crate::reason::Reason;

/// How often a database that is away is asked again.
const RETRY: Duration = Duration::from_secs(30);

/// Removes the schema, if one is to go, or the cluster's mark from one that stays; says what that waits for. When it is done
/// nothing remembers it, so that is done once. A forced deletion tries it too, and tells of what is left behind.
pub(super) async fn remove(
    cluster: &VirtualCluster,
    identity: &Identity,
    context: &Context,
    policy: DeletionPolicy,
    forced: bool,
) -> Result<Option<Wait>, Error> {
    let key = Key::new::<Secret>(Some(&identity.host_namespace), &identity.store_secret());
    let live = match context.host.get(&key).await {
        // Without the rights to, nothing was ever written there.
        Err(error) if error.reason() == Reason::Forbidden => None,
        live => live?,
    };
    let Some(secret) = live.filter(|live| identity.owns(live.metadata.labels.as_ref())) else {
        return Ok(None);
    };
    let remembered = |key: &str| secret.annotations().get(key).cloned();
    let (schema, goes) = match (remembered(SCHEMA), remembered(CLAIMED_SCHEMA)) {
        (Some(schema), _) if policy == DeletionPolicy::Delete => (schema, true),
        (None, Some(schema)) => (schema, false),
        _ => return Ok(None),
    };
    // The control plane would make it anew, and nobody else may have it before that has ended.
    let namespace = Some(identity.host_namespace.as_str());
    context.host.remove(&Key::new::<StatefulSet>(namespace, &identity.name), identity).await?;
    let pods = context.host.list(&Key::new::<Pod>(namespace, ""), &identity.control_plane_pods()).await?;
    if !pods.is_empty() && !forced {
        return Ok(Some(Wait(
            format!("waiting for {} pods of the control plane to end", pods.len()),
            POD_POLL,
        )));
    }
    let data = secret.data.get("data").cloned().unwrap_or_default();
    let files = serde_json::from_value(data).map(texts).unwrap_or_default();
    let login = Login { files, schema, owner: identity.uid.clone() };
    let (named, what) = match goes {
        true => (format!("the schema {} of the database", login.schema), "removed"),
        false => (format!("the mark in schema {} of the database", login.schema), "taken off"),
    };
    let done = match goes {
        true => (context.options.drop_schema)(login).await,
        false => (context.options.release_schema)(login).await,
    };
    match done {
        Ok(()) => context.host.delete(&key, secret.uid()).await.map(|()| None),
        Err(why) if forced => {
            let note = format!("{named} is left behind: {why}");
            let event = events::event(EventType::Warning, Reason::DatabaseUnreachable.as_str(), &note);
            events::publish(&context.recorder, cluster, vec![event]).await;
            Ok(None)
        }
        Err(why) => {
            let escape = annotations::FORCE_DELETE;
            let message =
                format!("{named} cannot be {what}: {why}; to leave it behind, annotate with {escape}=true");
            Ok(Some(Wait(message, RETRY)))
        }
    }
}

fn texts(
    data: std::collections::BTreeMap<String, ByteString>,
) -> std::collections::BTreeMap<String, Vec<u8>> {
    data.into_iter().map(|(key, value)| (key, value.0)).collect()
}
