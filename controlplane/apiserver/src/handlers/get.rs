//! GET of one object.

use http::StatusCode;

use super::{call::Call, list::newest_at_least};
use crate::{body::Response, custom::webhook, options::unsigned, status::ApiError};

/// Answers the object as stored.
pub async fn get(call: &Call) -> Result<Response, ApiError> {
    if call.query.has("export") && call.query.flag("export") {
        return Err(ApiError::bad_request(
            "the export parameter, deprecated since v1.14, is no longer supported",
        ));
    }
    let asked = call.query.get("resourceVersion");
    if !asked.is_empty() {
        let revision = unsigned(asked)
            .map_err(|why| ApiError::unknown(format!("resourceVersion: Invalid value: {asked:?}: {why}")))?;
        newest_at_least(call, revision).await?;
    }
    let mut entry = call.server.store().get(&call.key(), None).await?.ok_or_else(|| call.not_found())?;
    webhook::bring_entries(call, std::slice::from_mut(&mut entry)).await?;
    call.respond_stored(StatusCode::OK, entry.value)
}
