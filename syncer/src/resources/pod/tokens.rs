//! Service account tokens of pods.
//!
//! The host's kubelet would mint tokens of the host. Instead each token a pod projects is requested from the
//! virtual API server, bound to the virtual pod, and written into one Secret a pod, which the pod projects in
//! place of its token source. The kubelet brings a changed Secret into the running pod within about a minute and
//! a half, so tokens are replaced well before they expire: at 80 % of their life, five minutes before its end at
//! the latest.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, PodSpec, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::translate::token_projection;
use crate::labels::Translator;

/// Host annotation of a token Secret: when its tokens are to be replaced.
pub(crate) const REFRESH_AT: &str = "vkube.dev/refresh-at";

/// The annotation value [`crate::labels::OBJECT_KIND`] of token Secrets.
pub(crate) const TOKEN_KIND: &str = "PodToken";

/// No token lives longer, whatever the pod asks for: a stolen one is soon worthless.
const LONGEST: i64 = 3600;
/// What the API server takes as the least.
const SHORTEST: i64 = 600;
/// How long before its end a token is replaced at the latest.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// One token a pod wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenClaim {
    /// Its key in the token Secret.
    pub key: String,
    /// Its audience; `None` = the API server's own.
    pub audience: Option<String>,
    /// Its life in seconds.
    pub seconds: i64,
}

/// The name of the Secret with a pod's tokens.
pub(crate) fn secret_name(translator: &Translator, namespace: &str, pod: &str) -> String {
    translator.names.derived(namespace, pod, "token")
}

/// The tokens a pod projects.
pub(crate) fn claims(pod: &Pod) -> Vec<TokenClaim> {
    let mut claims = Vec::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for (index, source) in sources.enumerate() {
            if let Some(token) = &source.service_account_token {
                claims.push(TokenClaim {
                    key: key(&volume.name, index),
                    audience: token.audience.clone().filter(|audience| !audience.is_empty()),
                    seconds: token.expiration_seconds.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST),
                });
            }
        }
    }
    claims
}

/// Replaces the token sources of a pod by projections of its token Secret.
pub(super) fn project(translator: &Translator, pod: &Pod, spec: &mut PodSpec) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let secret = secret_name(translator, namespace, pod.metadata.name.as_deref().unwrap_or_default());
    for volume in spec.volumes.iter_mut().flatten() {
        let sources =
            volume.projected.iter_mut().flat_map(|projected| projected.sources.iter_mut().flatten());
        for (index, source) in sources.enumerate() {
            if let Some(token) = source.service_account_token.take() {
                *source = token_projection(&secret, key(&volume.name, index), token.path);
            }
        }
    }
}

/// The request for one token of a pod.
pub(crate) fn request(pod: &Pod, claim: &TokenClaim) -> TokenRequest {
    TokenRequest {
        metadata: ObjectMeta::default(),
        spec: Some(TokenRequestSpec {
            audiences: Some(claim.audience.iter().cloned().collect()),
            expiration_seconds: Some(claim.seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        status: None,
    }
}

/// When a token issued at `now` that ends at `expiry` is to be replaced.
pub(crate) fn refresh_at(now: Timestamp, expiry: Timestamp) -> Timestamp {
    let life = expiry.duration_since(now);
    let margin = (life / 5).max(MARGIN);
    expiry - margin.min(life / 2)
}

/// The Secret that holds a pod's `tokens`. Once the host pod exists (`host`) it owns the Secret, so that both go
/// together.
pub(crate) fn secret(
    translator: &Translator,
    pod: &Pod,
    tokens: BTreeMap<String, ByteString>,
    refresh_at: Timestamp,
    host: Option<&Pod>,
) -> Secret {
    let mut metadata = translator.metadata(TOKEN_KIND, &pod.metadata);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    metadata.name =
        Some(secret_name(translator, namespace, pod.metadata.name.as_deref().unwrap_or_default()));
    metadata.annotations.get_or_insert_default().retain(|key, _| key.starts_with("vkube.dev/"));
    metadata.annotations.get_or_insert_default().insert(REFRESH_AT.into(), refresh_at.to_string());
    metadata.labels = Some(translator.scope(namespace));
    if let Some(owner) = host.and_then(owner) {
        metadata.owner_references = Some(vec![owner]);
    }
    Secret { metadata, data: Some(tokens), type_: Some("Opaque".into()), ..Secret::default() }
}

fn owner(host: &Pod) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: host.metadata.name.clone()?,
        uid: host.metadata.uid.clone()?,
        ..OwnerReference::default()
    })
}

/// Volume names are DNS labels, so with the index a key is unique and valid.
fn key(volume: &str, index: usize) -> String {
    format!("{volume}.{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_replaced_well_before_they_expire() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let hour = refresh_at(now, now + SignedDuration::from_hours(1));
        assert_eq!(hour, now + SignedDuration::from_mins(48));
        let short = refresh_at(now, now + SignedDuration::from_mins(10));
        assert_eq!(short, now + SignedDuration::from_mins(5));
    }
}
