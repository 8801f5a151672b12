//! PUT of an object, or of its status or another part that is written as the whole object.

use super::{call::Call, call::read_body, write};
use crate::{
    body::{Request, Response},
    documents,
    options::WriteOptions,
    status::ApiError,
};

/// Replaces an object.
pub async fn update(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let options = WriteOptions::read(&call.query, &call.user_agent, "UpdateOptions", false)?;
    let body = read_body(request).await?;
    let mut object = documents::read(call, request.headers(), &body, options.field_validation)?;
    write::check_namespace(call, &mut object)?;
    write::check_name(call, &object)?;
    let options = write::Options { dry_run: options.dry_run, manager: options.manager };
    let written = write::update(call, &options, |call, live| {
        if live.is_none() && !may_create(call) {
            return Err(call.not_found());
        }
        Ok(object.clone())
    });
    written.await?.respond(call)
}

fn may_create(call: &Call) -> bool {
    call.info.subresource.is_empty() && call.definition.stored().rules().create_on_update()
}
