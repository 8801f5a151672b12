//! DELETE of an object or a collection: preconditions, finalizers, grace, and what becomes of dependents
//! (<https://kubernetes.io/docs/concepts/architecture/garbage-collection/>).

use http::StatusCode;
use serde_json::{Value, json};
use vkube_store::{Change, Entry, Expect, Write};

use super::{call::Call, call::read_body, list, write};
use crate::{
    admission::{Attributes, Operation, Shared},
    body::{Request, Response},
    custom::webhook,
    documents, metadata,
    options::{DeleteOptions, Propagation},
    representation,
    resource::Definition,
    respond,
    schema::types::Type,
    service_allocation::addresses,
    status::ApiError,
    stored,
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a deletion did.
pub enum Outcome {
    /// The object is gone; this was its last state.
    Gone(Value),
    /// It stays until its finalizers or its grace period are over.
    Waiting(Value),
}

/// Deletes one object.
pub async fn delete(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let options = options(call, request).await?;
    if call.definition.is("batch", "jobs") && options.propagation.is_none() {
        call.warnings.push(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning".into(),
        );
    }
    match delete_named(call, &options).await? {
        Outcome::Waiting(object) => answer(call, object).await,
        Outcome::Gone(object) if returns_object(&call.definition) => answer(call, object).await,
        Outcome::Gone(object) => success(call, &object),
    }
}

/// The answer that carries an object of the stored version.
async fn answer(call: &Call, object: Value) -> Result<Response, ApiError> {
    let object = webhook::convert(&call.server, object, &call.definition.stored(), &call.definition).await?;
    call.respond_as_is(StatusCode::OK, &object)
}

/// Deletes the object that the path names.
pub async fn delete_named(call: &mut Call, options: &DeleteOptions) -> Result<Outcome, ApiError> {
    let key = call.key();
    let entry = call.server.store().get(&key, None).await?.ok_or_else(|| call.not_found())?;
    delete_entry(call, entry, options).await
}

/// Deletes every object that a list with the same parameters answers.
pub async fn delete_collection(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let options = options(call, request).await?;
    let mut listing = list::listing(call).await?;
    let stored = listing.entries.clone();
    webhook::bring_entries(call, &mut listing.entries).await?;
    for entry in stored {
        match delete_entry(call, entry, &options).await {
            Ok(_) => {}
            Err(error) if error.code == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    representation::list(call, StatusCode::OK, &listing)
}

async fn options(call: &mut Call, request: &mut Request) -> Result<DeleteOptions, ApiError> {
    let body = read_body(request).await?;
    if body.is_empty() {
        return DeleteOptions::from_query(&call.query);
    }
    let body = documents::delete_options(request.headers(), &body)?;
    crate::audit::request_options(&body);
    DeleteOptions::from_body(&body)
}

async fn delete_entry(
    call: &mut Call,
    mut entry: Entry,
    options: &DeleteOptions,
) -> Result<Outcome, ApiError> {
    let definition = call.definition.stored();
    // The object as this call marked it. Whoever finishes it after that, it is gone as was asked.
    let mut marked: Option<Value> = None;
    loop {
        let old = stored::decode(&entry)?;
        if let Some(marked) =
            marked.take_if(|marked| metadata::text(marked, "uid") != metadata::text(&old, "uid"))
        {
            return Ok(Outcome::Gone(marked));
        }
        if marked.is_none() {
            check_preconditions(call, &old, options)?;
            admit(call, &old, options).await?;
        }
        let (mut object, gone) = plan(&definition, &old, options, call.now);
        if options.dry_run {
            return Ok(if gone { Outcome::Gone(object) } else { Outcome::Waiting(object) });
        }
        if !gone && object == old {
            return Ok(Outcome::Waiting(object));
        }
        let document = stored::encode(&mut object, &definition)?;
        // Those who watch see that a pod is asked to stop, even when it stops at once.
        let marks = gone && definition.is("", "pods") && object != old;
        let change = if gone && !marks {
            Change::Delete { last: Some(document) }
        } else {
            Change::Put { document, ttl: write::time_to_live(&definition) }
        };
        let mut writes = if gone && definition.is("", "services") {
            addresses::writes(&call.server, Some(&object), None)?
        } else {
            Vec::new()
        };
        writes.push(Write { key: entry.key.clone(), expect: Expect::Modified(entry.modified), change });
        let next = match call.server.store().commit(writes).await {
            Ok(revisions) => {
                write::set_revision(&mut object, &revisions);
                if !gone {
                    return Ok(Outcome::Waiting(object));
                }
                if !marks {
                    after(call, &definition, &object).await;
                    return Ok(Outcome::Gone(object));
                }
                marked = Some(object);
                call.server.store().get(&entry.key, None).await?
            }
            Err(vkube_store::Error::Conflict { current, .. }) => current.map(|current| *current),
            Err(error) => return Err(error.into()),
        };
        let Some(next) = next else {
            let (_, name) = definition.split_key(&entry.key);
            let missing = || ApiError::not_found(call.definition.group_resource(), name);
            return marked.map(Outcome::Gone).ok_or_else(missing);
        };
        entry = next;
    }
}

async fn admit(call: &mut Call, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    // Of an eviction, the Eviction was admitted.
    if call.info.subresource == "eviction" {
        return Ok(());
    }
    let mut warnings = Vec::new();
    let mut nothing = Value::Null;
    let form = call.definition.stored();
    let attributes = Attributes {
        server: &call.server,
        operation: Operation::Delete,
        definition: &call.definition,
        form: &form,
        subresource: "",
        namespace: if call.definition.is("", "namespaces") {
            metadata::name(old)
        } else {
            metadata::namespace(old)
        },
        name: metadata::name(old),
        user: &call.user,
        dry_run: options.dry_run,
        old: Some(old),
        delete_options: Some(options),
        query: None,
        shared: Shared::default(),
    };
    let chain = &call.server.parts.admission;
    let mut result = chain.admit(&attributes, &mut nothing, &mut warnings).await;
    if result.is_ok() {
        result = chain.validate(&attributes, &Value::Null, &mut warnings).await;
    }
    call.warnings.append(&mut warnings);
    result
}

fn check_preconditions(call: &Call, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let conflict =
        |why: &str| Err(ApiError::conflict(call.definition.group_kind(), metadata::name(old), why));
    if let Some(uid) = options.uid.as_deref().filter(|u| *u != metadata::text(old, "uid")) {
        return conflict(&format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            metadata::text(old, "uid")
        ));
    }
    let version = metadata::text(old, "resourceVersion");
    if let Some(demanded) = options.resource_version.as_deref().filter(|v| *v != version) {
        return conflict(&format!(
            "the ResourceVersion in the precondition ({demanded}) does not match the ResourceVersion in record ({version}). The object might have been modified"
        ));
    }
    Ok(())
}

/// The object after the deletion was asked for, and whether it is gone by that.
fn plan(
    definition: &Definition,
    old: &Value,
    options: &DeleteOptions,
    now: jiff::Timestamp,
) -> (Value, bool) {
    let mut object = old.clone();
    if definition.is("apiextensions.k8s.io", "customresourcedefinitions") && !metadata::is_terminating(old) {
        crate::custom::controller::begin_deletion(&mut object, now);
        return (object, false);
    }
    let finalizers = deletion_finalizers(definition, old, options.propagation);
    metadata::set_finalizers(&mut object, finalizers);
    let grace = grace_period(definition, old, options);
    let terminating = metadata::is_terminating(old);
    let current = old.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    // A second deletion can only shorten the grace period, and only when it asks for one.
    let grace = match current {
        Some(current) if terminating && options.grace_period_seconds.is_none() => current,
        Some(current) if terminating => grace.min(current),
        _ => grace,
    };
    let waits = !metadata::finalizers(&object).is_empty() || has_content(definition, &object);
    let graceful = definition.is("", "pods");
    if !waits && !graceful {
        return (object, true);
    }
    if !terminating {
        let at = now + jiff::SignedDuration::from_secs(grace);
        metadata::set(&mut object, "deletionTimestamp", metadata::time(at));
        if !definition.is("", "namespaces") {
            metadata::set(&mut object, "deletionGracePeriodSeconds", grace);
        }
        let generation = metadata::generation(old);
        if generation > 0 {
            metadata::set(&mut object, "generation", generation + 1);
        }
        if definition.is("", "namespaces") {
            object["status"]["phase"] = "Terminating".into();
        }
    } else if current.is_some_and(|current| grace < current) {
        let begun = deletion_began(old, current.unwrap_or(0)).unwrap_or(now);
        let at = begun + jiff::SignedDuration::from_secs(grace);
        metadata::set(&mut object, "deletionTimestamp", metadata::time(at));
        metadata::set(&mut object, "deletionGracePeriodSeconds", grace);
    }
    (object, !waits && grace == 0)
}

fn deletion_began(old: &Value, grace: i64) -> Option<jiff::Timestamp> {
    let at: jiff::Timestamp = metadata::text(old, "deletionTimestamp").parse().ok()?;
    Some(at - jiff::SignedDuration::from_secs(grace))
}

/// Namespaces hold content until `spec.finalizers` is empty.
pub fn has_content(definition: &Definition, object: &Value) -> bool {
    definition.is("", "namespaces")
        && object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty())
}

fn grace_period(definition: &Definition, old: &Value, options: &DeleteOptions) -> i64 {
    if !definition.is("", "pods") {
        return 0;
    }
    let scheduled = old.pointer("/spec/nodeName").and_then(Value::as_str).is_some_and(|n| !n.is_empty());
    let over = matches!(old.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
    if !scheduled || over {
        return 0;
    }
    let own = old.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30);
    options.grace_period_seconds.unwrap_or(own)
}

fn deletion_finalizers(definition: &Definition, old: &Value, policy: Option<Propagation>) -> Vec<String> {
    let mut finalizers: Vec<String> = metadata::finalizers(old).into_iter().map(Into::into).collect();
    let policy = policy.or_else(|| {
        // Kinds of before garbage collection orphan by default, unless something has been decided already.
        let decided = finalizers.iter().any(|f| f == ORPHAN || f == FOREGROUND);
        let old_kind = definition.is("", "replicationcontrollers") || definition.is("batch", "jobs");
        (old_kind && !decided).then_some(Propagation::Orphan)
    });
    let wanted = match policy {
        None => return finalizers,
        Some(Propagation::Background) => None,
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Orphan) => Some(ORPHAN),
    };
    finalizers.retain(|f| (f != ORPHAN && f != FOREGROUND) || Some(f.as_str()) == wanted);
    if let Some(wanted) = wanted.filter(|w| !finalizers.iter().any(|f| f == w)) {
        finalizers.push(wanted.into());
    }
    finalizers
}

