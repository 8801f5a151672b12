//! What JSON web tokens say before anybody has verified them, and how their claims are read.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
}

/// The `iss` of a token in compact form; nobody has vouched for it. `None` if it is no such token.
pub fn issuer(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Claims>(&payload).ok().map(|claims| claims.iss)
}

/// The texts of a claim that is one text or a list of them, as `aud` is.
pub fn texts(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let one = claim.and_then(Value::as_str);
    let several = claim.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(several)
}
