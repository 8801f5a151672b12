//! Changing objects: what every write passes, whatever verb it came by.
//!
//! Managed fields → mutating admission → the kind's preparation → validation → validating admission →
//! the store, which accepts only if nobody else wrote in between.

use http::StatusCode;
use serde_json::Value;
use vkube_store::{Change, Document, Entry, Expect, Write};

use super::{call::Call, create, parts, scale};
use crate::{
    admission::{Attributes, Operation, Shared},
    body::Response,
    custom::webhook,
    field::{Errors, Path},
    managed_fields, metadata,
    options::unsigned,
    registry::gates,
    resource::Definition,
    service_allocation::addresses,
    status::ApiError,
    stored, system_metadata, validation,
};

/// How often a write is tried again when others keep writing the same object.
pub(super) const ATTEMPTS: usize = 64;

/// The options that the stages of a write share.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Nothing is stored.
    pub dry_run: bool,
    /// The field manager; empty leaves managed fields alone (the caller has computed them).
    pub manager: String,
}

/// The result of a write.
pub struct Written {
    /// The object, at its stored version.
    pub object: Value,
    /// Whether it did not exist before.
    pub created: bool,
    /// The same object as it was stored, if it was.
    stored: Option<Vec<u8>>,
    /// The object at the version of the request, where it takes a webhook to get there.
    shown: Option<Value>,
}

impl Written {
    /// The answer: 201 for a new object.
    pub fn respond(self, call: &Call) -> Result<Response, ApiError> {
        let code = if self.created { StatusCode::CREATED } else { StatusCode::OK };
        if let Some(mut shown) = self.shown {
            metadata::set(&mut shown, "resourceVersion", metadata::text(&self.object, "resourceVersion"));
            return call.respond_as_is(code, &shown);
        }
        match self.stored {
            Some(stored) if call.takes_stored() => Ok(call.respond_plain(code, stored)),
            _ => call.respond(code, self.object),
        }
    }

    /// What a commit has written.
    pub(super) fn committed(
        mut object: Value,
        document: &Document,
        revisions: &[u64],
        created: bool,
    ) -> Self {
        set_revision(&mut object, revisions);
        let stored = revisions.last().map(|revision| document.at(*revision));
        Self { object, created, stored, shown: None }
    }

    /// What nothing was stored of.
    pub(super) const fn unstored(object: Value, created: bool) -> Self {
        Self { object, created, stored: None, shown: None }
    }

    /// With what the client is shown.
    pub(super) fn showing(self, shown: Option<Value>) -> Self {
        Self { shown, ..self }
    }
}

/// Changes an object. `change` makes the new object of the live one, both at the version of the request;
/// it runs again when somebody else wrote in between, unless it demanded a certain resource version.
/// `create` is what to store when there is no live object, if that is allowed.
pub async fn update<F>(call: &mut Call, options: &Options, mut change: F) -> Result<Written, ApiError>
where
    F: FnMut(&mut Call, Option<&Value>) -> Result<Value, ApiError>,
{
    let stored_definition = call.definition.stored();
    let key = call.key();
    let mut first = true;
    for _ in 0..ATTEMPTS {
        let Some(entry) = call.server.store().get(&key, None).await? else {
            let object = change(call, None)?;
            return create::store(call, object, options).await;
        };
        let old = stored::decode(&entry)?;
        let converted = if call.definition.is_converted() {
            let (from, to) = (&stored_definition, &call.definition);
            Some(webhook::convert(&call.server, old.clone(), from, to).await?)
        } else {
            None
        };
        let live = converted.as_ref().unwrap_or(&old);
        let warned = call.warnings.len();
        let changed = change(call, Some(live));
        if call.conversions.fetch(&call.server).await {
            call.warnings.truncate(warned);
            continue;
        }
        let mut object = changed?;
        check_namespace(call, &mut object)?;
        check_identity(call, &object, &entry, &old)?;
        let demanded = demands_version(&object);
        check_conditional(call, demanded)?;
        let repeated = system_metadata::dedup_owners(&mut object);
        call.warnings.extend(repeated.filter(|_| std::mem::take(&mut first)));
        let unowned = webhook::is_asked(&call.definition).then(|| object.clone());
        own_fields(call, Some(live), &mut object, options)?;
        while call.conversions.fetch(&call.server).await {
            if let Some(unowned) = &unowned {
                object.clone_from(unowned);
            }
            own_fields(call, Some(live), &mut object, options)?;
        }
        let definition = call.definition.judged();
        object = call.definition.convert(object, &definition);
        let old = match converted {
            Some(converted) if webhook::is_asked(&definition) => converted,
            _ => stored_definition.convert(old, &definition),
        };
        match store_update(call, &definition, &entry, &old, object, options).await? {
            Some(written) => return Ok(written),
            // What a patch makes has the live version, unless the patch itself demands one: the next try tells.
            None if demanded && call.info.verb == "update" => {
                return Err(ApiError::modified(call.definition.group_resource(), &call.info.name));
            }
            None => {}
        }
    }
    Err(ApiError::modified(call.definition.group_resource(), &call.info.name))
}

