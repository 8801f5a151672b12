use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use rcgen::KeyPair;

use super::*;
use crate::{authentication::oidc::Flags, outbound::tests::Remote};

/// A key of the issuer.
struct Key {
    id: &'static str,
    key: EncodingKey,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pem = KeyPair::generate().unwrap().serialize_pem();
        Self { id, key: EncodingKey::from_ec_pem(pem.as_bytes()).unwrap() }
    }

    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.into());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.into()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// An issuer that shows the keys that it is told to.
struct Issuer {
    remote: Remote,
    keys: Arc<Mutex<Vec<Value>>>,
    /// The token with the groups, which others only point to.
    groups: Arc<Mutex<String>>,
}

impl Issuer {
    async fn start(keys: &[&Key]) -> Self {
        let keys = Arc::new(Mutex::new(keys.iter().map(|key| key.public()).collect::<Vec<_>>()));
        let shown = keys.clone();
        let place = Arc::new(Mutex::new(String::new()));
        let own = place.clone();
        let groups = Arc::new(Mutex::new(String::new()));
        let elsewhere = groups.clone();
        let remote = Remote::start(move |path, _| match path {
            "/.well-known/openid-configuration" => {
                let url = own.lock().unwrap().clone();
                (StatusCode::OK, json!({"issuer": url, "jwks_uri": format!("{url}/keys")}))
            }
            "/keys" => (StatusCode::OK, json!({"keys": *shown.lock().unwrap()})),
            "/groups" => (StatusCode::OK, elsewhere.lock().unwrap().clone().into()),
            _ => (StatusCode::NOT_FOUND, Value::Null),
        })
        .await;
        *place.lock().unwrap() = remote.url();
        Self { remote, keys, groups }
    }

    fn claims(&self, with: Value) -> Value {
        let mut claims = json!({
            "iss": self.remote.url(), "aud": "vkube", "sub": "jane", "exp": Timestamp::now().as_second() + 60,
        });
        for (name, value) in with.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    /// The configuration of it as the only issuer; `with` changes it.
    fn configuration(&self, with: Value) -> Value {
        let mut jwt = json!({
            "issuer": {
                "url": self.remote.url(), "audiences": ["vkube"],
                "certificateAuthority": self.remote.authority,
            },
            "claimMappings": {"username": {"claim": "sub", "prefix": "oidc:"}},
        });
        for (name, value) in with.as_object().unwrap() {
            jwt[name] = value.clone();
        }
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [jwt],
        })
    }
}

fn file(directory: &tempfile::TempDir, configuration: &Value) -> PathBuf {
    let path = directory.path().join("authentication.yaml");
    std::fs::write(&path, configuration.to_string()).unwrap();
    path
}

async fn configured(configuration: &Value) -> (Fixture, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { configuration: Some(file(&directory, configuration)), ..Options::default() };
    (Fixture::start(options).await, directory)
}

