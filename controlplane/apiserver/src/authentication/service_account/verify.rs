//! Verifying tokens of service accounts, in the words of kube-apiserver.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde_json::Value;

use crate::{
    authentication::{Identity, jwt, quoted_list},
    metadata,
    registry::access::str_at,
    server::Server,
    user::{CREDENTIAL_ID, User},
};

const INVALIDATED: &str = "service account token has been invalidated";

/// How long after its deletion an object may still vouch for a token.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// Whose token it is: nobody's if another issuer made it, an error if it is a bad one of this server.
pub async fn verify(server: &Server, token: &str, audiences: &[String]) -> Result<Option<Identity>, String> {
    let issuer = &server.parts.authenticators.service_accounts;
    if jwt::issuer(token).as_deref() != Some(issuer.url.as_str()) {
        return Ok(None);
    }
    let Ok(header) = jsonwebtoken::decode_header(token) else { return Ok(None) };
    let keys = issuer.keys(server.store()).await.map_err(|why| why.to_string())?;
    if header.kid.as_ref().is_some_and(|id| *id != keys.id) {
        return Err("invalid signature, no keys found".into());
    }
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_aud = false;
    validation.validate_nbf = true;
    let claims = jsonwebtoken::decode::<Value>(token, &keys.decoding, &validation)
        .map_err(|why| match why.kind() {
            ErrorKind::ExpiredSignature => "service account token has expired",
            ErrorKind::ImmatureSignature => "service account token is not valid yet",
            _ => "go-jose/go-jose: error in cryptographic primitive",
        })?
        .claims;
    let own: Vec<String> = jwt::texts(claims.get("aud")).map(Into::into).collect();
    let good: Vec<String> = own.iter().filter(|name| audiences.contains(name)).cloned().collect();
    if good.is_empty() {
        let (own, wanted) = (quoted_list(&own), quoted_list(audiences));
        return Err(format!("token audiences {own} is invalid for the target audiences {wanted}"));
    }
    let user = user(server, &claims).await?;
    Ok(Some(Identity { user, audiences: good }))
}

/// An object that a token names.
struct Reference<'c> {
    name: &'c str,
    uid: &'c str,
}

fn reference<'c>(claims: &'c Value, kind: &str) -> Option<Reference<'c>> {
    let part = claims.get("kubernetes.io")?.get(kind)?;
    Some(Reference { name: str_at(part, "/name"), uid: str_at(part, "/uid") })
}

/// The user of verified claims, if everything still exists that the token is bound to.
async fn user(server: &Server, claims: &Value) -> Result<User, String> {
    let namespace = str_at(claims, "/kubernetes.io/namespace");
    let account = reference(claims, "serviceaccount").unwrap_or(Reference { name: "", uid: "" });
    account_lives(server, namespace, &account).await?;
    let mut user = User::service_account(namespace, account.name, account.uid);
    if let Some(secret) = reference(claims, "secret") {
        lives(server, "secret", namespace, &secret).await?;
    }
    let (pod, node) = (reference(claims, "pod"), reference(claims, "node"));
    if let Some(pod) = &pod {
        lives(server, "pod", namespace, pod).await?;
        note(&mut user, "pod", pod);
    }
    if let Some(node) = &node {
        // A pod outlives its node for a while, and so does its token.
        if pod.is_none() {
            lives(server, "node", "", node).await?;
        }
        note(&mut user, "node", node);
    }
    let id = str_at(claims, "/jti");
    if !id.is_empty() {
        user.extra.insert(CREDENTIAL_ID.into(), vec![format!("JTI={id}")]);
    }
    Ok(user)
}

fn note(user: &mut User, kind: &str, object: &Reference<'_>) {
    for (field, value) in [("name", object.name), ("uid", object.uid)] {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{kind}-{field}"), vec![value.into()]);
        }
    }
}

async fn account_lives(server: &Server, namespace: &str, account: &Reference<'_>) -> Result<(), String> {
    let name = account.name;
    let found = server.find("", "serviceaccounts", namespace, name).await.map_err(|why| why.to_string())?;
    let found = found.ok_or_else(|| format!("serviceaccounts {name:?} not found"))?;
    if is_gone(&found) {
        return Err(format!("service account {namespace}/{name} has been deleted"));
    }
    match metadata::text(&found, "uid") {
        uid if uid == account.uid => Ok(()),
        uid => Err(format!("service account UID ({uid}) does not match claim ({})", account.uid)),
    }
}

/// Whether the very object still exists that a token is bound to.
async fn lives(server: &Server, kind: &str, namespace: &str, object: &Reference<'_>) -> Result<(), String> {
    let found = server.find("", &format!("{kind}s"), namespace, object.name).await;
    let found = found.map_err(|why| why.to_string())?;
    let found = found.filter(|found| !is_gone(found)).ok_or(INVALIDATED)?;
    match metadata::text(&found, "uid") {
        uid if uid == object.uid => Ok(()),
        uid => Err(format!(
            "{kind} UID ({uid}) does not match service account {kind} ref claim ({})",
            object.uid
        )),
    }
}

/// An object that should have been gone for longer than the leeway counts as gone.
fn is_gone(object: &Value) -> bool {
    let Ok(at) = metadata::text(object, "deletionTimestamp").parse::<Timestamp>() else { return false };
    at + LEEWAY < Timestamp::now()
}
