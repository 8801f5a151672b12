//! The keys of an issuer: where its discovery document says that they are, fetched when a token needs them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use jsonwebtoken::{
    Algorithm, DecodingKey, crypto,
    jwk::{Jwk, PublicKeyUse},
};
use rustls::ClientConfig;
use serde_json::Value;
use tokio::sync::Mutex;

use super::{NOT_READY, Token};
use crate::{
    authentication::configuration::Issuer,
    outbound::{exchange, trust, url::Url},
    registry::access::{list_at, str_at},
};

/// How long an issuer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long an issuer is left alone that could not be discovered.
const RETRY: Duration = Duration::from_secs(10);

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// An issuer, as far as it is known.
pub struct Provider {
    issuer: String,
    discovery: String,
    tls: Arc<ClientConfig>,
    state: Mutex<State>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    keys_at: Option<Url>,
    failed: Option<Instant>,
    keys: Arc<[Key]>,
    /// How often keys were fetched.
    fetches: u64,
}

struct Key {
    id: String,
    key: DecodingKey,
}

impl Provider {
    pub fn new(issuer: &Issuer) -> Result<Self, trust::Error> {
        let well_known = || format!("{}{WELL_KNOWN}", issuer.url.strip_suffix('/').unwrap_or(&issuer.url));
        let given = Some(issuer.discovery_url.clone()).filter(|url| !url.is_empty());
        Ok(Self {
            issuer: issuer.url.clone(),
            discovery: given.unwrap_or_else(well_known),
            tls: Arc::new(trust::config(issuer.certificate_authority.as_bytes(), None)?),
            state: Mutex::default(),
        })
    }

    /// Checks a token's signature by the keys that are known and, if none fits, by those that the issuer
    /// has now.
    pub async fn verify(&self, token: &Token<'_>) -> Result<(), String> {
        let (keys, fetches) = self.known().await?;
        if is_signed(token, &keys) {
            return Ok(());
        }
        let keys = self.fetched_after(fetches).await;
        let keys = keys.map_err(|why| failed(&format!("fetching keys {why}")))?;
        if is_signed(token, &keys) { Ok(()) } else { Err(failed("failed to verify id token signature")) }
    }

    /// The keys that are known, of an issuer that is.
    async fn known(&self) -> Result<(Arc<[Key]>, u64), String> {
        let mut state = self.state.lock().await;
        if state.keys_at.is_none() && state.failed.is_none_or(|at| at.elapsed() >= RETRY) {
            match self.discover().await {
                Ok(url) => state.keys_at = Some(url),
                Err(why) => {
                    state.failed = Some(Instant::now());
                    tracing::error!(
                        issuer = self.issuer,
                        error = why,
                        "an issuer of tokens cannot be discovered"
                    );
                }
            }
        }
        match &state.keys_at {
            Some(_) => Ok((state.keys.clone(), state.fetches)),
            None => Err(NOT_READY.into()),
        }
    }

    /// Keys that are newer than those of the fetch of this number; who waits for the same is served by one.
    async fn fetched_after(&self, fetches: u64) -> Result<Arc<[Key]>, String> {
        let mut state = self.state.lock().await;
        if let Some(url) = state.keys_at.clone()
            && state.fetches == fetches
        {
            let document = self.get(&url).await?;
            state.keys = list_at(&document, "/keys").iter().filter_map(key).collect();
            state.fetches += 1;
        }
        Ok(state.keys.clone())
    }

    async fn discover(&self) -> Result<Url, String> {
        let url = Url::parse(&self.discovery).map_err(|why| why.to_string())?;
        let document = self.get(&url).await?;
        let found = str_at(&document, "/issuer");
        if found != self.issuer {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got {found:?}",
                self.issuer
            ));
        }
        Url::parse(str_at(&document, "/jwks_uri")).map_err(|why| why.to_string())
    }

    /// Gets something of the issuer, or of somebody whom the same authorities vouch for.
    pub async fn fetch(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Bytes>, String> {
        let failed = |why: String| format!("Get {:?}: {why}", url.to_string());
        let response = tokio::time::timeout(TIMEOUT, exchange::get(url, self.tls.clone(), authorization));
        let response = response.await.map_err(|_| failed("context deadline exceeded".into()))?;
        response.map_err(failed)
    }

    async fn get(&self, url: &Url) -> Result<Value, String> {
        let response = self.fetch(url, None).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("{}: {}", response.status(), String::from_utf8_lossy(response.body())));
        }
        serde_json::from_slice(response.body()).map_err(|why| format!("oidc: failed to decode keys: {why}"))
    }
}

fn failed(why: &str) -> String {
    format!("failed to verify signature: {why}")
}

/// A key that can be used; others are no concern of this server.
fn key(document: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(document.clone()).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id.unwrap_or_default(), key })
}

fn is_signed(token: &Token<'_>, keys: &[Key]) -> bool {
    let Ok(algorithm) = token.algorithm.parse::<Algorithm>() else { return false };
    let fits =
        |key: &&Key| (token.key.is_empty() || key.id == token.key) && algorithm.family() == key.key.family();
    let verified = |key: &Key| {
        crypto::verify(token.signature, token.message.as_bytes(), &key.key, algorithm).unwrap_or(false)
    };
    keys.iter().filter(fits).any(verified)
}
