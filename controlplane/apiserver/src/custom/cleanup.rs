//! What becomes of custom objects when their definition is deleted: they are deleted first, with all
//! that deletion means (admission, finalizers), and only then the definition goes.

use std::time::Duration;

use futures::StreamExt;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use vkube_store::{Entry, Range, Signal};

use super::{
    conditions::{is_true, set_condition},
    controller::{FINALIZER, definition, write_status},
};
use crate::{
    metadata, registry::access::str_at, resource::Definition, server::Server, status::ApiError, stored,
    user::User,
};

/// How long to wait after a deletion was refused.
const RETRY: Duration = Duration::from_secs(5);

/// Deletes the objects of the definition of this name, then lets the definition go.
pub async fn run(server: Server, name: String) {
    while let Err(error) = clean(&server, &name).await {
        tracing::error!(%error, definition = name, "cannot delete the objects of a custom resource definition");
        tokio::time::sleep(RETRY).await;
    }
}

async fn clean(server: &Server, name: &str) -> Result<(), ApiError> {
    let Some((_, crd)) = read(server, name).await? else { return Ok(()) };
    let (reason, message) = if is_true(&crd, "Established") {
        if let Some(custom) = served(server, &crd) {
            delete_all(server, name, &custom).await?;
        }
        ("InstanceDeletionCompleted", "removed all instances")
    } else {
        ("NeverEstablished", "resource was never established")
    };
    // Others may write meanwhile, but nobody brings the finalizer back.
    while let Some((entry, old)) = read(server, name).await? {
        let mut new = old.clone();
        set_condition(&mut new, "Terminating", "False", reason, message, Timestamp::now());
        let finalizers = metadata::finalizers(&new).into_iter().filter(|f| *f != FINALIZER);
        let finalizers = finalizers.map(Into::into).collect();
        metadata::set_finalizers(&mut new, finalizers);
        if write_status(server, &entry, &old, &mut new).await? {
            break;
        }
    }
    Ok(())
}

async fn read(server: &Server, name: &str) -> Result<Option<(Entry, Value)>, ApiError> {
    let Some(entry) = server.store().get(&definition()?.key("", name), None).await? else { return Ok(None) };
    let crd = stored::decode(&entry)?;
    let ours = metadata::is_terminating(&crd) && metadata::finalizers(&crd).contains(&FINALIZER);
    Ok(ours.then_some((entry, crd)))
}

/// Any served version will do: they share their objects.
fn served(server: &Server, crd: &Value) -> Option<Definition> {
    let (group, plural) = (str_at(crd, "/spec/group"), str_at(crd, "/spec/names/plural"));
    let custom = server.catalog.custom();
    let found = custom.iter().find(|((g, _, p), _)| g == group && p == plural);
    found.map(|(_, resource)| Definition::Custom(resource.clone()))
}

async fn delete_all(server: &Server, name: &str, custom: &Definition) -> Result<(), ApiError> {
    let prefix = custom.prefix();
    let page = server.store().list(Range { prefix: prefix.clone(), ..Range::default() }).await?;
    if page.entries.is_empty() {
        return Ok(());
    }
    if let Some((entry, old)) = read(server, name).await? {
        let mut new = old.clone();
        let (reason, message) = ("InstanceDeletionInProgress", "CustomResource deletion is in progress");
        set_condition(&mut new, "Terminating", "True", reason, message, Timestamp::now());
        write_status(server, &entry, &old, &mut new).await?;
    }
    for entry in &page.entries {
        delete(server, custom, &entry.key).await?;
    }
    // Nothing can be created any more, so what remains only waits for its finalizers.
    let mut events = server.store().watch(&prefix, page.revision).await?;
    while server.store().count(&prefix).await? > 0 {
        loop {
            match events.next().await {
                Some(Signal::Event(event)) if event.deleted => break,
                Some(_) => {}
                None => {
                    let newest = server.store().revision();
                    events = server.store().watch(&prefix, newest).await?;
                    break;
                }
            }
        }
    }
    Ok(())
}

async fn delete(server: &Server, custom: &Definition, key: &str) -> Result<(), ApiError> {
    let (namespace, name) = custom.split_key(key);
    let place = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
    let path = format!("/apis/{}/{place}{}/{name}", custom.api_version(), custom.plural());
    let mut service = server.service(User::component("system:apiserver"));
    match service.change(Method::DELETE, &path, "application/json", &Value::Null).await {
        Err(error) if error.code != StatusCode::NOT_FOUND => Err(error),
        _ => Ok(()),
    }
}
