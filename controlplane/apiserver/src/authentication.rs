//! Who is it? Client certificates, static tokens, service-account tokens; whoever shows none is anonymous.

pub mod service_account;
pub mod static_tokens;
pub mod x509;

use std::sync::Arc;

use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::{
    body::Request,
    server::Server,
    status::ApiError,
    user::{AUTHENTICATED, User},
};

/// What authentication goes by.
#[derive(Debug, Default)]
pub struct Authenticators {
    /// `--token-auth-file`
    pub static_tokens: static_tokens::StaticTokens,
    /// The keys of service-account tokens.
    pub service_accounts: service_account::Issuer,
    /// Whether requests without credentials pass as `system:anonymous`.
    pub anonymous: bool,
}

/// The user of a client certificate that TLS has verified; a request extension.
#[derive(Clone, Debug)]
pub struct CertificateUser(pub Arc<User>);

/// The user that a request comes from.
pub async fn authenticate(server: &Server, request: &mut Request) -> Result<Arc<User>, ApiError> {
    let authenticators = &server.parts.authenticators;
    if let Some(CertificateUser(user)) = request.extensions_mut().remove() {
        return Ok(user);
    }
    if let Some(token) = bearer(request.headers()) {
        let user = identify(server, token, &[]).await?.map(|(user, _)| user);
        request.headers_mut().remove(header::AUTHORIZATION);
        return user.map(Arc::new).ok_or_else(ApiError::unauthorized);
    }
    if authenticators.anonymous { Ok(Arc::new(User::anonymous())) } else { Err(ApiError::unauthorized()) }
}

/// The token of `Authorization: Bearer …`, or of the WebSocket protocol that browsers must use instead.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

/// The user of a token, with the audiences that it is good for among those asked for.
async fn identify(
    server: &Server,
    token: &str,
    audiences: &[String],
) -> Result<Option<(User, Vec<String>)>, ApiError> {
    let authenticators = &server.parts.authenticators;
    if let Some(mut user) = authenticators.static_tokens.find(token) {
        if !user.in_group(AUTHENTICATED) {
            user.groups.push(AUTHENTICATED.into());
        }
        return Ok(Some((user, audiences.to_vec())));
    }
    service_account::verify(server, token, audiences).await
}

/// Answers a TokenReview.
pub async fn review_token(server: &Server, review: &mut Value) -> Result<(), ApiError> {
    let token = review.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default().to_owned();
    let audiences: Vec<String> = review
        .pointer("/spec/audiences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(Into::into)
        .collect();
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    review["status"] = match identify(server, &token, &audiences).await? {
        Some((user, good_for)) => {
            let mut info = json!({"username": user.name, "groups": user.groups});
            if !user.uid.is_empty() {
                info["uid"] = user.uid.into();
            }
            if !user.extra.is_empty() {
                info["extra"] = json!(user.extra);
            }
            let mut status = json!({"authenticated": true, "user": info});
            if !good_for.is_empty() {
                status["audiences"] = json!(good_for);
            }
            status
        }
        None => json!({"user": {}, "error": "[invalid bearer token, token lookup failed]"}),
    };
    Ok(())
}