#[tokio::test]
async fn a_token_of_a_configured_issuer_makes_a_user() {
    let key = Key::new("1");
    let issuer = Issuer::start(&[&key]).await;
    let mappings = json!({"claimMappings": {
        "username": {"expression": "claims.sub + '@corp'"}, "groups": {"claim": "roles", "prefix": "corp:"},
        "uid": {"claim": "sub"}, "extra": [{"key": "corp.example/team", "valueExpression": "claims.team"}],
    }});
    let (server, _directory) = configured(&issuer.configuration(mappings)).await;
    assert_eq!(issuer.remote.paths(), [""; 0], "nothing is asked before there is a token");
    let token = key.sign(&issuer.claims(json!({"roles": ["dev"], "team": ["x", "y"]})));
    let expected = json!({
        "username": "jane@corp", "uid": "jane", "groups": ["corp:dev", "system:authenticated"],
        "extra": {"corp.example/team": ["x", "y"]},
    });
    assert_eq!(server.whoami(&token).await, (StatusCode::CREATED, expected.clone()));
    let review = server.review(json!({"token": token})).await;
    assert_eq!(review, json!({"authenticated": true, "user": expected, "audiences": [OWN]}));
    assert_eq!(issuer.remote.paths(), ["GET /.well-known/openid-configuration", "GET /keys"]);
    server.0.stop().await;
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_with_its_reason() {
    let (key, stranger) = (Key::new("1"), Key::new("1"));
    let issuer = Issuer::start(&[&key]).await;
    let rules = json!({"claimValidationRules": [{"expression": "claims.sub != 'eve'", "message": "no eve"}]});
    let (server, _directory) = configured(&issuer.configuration(rules)).await;
    let cases = [
        (
            key.sign(&issuer.claims(json!({"aud": "x"}))),
            "oidc: verify token: oidc: expected audience \"vkube\" got [\"x\"]",
        ),
        (
            key.sign(&issuer.claims(json!({"exp": 0}))),
            "oidc: verify token: oidc: token is expired (Token Expiry: 1970-01-01 00:00:00 +0000 UTC)",
        ),
        (
            stranger.sign(&issuer.claims(json!({}))),
            "oidc: verify token: failed to verify signature: failed to verify id token signature",
        ),
        (
            key.sign(&issuer.claims(json!({"sub": "eve"}))),
            "oidc: error evaluating claim validation expression: validation expression 'claims.sub != 'eve'' failed: no eve",
        ),
    ];
    for (token, why) in cases {
        let review = server.review(json!({"token": token})).await;
        assert_eq!(review["error"], format!("[invalid bearer token, {why}]"));
        assert_eq!(server.whoami(&token).await.0, StatusCode::UNAUTHORIZED);
    }
    server.0.stop().await;
}

#[tokio::test]
async fn keys_are_fetched_again_for_a_token_that_none_fits() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::start(&[&old]).await;
    let (server, _directory) = configured(&issuer.configuration(json!({}))).await;
    let whoami = async |key: &Key| server.whoami(&key.sign(&issuer.claims(json!({})))).await.0;
    assert_eq!(whoami(&old).await, StatusCode::CREATED);
    assert_eq!(whoami(&new).await, StatusCode::UNAUTHORIZED);
    *issuer.keys.lock().unwrap() = vec![new.public()];
    assert_eq!(whoami(&old).await, StatusCode::CREATED, "what is known is still good");
    assert_eq!(whoami(&new).await, StatusCode::CREATED);
    assert_eq!(whoami(&old).await, StatusCode::UNAUTHORIZED);
    server.0.stop().await;
}

#[tokio::test]
async fn a_changed_file_counts_at_once_and_a_broken_one_not_at_all() {
    let key = Key::new("1");
    let issuer = Issuer::start(&[&key]).await;
    let (server, directory) = configured(&issuer.configuration(json!({}))).await;
    let token = key.sign(&issuer.claims(json!({})));
    assert_eq!(server.whoami(&token).await.1["username"], "oidc:jane");
    let other = json!({"claimMappings": {"username": {"claim": "sub", "prefix": "another:"}}});
    file(&directory, &issuer.configuration(other));
    assert_eq!(server.whoami(&token).await.1["username"], "another:jane");
    file(&directory, &json!({"kind": "Nonsense"}));
    assert_eq!(server.whoami(&token).await.1["username"], "another:jane");
    let mut none = issuer.configuration(json!({}));
    none["jwt"] = json!([]);
    file(&directory, &none);
    assert_eq!(server.whoami(&token).await.0, StatusCode::UNAUTHORIZED);
    server.0.stop().await;
}

#[tokio::test]
async fn an_issuer_that_calls_itself_otherwise_is_not_trusted() {
    let key = Key::new("1");
    let issuer = Issuer::start(&[&key]).await;
    let discovery = format!("{}/.well-known/openid-configuration", issuer.remote.url());
    let mut configuration = issuer.configuration(json!({}));
    configuration["jwt"][0]["issuer"]["url"] = "https://other.example".into();
    configuration["jwt"][0]["issuer"]["discoveryURL"] = discovery.into();
    let (server, _directory) = configured(&configuration).await;
    let token = key.sign(&issuer.claims(json!({"iss": "https://other.example"})));
    let review = server.review(json!({"token": token})).await;
    assert_eq!(review["error"], "[invalid bearer token, oidc: authenticator not initialized]");
    server.0.stop().await;
}