/// Some kinds are updated only by those who know the latest version.
fn check_conditional(call: &Call, demanded: bool) -> Result<(), ApiError> {
    let whole = call.info.subresource != "scale";
    if demanded || !whole || call.info.verb != "update" || call.definition.rules().unconditional_update() {
        return Ok(());
    }
    let mut errors = Errors::default();
    errors.invalid(
        &Path::new("metadata").child("resourceVersion"),
        &Value::from(0),
        "must be specified for an update",
    );
    Err(ApiError::invalid(call.definition.group_resource(), &call.info.name, &errors))
}

fn demands_version(object: &Value) -> bool {
    !matches!(metadata::text(object, "resourceVersion"), "" | "0")
}

/// One try; `None` when somebody else wrote in between.
async fn store_update(
    call: &mut Call,
    definition: &Definition,
    entry: &Entry,
    old: &Value,
    mut object: Value,
    options: &Options,
) -> Result<Option<Written>, ApiError> {
    let rules = definition.rules();
    let subresource = call.info.subresource.clone();
    // Of a binding, the Binding was admitted.
    let admitted = subresource == "binding";
    if !admitted {
        admit(call, definition, Operation::Update, Some(old), &mut object, options).await?;
    }
    let hollow = stored::hollow_out(definition, &mut object)?;
    system_metadata::prepare_update(&mut object, old, definition, &subresource);
    gates::close(definition.group(), definition.plural(), &mut object, Some(old));
    match subresource.as_str() {
        "status" => rules.prepare_status_write(&mut object, old, &call.writer(options.dry_run)),
        "" | "scale" => rules.prepare_update(&mut object, old, &call.writer(options.dry_run)),
        // The server itself binds pods, by rules of its own.
        "binding" => {}
        part => {
            parts::keep_rest(&mut object, old, part);
            rules.prepare_part_update(&mut object, old, part, &call.writer(options.dry_run));
        }
    }
    if !matches!(subresource.as_str(), "status" | "binding") {
        system_metadata::bump_generation(&mut object, old, definition);
    }
    let mut errors = validation::metadata::update(&object, old, definition);
    // Kubernetes checks metadata for all kinds and again with the kind's own fields; clients see both.
    errors.extend(errors.clone());
    errors.extend(match subresource.as_str() {
        "status" => rules.validate_status_update(&object, old),
        "" | "scale" => rules.validate_update(&object, old),
        // A binding sets what no update may, and its handler has checked it.
        "binding" => Errors::default(),
        part => rules.validate_part_update(&object, old, part),
    });
    if !errors.is_empty() {
        return Err(ApiError::invalid(definition.group_kind(), &call.info.name, &errors));
    }
    let warned = call.warnings.len();
    match subresource.as_str() {
        "" => call.warnings.extend(rules.warnings(&object, Some(old))),
        "status" => call.warnings.extend(rules.status_warnings(&object)),
        _ => {}
    }
    if !admitted {
        let filled = hollow.filled(&object);
        let shown = filled.as_ref().unwrap_or(&object);
        consent(call, definition, Operation::Update, Some(old), shown, options).await?;
    }

    stored::settle(definition, &mut object);

    let services = definition.is("", "services") && subresource.is_empty();
    if services {
        allocate(call, &mut object, Some(old), options, warned).await?;
    }
    metadata::set(&mut object, "resourceVersion", metadata::text(old, "resourceVersion"));
    managed_fields::keep_times(old, &mut object);
    let unchanged = object == *old;
    let stored_definition = definition.stored();
    let shown = webhook::is_asked(definition).then(|| object.clone());
    let mut object = webhook::convert(&call.server, object, definition, &stored_definition).await?;
    if unchanged || options.dry_run {
        return Ok(Some(Written::unstored(object, false).showing(shown)));
    }
    let held = |object: &Value| {
        !metadata::finalizers(object).is_empty() || super::delete::has_content(definition, object)
    };
    if metadata::is_terminating(&object)
        && held(old)
        && !held(&object)
        && metadata::get(&object, "deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0) == 0
    {
        // The last finalizer is gone: what was an update ends the object, as it was before.
        let last = stored::encode(&mut stored::decode(entry)?, &stored_definition)?;
        let write = Write {
            key: entry.key.clone(),
            expect: Expect::Modified(entry.modified),
            change: Change::Delete { last: Some(last) },
        };
        return match call.server.store().commit(vec![write]).await {
            Ok(_) => {
                super::delete::after(call, definition, &object).await;
                Ok(Some(Written::unstored(object, false).showing(shown)))
            }
            Err(vkube_store::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
    let document = stored::encode(&mut object, &stored_definition)?;
    let write = Write {
        key: entry.key.clone(),
        expect: Expect::Modified(entry.modified),
        change: Change::Put { document: document.clone(), ttl: time_to_live(definition) },
    };
    let mut writes = companions(call, services, Some(old), Some(&object))?;
    writes.push(write);
    match call.server.store().commit(writes).await {
        Ok(revisions) => {
            if services {
                call.server.parts.allocator.release(old, Some(&object)).await;
            }
            Ok(Some(Written::committed(object, &document, &revisions, false).showing(shown)))
        }
        Err(error) => {
            if services {
                call.server.parts.allocator.release(&object, Some(old)).await;
            }
            match error {
                vkube_store::Error::Conflict { .. } => Ok(None),
                other => Err(other.into()),
            }
        }
    }
}

/// What else is written in the same commit, before the object itself: the addresses of a Service.
fn companions(
    call: &Call,
    services: bool,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Result<Vec<Write>, ApiError> {
    if services { addresses::writes(&call.server, old, new) } else { Ok(Vec::new()) }
}

/// Gives a Service its addresses. Kubernetes does so before it looks at the Service at all, so a failure
/// takes back the warnings after the first `warned`.
pub(super) async fn allocate(
    call: &mut Call,
    service: &mut Value,
    old: Option<&Value>,
    options: &Options,
    warned: usize,
) -> Result<(), ApiError> {
    let result = call.server.parts.allocator.allocate(service, old, options.dry_run).await;
    if result.is_err() {
        call.warnings.truncate(warned);
    }
    result
}

/// Writes the revision of a commit into the object that was committed.
pub fn set_revision(object: &mut Value, revisions: &[u64]) {
    if let Some(revision) = revisions.last() {
        metadata::set(object, "resourceVersion", revision.to_string());
    }
}

/// Events go by themselves after an hour, as kube-apiserver's `--event-ttl` has it.
pub fn time_to_live(definition: &Definition) -> Option<std::time::Duration> {
    definition.is("", "events").then(|| std::time::Duration::from_hours(1))
}

/// The namespace of an object is that of the path.
pub fn check_namespace(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let given = metadata::namespace(object);
    if !call.definition.namespaced() {
        if !given.is_empty() {
            metadata::remove(object, "namespace");
        }
        return Ok(());
    }
    if given.is_empty() {
        metadata::set(object, "namespace", call.namespace());
    } else if given != call.namespace() {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// The name of an object is that of the path.
pub fn check_name(call: &Call, object: &Value) -> Result<(), ApiError> {
    let (given, path) = (metadata::name(object), call.info.name.as_str());
    if given.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({path} based on URL) was undeterminable: name must be provided"
        )));
    }
    if given != path {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({path})"
        )));
    }
    Ok(())
}

