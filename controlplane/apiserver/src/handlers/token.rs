//! TokenRequest: tokens of service accounts
//! (<https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>).

use http::StatusCode;
use serde_json::Value;

use super::{
    call::Call,
    call::read_body,
    write::{admit_given, check_namespace},
};
use crate::{
    admission::Operation,
    authentication::service_account,
    body::{Request, Response},
    documents::{self, Expected},
    managed_fields::{self, Reset},
    options::WriteOptions,
    registry, respond,
    schema::defaults,
    status::ApiError,
};

/// How long a token is good whose request does not say it.
const DEFAULT_SECONDS: i64 = 3600;

/// Issues a token for the service account that the path names.
pub async fn request(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let options = WriteOptions::read(&call.query, &call.user_agent, "CreateOptions", false)?;
    let body = read_body(request).await?;
    let expected =
        Expected::part("authentication.k8s.io/v1", "TokenRequest", "io.k8s.api.authentication.v1")?;
    let validation = options.field_validation;
    let mut token_request = documents::read_as(call, request.headers(), &body, validation, &expected)?;
    check_namespace(call, &mut token_request)?;
    let ty = expected.ty;
    defaults::apply_defaults(&mut token_request, ty);
    registry::access::set_default(&mut token_request, "/spec/expirationSeconds", DEFAULT_SECONDS);
    let writer = managed_fields::Request {
        manager: &options.manager,
        api_version: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        subresource: "token",
        ty,
        now: call.now,
        reset: &Reset::NONE,
        convert: None,
    };
    managed_fields::on_update(None, &mut token_request, &writer);
    // The reference is always there, if only as null, so that nobody adds it: they set its fields.
    let reference = "/metadata/managedFields/0/fieldsV1/f:spec/f:boundObjectRef";
    if let Some(fields) = token_request.pointer_mut(reference).and_then(Value::as_object_mut) {
        fields.remove(".");
    }
    admit_given(call, Operation::Create, &mut token_request, options.dry_run).await?;
    service_account::issue(call, &mut token_request, options.dry_run).await?;
    let encoding = call.accepted.encoding;
    let mut response = respond::document(StatusCode::CREATED, &token_request, encoding, Some(ty));
    respond::warn(&mut response, &call.warnings);
    Ok(response)
}
