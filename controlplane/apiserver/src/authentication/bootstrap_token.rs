//! Bootstrap tokens: secrets in `kube-system` by which new nodes come into the cluster
//! (<https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>).

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;

use crate::{metadata, registry::access::str_at, server::Server, user::User};

/// The group of everyone who shows such a token; extra groups must lie below it.
const GROUP: &str = "system:bootstrappers";
const MAX_GROUP_SUFFIX: usize = 256;

/// The user of a token, if it is one and good.
pub async fn verify(server: &Server, token: &str) -> Result<Option<User>, String> {
    let Some((id, secret)) = parse(token) else { return Ok(None) };
    let name = format!("bootstrap-token-{id}");
    let found = server.find("", "secrets", "kube-system", &name).await.map_err(|why| why.to_string())?;
    let Some(found) = found else { return Ok(None) };
    match user(&found, id, secret, Timestamp::now()) {
        Ok(user) => Ok(Some(user)),
        Err(why) => {
            tracing::debug!(secret = name, why, "a bootstrap token matches a secret which is not valid");
            Ok(None)
        }
    }
}

/// Id and secret of a token of the form `abcdef.0123456789abcdef`.
fn parse(token: &str) -> Option<(&str, &str)> {
    let plain = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    token.split_once('.').filter(|(id, secret)| plain(id, 6) && plain(secret, 16))
}

/// Whom a secret vouches for, or why for nobody.
fn user(secret: &Value, id: &str, token_secret: &str, now: Timestamp) -> Result<User, &'static str> {
    let data = |key: &str| {
        let encoded = secret.get("data").and_then(|data| data.get(key)).and_then(Value::as_str);
        let decoded = encoded.and_then(|text| STANDARD.decode(text).ok());
        decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    };
    if metadata::is_terminating(secret) {
        return Err("is deleted and awaiting removal");
    }
    if str_at(secret, "/type") != "bootstrap.kubernetes.io/token" {
        return Err("has invalid type");
    }
    if !equal(&data("token-secret"), token_secret) {
        return Err("has invalid value for key token-secret");
    }
    if data("token-id") != id {
        return Err("has invalid value for key token-id");
    }
    let expiration = data("expiration");
    // What cannot be read counts as expired.
    if !expiration.is_empty() && !expiration.parse::<Timestamp>().is_ok_and(|at| at > now) {
        return Err("has expired");
    }
    if data("usage-bootstrap-authentication") != "true" {
        return Err("is not marked usage-bootstrap-authentication=true");
    }
    let mut groups = vec![GROUP.to_owned()];
    let extra = data("auth-extra-groups");
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        if !is_group(group) {
            return Err("has invalid value for key auth-extra-groups");
        }
        groups.push(group.into());
    }
    groups.sort();
    groups.dedup();
    Ok(User { name: format!("system:bootstrap:{id}"), groups, ..User::default() })
}

/// Compares in a time that does not tell how much of it is right.
fn equal(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// `system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]`
fn is_group(group: &str) -> bool {
    let Some(suffix) = group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    suffix.len() <= MAX_GROUP_SUFFIX
        && suffix.bytes().all(|byte| plain(byte) || matches!(byte, b':' | b'-'))
        && suffix.bytes().last().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(change: &[(&str, &str)]) -> Value {
        let mut data = json!({
            "token-id": STANDARD.encode("abcdef"),
            "token-secret": STANDARD.encode("0123456789abcdef"),
            "usage-bootstrap-authentication": STANDARD.encode("true"),
        });
        for (key, value) in change {
            data[*key] = STANDARD.encode(value).into();
        }
        json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": data})
    }

    fn groups(change: &[(&str, &str)]) -> Result<Vec<String>, &'static str> {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        user(&secret(change), "abcdef", "0123456789abcdef", now).map(|user| user.groups)
    }

    #[test]
    fn a_token_is_six_and_sixteen_small_letters_and_digits() {
        assert_eq!(parse("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for bad in ["abcdef", "abcde.0123456789abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde!"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_vouches_until_it_expires() {
        assert_eq!(groups(&[]), Ok(vec!["system:bootstrappers".into()]));
        assert!(groups(&[("expiration", "2026-01-01T00:00:01Z")]).is_ok());
        for expiration in ["2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", "soon"] {
            assert_eq!(groups(&[("expiration", expiration)]), Err("has expired"));
        }
    }

    #[test]
    fn a_secret_vouches_only_for_its_own_token_and_if_meant_to() {
        assert!(groups(&[("token-secret", "0123456789abcdee")]).is_err());
        assert!(groups(&[("token-id", "abcdee")]).is_err());
        assert!(groups(&[("usage-bootstrap-authentication", "false")]).is_err());
        let mut other = secret(&[]);
        other["type"] = "Opaque".into();
        assert!(user(&other, "abcdef", "0123456789abcdef", Timestamp::now()).is_err());
    }

    #[test]
    fn extra_groups_lie_below_that_of_all_bootstrappers() {
        let extra = groups(&[("auth-extra-groups", "system:bootstrappers:b,system:bootstrappers:a:x")]);
        let all = ["system:bootstrappers", "system:bootstrappers:a:x", "system:bootstrappers:b"];
        assert_eq!(extra, Ok(all.map(Into::into).to_vec()));
        for bad in
            ["system:masters", "system:bootstrappers:", "system:bootstrappers:a-", "system:bootstrappers:A"]
        {
            assert!(groups(&[("auth-extra-groups", bad)]).is_err(), "{bad}");
        }
    }
}
