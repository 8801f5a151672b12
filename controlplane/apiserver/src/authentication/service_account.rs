//! Tokens of service accounts: issuing and verifying bound tokens (RS256 JWTs, KEP-1205), and the
//! documents by which others can verify them.

mod verify;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rsa::{
    RsaPrivateKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
    traits::PublicKeyParts,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use vkube_store::{Change, Document, Expect, Store, Write};

use crate::{
    body::Response,
    field::{Errors, Path},
    handlers::call::Call,
    metadata,
    negotiation::ranges,
    respond,
    server::Server,
    status::{ApiError, GroupResource},
};

pub use self::verify::verify;

/// Where the signing key is kept; outside of what the API can reach.
const KEY: &str = "/vkube/service-account-key";
const KEY_BITS: usize = 2048;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;

/// Issues and verifies tokens.
pub struct Issuer {
    /// `iss`, and the audience of tokens that name none.
    pub url: String,
    keys: OnceCell<Keys>,
}

struct Keys {
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    modulus: String,
    exponent: String,
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new("https://kubernetes.default.svc.cluster.local")
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Issuer {
    /// An issuer with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), keys: OnceCell::new() }
    }

    /// Makes the signing key ready: the stored one, or on the first start a new one. Making it takes a
    /// good part of a second of CPU, so servers do this while they already answer.
    pub async fn prepare(&self, store: &dyn Store) -> Result<(), ApiError> {
        self.keys(store).await.map(|_| ())
    }

    async fn keys(&self, store: &dyn Store) -> Result<&Keys, ApiError> {
        self.keys.get_or_try_init(|| load_or_make(store)).await
    }
}

async fn load_or_make(store: &dyn Store) -> Result<Keys, ApiError> {
    if let Some(entry) = store.get(KEY, None).await? {
        return keys_of(&String::from_utf8_lossy(&entry.value));
    }
    let pem = tokio::task::spawn_blocking(|| {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS).map_err(ApiError::internal)?;
        key.to_pkcs8_pem(LineEnding::LF).map(|pem| pem.to_string()).map_err(ApiError::internal)
    })
    .await
    .map_err(ApiError::internal)??;
    let document = Document { bytes: pem.clone().into(), revision_at: None, index: bytes::Bytes::new() };
    let write =
        Write { key: KEY.into(), expect: Expect::Absent, change: Change::Put { document, ttl: None } };
    match store.commit(vec![write]).await {
        Ok(_) => keys_of(&pem),
        // Another replica was faster: its key is the key.
        Err(vkube_store::Error::Conflict { current: Some(entry), .. }) => {
            keys_of(&String::from_utf8_lossy(&entry.value))
        }
        Err(error) => Err(error.into()),
    }
}

fn keys_of(pem: &str) -> Result<Keys, ApiError> {
    let key = RsaPrivateKey::from_pkcs8_pem(pem).map_err(ApiError::internal)?;
    let modulus = URL_SAFE_NO_PAD.encode(key.n().to_bytes_be());
    let exponent = URL_SAFE_NO_PAD.encode(key.e().to_bytes_be());
    let id = URL_SAFE_NO_PAD.encode(Sha256::digest(key.n().to_bytes_be()));
    let decoding = DecodingKey::from_rsa_components(&modulus, &exponent).map_err(ApiError::internal)?;
    let encoding = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(ApiError::internal)?;
    Ok(Keys { id, encoding, decoding, modulus, exponent })
}

