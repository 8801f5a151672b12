//! Who is it? Client certificates and bearer tokens of several sorts; whoever shows neither is anonymous.
//!
//! Tokens are tried in the order of kube-apiserver, what is known here before what others must be asked
//! about: static tokens, service accounts, bootstrap tokens, issuers of JSON web tokens, the webhook.

pub mod bootstrap_token;
pub mod configuration;
pub mod jwt;
pub mod oidc;
pub mod options;
pub mod service_account;
pub mod static_tokens;
#[cfg(test)]
mod tests;
pub mod webhook;
mod websocket;
pub mod x509;

use std::sync::Arc;

use http::{HeaderMap, header};
use serde_json::{Value, json};

pub use self::options::Options;
use crate::{body::Request, server::Server, status::ApiError, user::User};

/// What authentication goes by.
#[derive(Debug, Default)]
pub struct Authenticators {
    /// `--token-auth-file`
    pub static_tokens: static_tokens::StaticTokens,
    /// The keys of service-account tokens.
    pub service_accounts: service_account::Issuer,
    /// `--enable-bootstrap-token-auth`
    pub bootstrap_tokens: bool,
    /// The issuers of JSON web tokens: `--authentication-config` or `--oidc-*`
    pub issuers: Option<oidc::Issuers>,
    /// `--authentication-token-webhook-config-file`
    pub webhook: Option<webhook::Webhook>,
    /// Which requests without credentials pass as `system:anonymous`.
    pub anonymous: Anonymous,
}

/// Which requests without credentials pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// None.
    #[default]
    Nowhere,
    /// All.
    Everywhere,
    /// Those for these paths.
    At(Vec<String>),
}

impl Anonymous {
    fn passes(&self, path: &str) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Everywhere => true,
            Self::At(paths) => paths.iter().any(|known| known == path),
        }
    }
}

/// The user of a client certificate that TLS has verified; a request extension.
#[derive(Clone, Debug)]
pub struct CertificateUser(pub Arc<User>);

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: User,
    /// The audiences that the token is good for, among those asked for.
    pub audiences: Vec<String>,
}

/// The user that a request comes from.
pub async fn authenticate(server: &Server, request: &mut Request) -> Result<Arc<User>, ApiError> {
    let authenticators = &server.parts.authenticators;
    let certificate = request.extensions_mut().remove();
    let token = match certificate {
        Some(CertificateUser(user)) => {
            request.headers_mut().remove(header::AUTHORIZATION);
            return Ok(user);
        }
        None => match bearer(request.headers()) {
            Some(token) => Some(token.to_owned()),
            None => websocket::take_token(request.headers_mut()).map_err(|why| refused(&why))?,
        },
    };
    if let Some(token) = token {
        let own = std::slice::from_ref(&authenticators.service_accounts.url);
        let identity = identify(server, &token, own).await.map_err(|why| refused(&why))?;
        request.headers_mut().remove(header::AUTHORIZATION);
        return Ok(Arc::new(identity.user));
    }
    let anonymous = authenticators.anonymous.passes(request.uri().path());
    if anonymous { Ok(Arc::new(User::anonymous())) } else { Err(ApiError::unauthorized()) }
}

fn refused(why: &str) -> ApiError {
    tracing::debug!(error = why, "unable to authenticate the request");
    ApiError::unauthorized()
}

/// What is said of a token that stands where nobody looks for it.
const MISPLACED: &str =
    "the provided Authorization header contains extra space before the bearer token, and is ignored";

/// What is to be said of the headers of a request, whatever comes of it.
pub fn warning(request: &Request) -> Option<&'static str> {
    if request.extensions().get::<CertificateUser>().is_some() {
        return None;
    }
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let mut parts = value.trim().splitn(3, ' ');
    let is_bearer = parts.next()?.eq_ignore_ascii_case("bearer");
    (is_bearer && parts.next()?.is_empty() && parts.next().is_some()).then_some(MISPLACED)
}

/// The token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let mut parts = value.trim().split(' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

const INVALID: &str = "invalid bearer token";

/// Whose token it is that is to be good for one of these audiences, or everything that is wrong with it.
async fn identify(server: &Server, token: &str, audiences: &[String]) -> Result<Identity, String> {
    let authenticators = &server.parts.authenticators;
    // What knows nothing of audiences is good for this server.
    let own = &authenticators.service_accounts.url;
    let is_own = audiences.contains(own);
    let known = |user: User| Identity { user: user.authenticated(), audiences: vec![own.clone()] };
    if is_own && let Some(user) = authenticators.static_tokens.find(token) {
        return Ok(known(user));
    }
    let mut failures = Vec::new();
    match service_account::verify(server, token, audiences).await {
        Ok(Some(identity)) => return Ok(identity),
        Ok(None) => {}
        Err(why) => failures.push(why),
    }
    if is_own && authenticators.bootstrap_tokens {
        match bootstrap_token::verify(server, token).await {
            Ok(Some(user)) => return Ok(known(user)),
            Ok(None) => {}
            Err(why) => failures.push(why),
        }
    }
    if is_own && let Some(issuers) = &authenticators.issuers {
        match issuers.verify(token).await {
            Ok(Some(user)) => return Ok(known(user)),
            Ok(None) => {}
            Err(why) => failures.push(why),
        }
    }
    if let Some(webhook) = &authenticators.webhook {
        match webhook.verify(token, audiences, std::slice::from_ref(own)).await {
            Ok(Some(identity)) => return Ok(identity),
            Ok(None) => {}
            Err(why) => failures.push(why),
        }
    }
    Err(aggregate(failures).unwrap_or_else(|| INVALID.into()))
}

/// Several failures as Go's `Aggregate` shows them, each once.
fn aggregate(failures: Vec<String>) -> Option<String> {
    let mut seen: Vec<String> = Vec::with_capacity(failures.len());
    for failure in failures {
        if !seen.contains(&failure) {
            seen.push(failure);
        }
    }
    if seen.len() > 1 { Some(format!("[{}]", seen.join(", "))) } else { seen.pop() }
}

/// A list as Go's `%q` shows it.
fn quoted_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

/// Answers a TokenReview.
pub async fn review_token(server: &Server, review: &mut Value) -> Result<(), ApiError> {
    let token = review.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut audiences: Vec<String> = jwt::texts(review.pointer("/spec/audiences")).map(Into::into).collect();
    if audiences.is_empty() {
        audiences.push(server.parts.authenticators.service_accounts.url.clone());
    }
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    review["status"] = match identify(server, &token, &audiences).await {
        Ok(identity) => {
            json!({"authenticated": true, "user": identity.user.to_value(), "audiences": identity.audiences})
        }
        // The server's own way in for itself has refused it first.
        Err(why) => json!({"user": {}, "error": aggregate(vec![INVALID.into(), why])}),
    };
    Ok(())
}
