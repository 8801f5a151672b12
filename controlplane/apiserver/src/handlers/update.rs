//! PUT of an object, or of its status or another part that is written as the whole object.

use serde_json::Value;

use super::{call::Call, call::read_body, write};
use crate::{
    body::{Request, Response},
    documents, metadata,
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
        if live.is_none() {
            check_absent(call, &object)?;
        }
        Ok(object.clone())
    });
    written.await?.respond(call)
}

/// What is not there can be neither a certain object nor, mostly, updated.
fn check_absent(call: &Call, object: &Value) -> Result<(), ApiError> {
    let demanded = metadata::text(object, "uid");
    if !demanded.is_empty() {
        let resource = call.definition.group_resource();
        return Err(ApiError::another_uid(resource, &call.info.name, &call.key(), demanded, ""));
    }
    let may_create = call.info.subresource.is_empty() && call.definition.stored().rules().create_on_update();
    if may_create { Ok(()) } else { Err(call.not_found()) }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::json;

    use crate::custom::tests::Fixture;

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    #[tokio::test]
    async fn a_deletion_begins_with_no_update_and_is_taken_back_by_none() {
        let server = Fixture::start().await;
        let finalizers = json!(["example.com/f"]);
        server.create(MAPS, &json!({"metadata": {"name": "m", "finalizers": finalizers}})).await;
        let path = format!("{MAPS}/m");
        let deleted = json!({"metadata": {"name": "m", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let (status, body) = server.call(Method::PUT, &path, &deleted).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(body["details"]["causes"][0]["field"], "metadata.deletionTimestamp");

        server.call(Method::DELETE, &path, &json!({})).await;
        let kept = json!({"metadata": {"name": "m", "finalizers": finalizers}});
        let (status, body) = server.call(Method::PUT, &path, &kept).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body["metadata"]["deletionTimestamp"].is_string(), "{body}");
        server.0.stop().await;
    }
}
