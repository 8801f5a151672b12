//! Tokens of issuers that speak OpenID Connect
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens>).
//!
//! Nothing is asked of an issuer before the first token that says to be from it.

pub mod claims;
mod distributed;
pub mod flags;
pub mod issuers;
mod provider;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use self::{claims::Rules, distributed::Distributed, provider::Provider};
pub use self::{flags::Flags, issuers::Issuers};
use super::{configuration::Jwt, jwt, quoted_list};
use crate::{outbound::trust, user::User};

/// With what tokens may be signed, sorted.
pub const ALGORITHMS: &[&str] =
    &["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// What is said as long as an issuer has not been discovered.
const NOT_READY: &str = "oidc: authenticator not initialized";

/// How many seconds the clock of an issuer may be ahead.
const LEEWAY: i64 = 60;

/// Authenticates by the tokens of one issuer.
#[derive(Debug)]
pub struct Authenticator {
    rules: Rules,
    provider: Provider,
    distributed: Distributed,
}

impl Authenticator {
    /// An authenticator for a configuration that is valid.
    pub fn new(jwt: Jwt) -> Result<Self, trust::Error> {
        let provider = Provider::new(&jwt.issuer)?;
        Ok(Self { rules: Rules::new(jwt), provider, distributed: Distributed::default() })
    }

    /// The issuer's URL.
    pub fn issuer(&self) -> &str {
        &self.rules.jwt.issuer.url
    }

    /// The user of a token of this issuer, or why there is none.
    pub async fn verify(&self, token: &str) -> Result<User, String> {
        let claims = self.claims(token).await?;
        self.rules.user(&claims)
    }

    async fn claims(&self, token: &str) -> Result<Value, String> {
        let failed = |why: String| format!("oidc: verify token: {why}");
        let mut token = Token::parse(token).map_err(failed)?;
        token.check(&self.rules.jwt, Timestamp::now()).map_err(failed)?;
        self.provider.verify(&token).await.map_err(|why| match why.as_str() {
            NOT_READY => why,
            _ => failed(why),
        })?;
        self.distributed
            .expand(&self.rules.jwt, &self.provider, &mut token.claims)
            .await
            .map_err(|why| format!("oidc: could not expand distributed claims: {why}"))?;
        Ok(Value::Object(token.claims))
    }
}

/// A token that nobody has verified yet.
struct Token<'t> {
    /// What is signed.
    message: &'t str,
    signature: &'t str,
    algorithm: String,
    key: String,
    claims: Map<String, Value>,
}

impl<'t> Token<'t> {
    fn parse(token: &'t str) -> Result<Self, String> {
        let malformed = || "oidc: malformed jwt".to_owned();
        let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = message.split_once('.').ok_or_else(malformed)?;
        let part = |encoded: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|why| format!("{}: {why}", malformed()))?;
            serde_json::from_slice(&bytes).map_err(|why| format!("{}: {why}", malformed()))
        };
        let (header, claims): (Map<String, Value>, _) = (part(header)?, part(payload)?);
        let text = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Value::Object(claims) = Value::Object(claims) else { return Err(malformed()) };
        Ok(Self { message, signature, algorithm: text("alg"), key: text("kid"), claims })
    }

    /// What can be wrong with a token even if its signature is right.
    fn check(&self, jwt: &Jwt, now: Timestamp) -> Result<(), String> {
        let audiences: Vec<String> = jwt::texts(self.claims.get("aud")).map(Into::into).collect();
        let wanted = &jwt.issuer.audiences;
        if !audiences.iter().any(|audience| wanted.contains(audience)) {
            let got = quoted_list(&audiences);
            return Err(match wanted.as_slice() {
                [only] => format!("oidc: expected audience {only:?} got {got}"),
                _ => {
                    let mut wanted = wanted.clone();
                    wanted.sort();
                    format!("oidc: expected audience in {} got {got}", quoted_list(&wanted))
                }
            });
        }
        let seconds =
            |name: &str| self.claims.get(name).and_then(Value::as_f64).map(|seconds| seconds as i64);
        let expiry = seconds("exp").unwrap_or_default();
        if expiry < now.as_second() {
            return Err(format!("oidc: token is expired (Token Expiry: {})", shown(expiry)));
        }
        if let Some(not_before) = seconds("nbf")
            && now.as_second() + LEEWAY < not_before
        {
            let (now, not_before) = (shown(now.as_second()), shown(not_before));
            return Err(format!("oidc: current time {now} before the nbf (not before) time: {not_before}"));
        }
        let supported: Vec<String> = match &jwt.algorithms {
            Some(algorithms) => algorithms.clone(),
            None => ALGORITHMS.iter().map(|name| (*name).to_owned()).collect(),
        };
        if supported.contains(&self.algorithm) {
            return Ok(());
        }
        let (supported, got) = (quoted_list(&supported), &self.algorithm);
        Err(format!("oidc: id token signed with unsupported algorithm, expected {supported} got {got:?}"))
    }
}

/// A time as Go prints it.
fn shown(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}
