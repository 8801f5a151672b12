//! Reviews: questions about users and their rights, answered at once and never stored.

use http::StatusCode;
use serde_json::json;

use super::{call::Call, call::read_body, write};
use crate::{
    body::{Request, Response},
    documents,
    options::WriteOptions,
    status::ApiError,
};

/// Whether the resource is a review.
pub fn is_review(call: &Call) -> bool {
    matches!(call.definition.group(), "authentication.k8s.io" | "authorization.k8s.io")
}

/// Answers a review.
pub async fn review(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let options = WriteOptions::read(&call.query, &call.user_agent, "CreateOptions", false)?;
    let body = read_body(request).await?;
    let mut review = documents::read(call, request.headers(), &body, options.field_validation)?;
    write::check_namespace(call, &mut review)?;
    let plural = call.definition.plural().to_owned();
    crate::metadata::set_top(&mut review, "status", None);
    if !matches!(plural.as_str(), "selfsubjectreviews" | "selfsubjectrulesreviews") {
        crate::ownership::on_update(call, None, &mut review, &options.manager)?;
    }
    match plural.as_str() {
        "selfsubjectreviews" => {
            review["metadata"] = json!({"creationTimestamp": crate::metadata::time(call.now)});
            review["status"] = json!({"userInfo": call.user.to_value()});
        }
        "tokenreviews" => crate::authentication::review_token(&call.server, &mut review).await?,
        "selfsubjectrulesreviews" => crate::rbac::review_rules(call, &mut review)?,
        _ => crate::rbac::review_access(call, &mut review).await?,
    }
    call.respond_as_is(StatusCode::CREATED, &review)
}
