//! Claims that are kept elsewhere (OpenID Connect Core 1.0, section 5.6.2): the groups of a token that only
//! says where they are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::HeaderValue;
use serde_json::{Map, Value};

use super::{Token, provider::Provider};
use crate::{
    authentication::{
        configuration::{Issuer, Jwt},
        jwt,
    },
    outbound::url::Url,
    registry::access::str_at,
};

/// How many issuers of such claims are remembered.
const MAX_ISSUERS: usize = 16;

/// Fetches the groups of tokens.
#[derive(Debug, Default)]
pub struct Distributed(Mutex<HashMap<String, Arc<Provider>>>);

impl Distributed {
    /// Adds the claim of the groups to the others, if it is kept elsewhere. `provider` is that of the token.
    pub async fn expand(
        &self,
        rules: &Jwt,
        provider: &Provider,
        claims: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let claim = rules.claim_mappings.groups.claim.as_str();
        if claim.is_empty() || claims.contains_key(claim) {
            return Ok(());
        }
        let Some(place) = place(claim, claims)? else { return Ok(()) };
        let fetched = self.fetch(rules, provider, claim, &place).await?;
        claims.insert(claim.to_owned(), fetched);
        Ok(())
    }

    async fn fetch(
        &self,
        rules: &Jwt,
        provider: &Provider,
        claim: &str,
        place: &Place,
    ) -> Result<Value, String> {
        let url = &place.url;
        let failed = |why: String| format!("while getting distributed claim {claim:?}: {why}");
        let target = Url::parse(url).map_err(|why| failed(why.to_string()))?;
        let response = provider.fetch(&target, place.authorization.clone()).await.map_err(failed)?;
        if !response.status().is_success() {
            let status = response.status();
            return Err(failed(format!("error while getting distributed claim JWT: {status}")));
        }
        let text = String::from_utf8_lossy(response.body());
        let issuer = jwt::issuer(&text).ok_or_else(|| {
            format!(
                "getting untrusted issuer from endpoint {url} failed for claim {claim:?}: malformed token"
            )
        })?;
        let verifier = self
            .provider(&issuer, &rules.issuer)
            .map_err(|why| format!("verifying untrusted issuer {issuer} failed: {why}"))?;
        let failed = |why: String| format!("verify distributed claim token: {why}");
        let token = Token::parse(&text).map_err(failed)?;
        token.check(rules, jiff::Timestamp::now()).map_err(failed)?;
        verifier.verify(&token).await.map_err(failed)?;
        token.claims.get(claim).cloned().ok_or_else(|| {
            format!("jwt returned by distributed claim endpoint {url:?} did not contain claim: {claim}")
        })
    }

    /// The issuer of a fetched token, which is trusted as that of the tokens themselves.
    fn provider(&self, url: &str, own: &Issuer) -> Result<Arc<Provider>, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = known.get(url) {
            return Ok(provider.clone());
        }
        let same = url == own.url;
        let issuer = Issuer {
            url: url.to_owned(),
            discovery_url: if same { own.discovery_url.clone() } else { String::new() },
            certificate_authority: own.certificate_authority.clone(),
            ..Issuer::default()
        };
        let provider = Arc::new(Provider::new(&issuer).map_err(|why| why.to_string())?);
        if known.len() >= MAX_ISSUERS {
            known.clear();
        }
        known.insert(url.to_owned(), provider.clone());
        Ok(provider)
    }
}

/// Where a claim is.
struct Place {
    url: String,
    authorization: Option<HeaderValue>,
}

/// Where the token says that a claim is; nowhere if it does not say so.
fn place(claim: &str, claims: &Map<String, Value>) -> Result<Option<Place>, String> {
    let Some(names) = claims.get("_claim_names") else { return Ok(None) };
    let names = names.as_object().ok_or("oidc: error parsing distributed claim names: not an object")?;
    let sources = claims.get("_claim_sources").ok_or("oidc: no claim sources")?;
    let sources = sources.as_object().ok_or("oidc: could not parse claim sources: not an object")?;
    let Some(source) = names.get(claim).and_then(Value::as_str) else { return Ok(None) };
    let endpoint = sources.get(source).ok_or_else(|| {
        format!("id token _claim_names contained a source {source} missing in _claims_sources")
    })?;
    let (url, token) = (str_at(endpoint, "/endpoint"), str_at(endpoint, "/access_token"));
    if url.is_empty() {
        // The claim is in the token itself, as a token; nobody reads those.
        return Ok(None);
    }
    let authorization = match token {
        "" => None,
        token => Some(HeaderValue::from_str(&format!("Bearer {token}")).map_err(|why| why.to_string())?),
    };
    Ok(Some(Place { url: url.to_owned(), authorization }))
}
