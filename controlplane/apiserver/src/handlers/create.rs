//! New objects, by POST or whatever else makes them.

use std::time::Duration;

use serde_json::Value;
use vkube_store::{Change, Expect, Write};

use super::{
    call::{Call, read_body},
    write::{
        ATTEMPTS, Options, Written, admit, allocate, check_namespace, consent, own_fields, time_to_live,
    },
};
use crate::{
    admission::Operation,
    body::{Request, Response},
    custom::webhook,
    documents, metadata,
    options::WriteOptions,
    registry::gates,
    resource::Definition,
    service_allocation::addresses,
    status::ApiError,
    stored, system_metadata, validation,
};

/// How long to wait to hear from another server what it has given.
const TAKEN: Duration = Duration::from_millis(20);

/// Stores a new object.
pub async fn create(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let options = WriteOptions::read(&call.query, &call.user_agent, "CreateOptions", false)?;
    let body = read_body(request).await?;
    let object = documents::read(call, request.headers(), &body, options.field_validation)?;
    let options = Options { dry_run: options.dry_run, manager: options.manager };
    store(call, object, &options).await?.respond(call)
}

/// Stores a new object. `object` is decoded and defaulted, at the version of the request.
pub async fn store(call: &mut Call, mut object: Value, options: &Options) -> Result<Written, ApiError> {
    let stored_definition = call.definition.stored();
    let definition = call.definition.judged();
    check_namespace(call, &mut object)?;
    if !matches!(metadata::text(&object, "resourceVersion"), "" | "0") {
        return Err(ApiError::unknown("resourceVersion should not be set on objects to be created"));
    }
    system_metadata::wipe(&mut object);
    call.warnings.extend(system_metadata::dedup_owners(&mut object));
    own_fields(call, None, &mut object, options)?;
    object = call.definition.convert(object, &definition);
    admit(call, &definition, Operation::Create, None, &mut object, options).await?;
    let hollow = stored::hollow_out(&definition, &mut object)?;

    system_metadata::prepare_create(&mut object, &definition, call.now);
    gates::close(definition.group(), definition.plural(), &mut object, None);
    call.warnings.extend(definition.rules().early_warnings(&object));
    definition.rules().prepare_create(&mut object, &call.writer(options.dry_run));
    let mut errors = validation::metadata::create(&object, &definition);
    errors.extend(definition.rules().validate(&object));
    let name = metadata::name(&object).to_owned();
    if !errors.is_empty() {
        return Err(ApiError::invalid(definition.group_kind(), &name, &errors));
    }
    let warned = call.warnings.len();
    call.warnings.extend(definition.rules().warnings(&object, None));
    let filled = hollow.filled(&object);
    consent(call, &definition, Operation::Create, None, filled.as_ref().unwrap_or(&object), options).await?;
    stored::settle(&definition, &mut object);
    if let Definition::Custom(custom) = &definition {
        custom.default_status(&mut object);
    }
    let shown = webhook::is_asked(&definition).then(|| object.clone());
    object = webhook::convert(&call.server, object, &definition, &stored_definition).await?;

    let key = stored_definition.key(metadata::namespace(&object), &name);
    if stored_definition.is("", "services") {
        return create_service(call, object, key, options, warned).await;
    }
    if options.dry_run {
        if call.server.store().get(&key, None).await?.is_some() {
            return Err(ApiError::already_exists(call.definition.group_resource(), &name));
        }
        return Ok(Written::unstored(object, true).showing(shown));
    }
    let document = stored::encode(&mut object, &stored_definition)?;
    let change = Change::Put { document: document.clone(), ttl: time_to_live(&stored_definition) };
    match call.server.store().commit(vec![Write { key, expect: Expect::Absent, change }]).await {
        Ok(revisions) => Ok(Written::committed(object, &document, &revisions, true).showing(shown)),
        Err(error) => Err(taken(call, error, &name)),
    }
}

/// Stores a new Service with the addresses that it is given, again with others while another server takes the same.
async fn create_service(
    call: &mut Call,
    asked: Value,
    key: String,
    options: &Options,
    warned: usize,
) -> Result<Written, ApiError> {
    let definition = call.definition.stored();
    let name = metadata::name(&asked).to_owned();
    for attempt in 1..=ATTEMPTS {
        let mut object = asked.clone();
        allocate(call, &mut object, None, options, warned).await?;
        if options.dry_run {
            if call.server.store().get(&key, None).await?.is_some() {
                return Err(ApiError::already_exists(call.definition.group_resource(), &name));
            }
            return Ok(Written::unstored(object, true));
        }
        let document = stored::encode(&mut object, &definition)?;
        let change = Change::Put { document: document.clone(), ttl: None };
        let mut writes = addresses::writes(&call.server, None, Some(&object))?;
        writes.push(Write { key: key.clone(), expect: Expect::Absent, change });
        let error = match call.server.store().commit(writes).await {
            Ok(revisions) => return Ok(Written::committed(object, &document, &revisions, true)),
            Err(error) => error,
        };
        call.server.parts.allocator.release(&object, None).await;
        let of_another = matches!(&error, vkube_store::Error::Conflict { key: taken, .. } if *taken != key);
        if !of_another || attempt == ATTEMPTS {
            return Err(taken(call, error, &name));
        }
        tokio::time::sleep(TAKEN).await;
    }
    Err(ApiError::modified(definition.group_resource(), &name))
}

fn taken(call: &Call, error: vkube_store::Error, name: &str) -> ApiError {
    let vkube_store::Error::Conflict { current, .. } = error else { return error.into() };
    let mut taken = ApiError::already_exists(call.definition.group_resource(), name);
    let terminating =
        current.and_then(|e| stored::decode(&e).ok()).is_some_and(|o| metadata::is_terminating(&o));
    if terminating {
        taken.message.insert_str(0, "object is being deleted: ");
    }
    taken
}
