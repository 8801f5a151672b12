//! POST of an object.

use super::{call::Call, call::read_body, write};
use crate::{
    body::{Request, Response},
    documents,
    options::WriteOptions,
    status::ApiError,
};

/// Stores a new object.
pub async fn create(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let options = WriteOptions::read(&call.query, &call.user_agent, "CreateOptions", false)?;
    let body = read_body(request).await?;
    let object = documents::read(call, request.headers(), &body, options.field_validation)?;
    let options = write::Options { dry_run: options.dry_run, manager: options.manager };
    write::create(call, object, &options).await?.respond(call)
}
