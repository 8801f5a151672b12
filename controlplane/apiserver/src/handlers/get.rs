//! GET of one object.

use http::StatusCode;

use super::{call::Call, list::newest_at_least};
use crate::{body::Response, status::ApiError};

/// Answers the object as stored.
pub async fn get(call: &Call) -> Result<Response, ApiError> {
    let asked = call.query.get("resourceVersion");
    if !asked.is_empty() {
        let revision: u64 = asked.parse().map_err(|_| {
            ApiError::unknown(format!(
                "resourceVersion: Invalid value: {asked:?}: strconv.ParseUint: parsing {asked:?}: invalid syntax"
            ))
        })?;
        newest_at_least(call, revision).await?;
    }
    let entry = call.server.store().get(&call.key(), None).await?.ok_or_else(|| call.not_found())?;
    call.respond_stored(StatusCode::OK, entry.value)
}