/// Issues the token that a TokenRequest asks for, into its status.
pub async fn issue(call: &Call, request: &mut Value, _dry_run: bool) -> Result<(), ApiError> {
    let name = call.info.name.as_str();
    let namespace = call.namespace();
    let mut errors = Errors::default();
    let meta = Path::new("metadata");
    let kind = GroupResource { group: "authentication.k8s.io", resource: "TokenRequest" };
    for (field, expected, why) in [
        ("name", name, "must match the service account name if specified"),
        ("namespace", namespace, "must match the service account namespace if specified"),
    ] {
        let given = metadata::text(request, field);
        if !given.is_empty() && given != expected {
            errors.invalid_str(&meta.child(field), given, why);
            return Err(ApiError::invalid(kind, name, &errors));
        }
    }
    let account = call.server.find("", "serviceaccounts", namespace, name).await?;
    let account = account.ok_or_else(|| call.not_found())?;
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
    let path = Path::new("spec");
    if seconds < MIN_SECONDS {
        errors.invalid(
            &path.child("expirationSeconds"),
            &seconds.into(),
            "may not specify a duration less than 10 minutes",
        );
    }
    if seconds > MAX_SECONDS {
        errors.invalid(
            &path.child("expirationSeconds"),
            &seconds.into(),
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid(kind, "", &errors));
    }

    let issuer = &call.server.parts.authenticators.service_accounts;
    let audiences = match request.pointer("/spec/audiences").and_then(Value::as_array) {
        Some(audiences) if !audiences.is_empty() => Value::Array(audiences.clone()),
        _ => json!([issuer.url]),
    };
    let mut private = json!({
        "namespace": namespace,
        "serviceaccount": {"name": name, "uid": metadata::text(&account, "uid")},
    });
    bind(call, request, &mut private).await?;

    let now = call.now.as_second();
    let id = uuid::Uuid::new_v4().to_string();
    crate::audit::annotate("authentication.kubernetes.io/issued-credential-id", || format!("JTI={id}"));
    let claims = json!({
        "aud": audiences,
        "exp": now + seconds,
        "iat": now,
        "nbf": now,
        "iss": issuer.url,
        "jti": id,
        "kubernetes.io": private,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
    });
    let keys = issuer.keys(call.server.store()).await?;
    let token_header = Header { typ: None, kid: Some(keys.id.clone()), ..Header::new(Algorithm::RS256) };
    let token = jsonwebtoken::encode(&token_header, &claims, &keys.encoding).map_err(ApiError::internal)?;

    metadata::set(request, "name", name);
    metadata::set(request, "namespace", namespace);
    metadata::set(request, "uid", metadata::text(&account, "uid"));
    metadata::set(request, "creationTimestamp", metadata::time(call.now));
    request["spec"]["audiences"] = audiences;
    let expires = call.now + jiff::SignedDuration::from_secs(seconds);
    request["status"] = json!({"token": token, "expirationTimestamp": metadata::time(expires)});
    Ok(())
}

/// Binds the token to the object that it shall not outlive.
async fn bind(call: &Call, request: &Value, private: &mut Value) -> Result<(), ApiError> {
    let Some(reference) = request.pointer("/spec/boundObjectRef").filter(|r| r.is_object()) else {
        return Ok(());
    };
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    let (plural, namespace) = match (text("apiVersion"), kind) {
        ("v1", "Pod") => ("pods", call.namespace()),
        ("v1", "Secret") => ("secrets", call.namespace()),
        ("v1", "Node") => ("nodes", ""),
        (version, kind) => {
            let kind = match version.rsplit_once('/') {
                Some((group, version)) => format!("{group}/{version}, Kind={kind}"),
                None => format!("/{version}, Kind={kind}"),
            };
            return Err(ApiError::bad_request(format!("cannot bind token to object of type {kind}")));
        }
    };
    if name.is_empty() {
        return Err(ApiError::bad_request("Name parameter required."));
    }
    let resource = GroupResource { group: "", resource: plural };
    let object = call.server.find("", plural, namespace, name).await?;
    let object = object.ok_or_else(|| ApiError::not_found(resource, name))?;
    let uid = metadata::text(&object, "uid");
    let demanded = text("uid");
    if !demanded.is_empty() && demanded != uid {
        let why = format!(
            "the UID in the bound object reference ({demanded}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(GroupResource { group: "", resource: kind }, name, &why));
    }
    private[kind.to_lowercase()] = json!({"name": name, "uid": uid});
    if kind == "Pod" {
        let account = object.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        if account != call.info.name {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                call.info.name
            )));
        }
        let node = object.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        if !node.is_empty() {
            let found = call.server.find("", "nodes", "", node).await?;
            private["node"] = match found {
                Some(found) => json!({"name": node, "uid": metadata::text(&found, "uid")}),
                None => json!({"name": node}),
            };
        }
    }
    Ok(())
}

/// `/.well-known/openid-configuration` and `/openid/v1/jwks`
pub async fn issuer_document(
    server: &Server,
    segments: &[&str],
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let issuer = &server.parts.authenticators.service_accounts;
    let keys_wanted = segments.first() == Some(&"openid");
    let media_type = if keys_wanted { "application/jwk-set+json" } else { "application/json" };
    if let Some(accept) = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok())
        && !accept.is_empty()
        && !ranges(accept).iter().any(|r| r.media_type == "*/*" || r.media_type == media_type)
    {
        let mut error = ApiError::not_acceptable(format!(
            "406: Not Acceptable\n\nAvailable representations: {media_type}"
        ));
        error.details = Some(Box::default());
        return Err(error);
    }
    let document = if keys_wanted {
        let keys = issuer.keys(server.store()).await?;
        json!({"keys": [{
            "use": "sig", "kty": "RSA", "kid": keys.id, "alg": "RS256", "n": keys.modulus, "e": keys.exponent,
        }]})
    } else {
        json!({
            "issuer": issuer.url,
            "jwks_uri": format!("https://{}/openid/v1/jwks", server.parts.advertise_address),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    };
    let mut response = respond::bytes(StatusCode::OK, media_type, document.to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Ok(response)
}