#[tokio::test]
async fn the_flags_configure_one_issuer() {
    let key = Key::new("1");
    let issuer = Issuer::start(&[&key]).await;
    let flags = Flags {
        issuer_url: issuer.remote.url(),
        client_id: "vkube".into(),
        certificate_authority: issuer.remote.authority.clone(),
        signing_algs: vec!["ES256".into()],
        groups_claim: "roles".into(),
        required_claims: vec![("hd".into(), "corp".into())],
        ..Flags::default()
    };
    let server = Fixture::start(Options { oidc: Some(flags), ..Options::default() }).await;
    let token = key.sign(&issuer.claims(json!({"roles": "dev", "hd": "corp"})));
    let user = json!({"username": format!("{}#jane", issuer.remote.url()), "groups": ["dev", "system:authenticated"]});
    assert_eq!(server.whoami(&token).await, (StatusCode::CREATED, user));
    let token = key.sign(&issuer.claims(json!({"hd": "other"})));
    assert_eq!(server.whoami(&token).await.0, StatusCode::UNAUTHORIZED);
    server.0.stop().await;
}

#[tokio::test]
async fn strangers_are_let_in_where_the_configuration_says() {
    let mut configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": true, "conditions": [{"path": "/livez"}]},
    });
    let (server, _directory) = configured(&configuration).await;
    let get = async |path: &str| {
        let request = http::Request::get(path).body(body::empty()).unwrap();
        read(server.0.server.respond(request).await).await.0
    };
    assert_eq!(get("/livez").await, StatusCode::OK);
    assert_eq!(get("/readyz").await, StatusCode::UNAUTHORIZED);
    server.0.stop().await;

    configuration["anonymous"]["enabled"] = false.into();
    let directory = tempfile::tempdir().unwrap();
    let authentication =
        Options { configuration: Some(file(&directory, &configuration)), ..Options::default() };
    let options = instance::Options { authentication, ..instance::Options::default() };
    let Err(refused) = Instance::start(options).await else { panic!("it starts") };
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert_eq!(
        why,
        "anonymous.conditions: Invalid value: [{\"Path\":\"/livez\"}]: enabled should be set to true when conditions are defined"
    );
}

#[tokio::test]
async fn groups_are_fetched_from_where_the_token_says() {
    let key = Key::new("1");
    let issuer = Issuer::start(&[&key]).await;
    let mappings = json!({"claimMappings": {
        "username": {"claim": "sub", "prefix": ""}, "groups": {"claim": "roles", "prefix": "g:"},
    }});
    let (server, _directory) = configured(&issuer.configuration(mappings)).await;
    *issuer.groups.lock().unwrap() = key.sign(&issuer.claims(json!({"roles": ["dev"]})));
    let endpoint = json!({"endpoint": format!("{}/groups", issuer.remote.url()), "access_token": "secret"});
    let claims = json!({"_claim_names": {"roles": "src1"}, "_claim_sources": {"src1": endpoint}});
    let (_, user) = server.whoami(&key.sign(&issuer.claims(claims.clone()))).await;
    assert_eq!(user["groups"], json!(["g:dev", "system:authenticated"]));
    let asked = |(line, headers, _): &crate::outbound::tests::Call| {
        line == "GET /groups" && headers["authorization"] == "Bearer secret"
    };
    assert!(issuer.remote.calls.lock().unwrap().iter().any(asked));

    *issuer.groups.lock().unwrap() = key.sign(&issuer.claims(json!({})));
    let review = server.review(json!({"token": key.sign(&issuer.claims(claims))})).await;
    let url = format!("{}/groups", issuer.remote.url());
    assert_eq!(
        review["error"],
        format!(
            "[invalid bearer token, oidc: could not expand distributed claims: jwt returned by distributed claim endpoint {url:?} did not contain claim: roles]"
        )
    );
    server.0.stop().await;
}