/// What follows the end of an object.
pub async fn after(call: &Call, definition: &Definition, object: &Value) {
    if definition.is("", "services") {
        call.server.parts.allocator.release(object, None).await;
    }
}

/// Kinds whose deletion answers the object and not a Status.
fn returns_object(definition: &Definition) -> bool {
    const KINDS: &[(&str, &str)] = &[
        ("", "pods"),
        ("", "services"),
        ("", "serviceaccounts"),
        ("", "persistentvolumes"),
        ("", "persistentvolumeclaims"),
        ("", "podtemplates"),
        ("", "resourcequotas"),
        ("apps", "podtemplates"),
        ("storage.k8s.io", "storageclasses"),
        ("storage.k8s.io", "csidrivers"),
        ("storage.k8s.io", "csinodes"),
        ("storage.k8s.io", "volumeattachments"),
        ("storage.k8s.io", "volumeattributesclasses"),
        ("resource.k8s.io", "deviceclasses"),
        ("resource.k8s.io", "resourceclaims"),
        ("resource.k8s.io", "resourceclaimtemplates"),
        ("resource.k8s.io", "resourceslices"),
    ];
    KINDS.iter().any(|(group, plural)| definition.is(group, plural))
}

fn success(call: &Call, object: &Value) -> Result<Response, ApiError> {
    let mut details = json!({
        "name": metadata::name(object),
        "kind": call.definition.plural(),
        "uid": metadata::text(object, "uid"),
    });
    if !call.definition.group().is_empty() {
        details["group"] = call.definition.group().into();
    }
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    });
    let mut response = respond::document(
        StatusCode::OK,
        &status,
        call.accepted.encoding,
        Type::builtin(crate::codec::STATUS),
    );
    respond::warn(&mut response, &call.warnings);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::custom::tests::Fixture;

    const PODS: &str = "/api/v1/namespaces/default/pods";

    /// A pod on a node, whose deletion has two writes.
    async fn scheduled(server: &Fixture) -> String {
        let account = "/api/v1/namespaces/default/serviceaccounts";
        server.call(Method::POST, account, &json!({"metadata": {"name": "default"}})).await;
        let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
        server.create(PODS, &json!({"metadata": {"name": "p"}, "spec": spec})).await;
        format!("{PODS}/p")
    }

    #[tokio::test]
    async fn deleting_a_pod_that_another_finishes_meanwhile_succeeds() {
        let server = Fixture::start().await;
        let at_once = json!({"gracePeriodSeconds": 0});
        for _ in 0..20 {
            let path = scheduled(&server).await;
            let kubelet = async {
                let asked = |status, pod: &Value| {
                    status == StatusCode::NOT_FOUND || !pod["metadata"]["deletionTimestamp"].is_null()
                };
                server.until(&path, asked).await;
                server.call(Method::DELETE, &path, &at_once).await
            };
            let ((status, body), _) = tokio::join!(server.call(Method::DELETE, &path, &at_once), kubelet);
            assert_eq!(status, StatusCode::OK, "{body}");
            server.until(&path, |status, _| status == StatusCode::NOT_FOUND).await;
        }
        server.0.stop().await;
    }
}