/// Name, uid and resource version must be those of the object that is there.
fn check_identity(call: &Call, object: &Value, entry: &Entry, old: &Value) -> Result<(), ApiError> {
    let resource = call.definition.group_resource();
    let version = metadata::text(object, "resourceVersion");
    let version: u64 = if version.is_empty() { 0 } else { unsigned(version).map_err(ApiError::unknown)? };
    let uid = metadata::text(object, "uid");
    // A patch cannot demand an object of a certain uid; validation will say that the uid does not change.
    let found = metadata::text(old, "uid");
    if call.info.verb == "update" && !uid.is_empty() && uid != found {
        return Err(ApiError::another_uid(resource, &call.info.name, &entry.key, uid, found));
    }
    if version != 0 && version != entry.modified {
        return Err(ApiError::modified(resource, &call.info.name));
    }
    Ok(())
}

pub(super) fn own_fields(
    call: &Call,
    live: Option<&Value>,
    object: &mut Value,
    options: &Options,
) -> Result<(), ApiError> {
    if options.manager.is_empty() {
        return Ok(());
    }
    crate::ownership::on_update(call, live, object, &options.manager)
}

/// Lets mutating admission change an object, which is at the version of `form`. What is admitted of a
/// scale is the scale.
pub(super) async fn admit(
    call: &mut Call,
    form: &Definition,
    operation: Operation,
    old: Option<&Value>,
    object: &mut Value,
    options: &Options,
) -> Result<(), ApiError> {
    let mut scale = scale_of(call, form, object);
    let old_scale = old.and_then(|old| scale_of(call, form, old));
    let mut warnings = std::mem::take(&mut call.warnings);
    let result = {
        let attributes = attributes(call, form, operation, old_scale.as_ref().or(old), options.dry_run);
        let subject = scale.as_mut().unwrap_or(object);
        call.server.parts.admission.admit(&attributes, subject, &mut warnings).await
    };
    call.warnings = warnings;
    result?;
    if let Some(scale) = scale {
        scale::set_replicas(form, object, scale::replicas(&scale));
    }
    Ok(())
}

/// Asks validating admission.
pub async fn consent(
    call: &mut Call,
    form: &Definition,
    operation: Operation,
    old: Option<&Value>,
    object: &Value,
    options: &Options,
) -> Result<(), ApiError> {
    let scale = scale_of(call, form, object);
    let old_scale = old.and_then(|old| scale_of(call, form, old));
    let mut warnings = std::mem::take(&mut call.warnings);
    let result = {
        let attributes = attributes(call, form, operation, old_scale.as_ref().or(old), options.dry_run);
        let subject = scale.as_ref().unwrap_or(object);
        call.server.parts.admission.validate(&attributes, subject, &mut warnings).await
    };
    call.warnings = warnings;
    result
}

/// Admits what a subresource is given, which is no object: an Eviction, a Binding, a TokenRequest or the
/// options of a stream.
pub async fn admit_given(
    call: &mut Call,
    operation: Operation,
    given: &mut Value,
    dry_run: bool,
) -> Result<(), ApiError> {
    let mut warnings = std::mem::take(&mut call.warnings);
    let result = {
        let chain = &call.server.parts.admission;
        let attributes = attributes(call, &call.definition, operation, None, dry_run);
        match chain.admit(&attributes, given, &mut warnings).await {
            Ok(()) => chain.validate(&attributes, given, &mut warnings).await,
            refused => refused,
        }
    };
    call.warnings = warnings;
    result
}

fn scale_of(call: &Call, form: &Definition, object: &Value) -> Option<Value> {
    (call.info.subresource == "scale").then(|| scale::scale_of(form, object))
}

fn attributes<'a>(
    call: &'a Call,
    form: &'a Definition,
    operation: Operation,
    old: Option<&'a Value>,
    dry_run: bool,
) -> Attributes<'a> {
    Attributes {
        server: &call.server,
        operation,
        definition: &call.definition,
        form,
        subresource: &call.info.subresource,
        namespace: &call.info.namespace,
        name: &call.info.name,
        user: &call.user,
        dry_run,
        old,
        delete_options: None,
        query: Some(&call.query),
        shared: Shared::default(),
    }
}

/// What is wrong, as the error of this kind and name, if anything is.
pub fn check(definition: &Definition, name: &str, errors: &Errors) -> Result<(), ApiError> {
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(definition.group_kind(), name, errors)) }
}
