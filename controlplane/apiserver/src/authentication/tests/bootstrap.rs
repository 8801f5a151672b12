use super::*;

const TOKEN: &str = "abcdef.0123456789abcdef";

fn secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef"},
        "stringData": {
            "token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:nodes",
        },
    })
}

#[tokio::test]
async fn a_bootstrap_token_is_good_as_long_as_its_secret_is_there() {
    let server = Fixture::start(Options { bootstrap_tokens: true, ..Options::default() }).await;
    assert_eq!(server.whoami(TOKEN).await.0, StatusCode::UNAUTHORIZED);
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    server.create(secrets, &secret()).await;
    let groups = ["system:bootstrappers", "system:bootstrappers:nodes", "system:authenticated"];
    let expected = json!({"username": "system:bootstrap:abcdef", "groups": groups});
    assert_eq!(server.whoami(TOKEN).await, (StatusCode::CREATED, expected));
    assert_eq!(server.whoami("abcdef.0123456789abcdee").await.0, StatusCode::UNAUTHORIZED);
    server.call(Method::DELETE, &format!("{secrets}/bootstrap-token-abcdef"), &Value::Null).await;
    assert_eq!(server.whoami(TOKEN).await.0, StatusCode::UNAUTHORIZED);
    server.0.stop().await;
}

#[tokio::test]
async fn bootstrap_tokens_are_refused_unless_they_are_turned_on() {
    let server = Fixture::start(Options::default()).await;
    server.create("/api/v1/namespaces/kube-system/secrets", &secret()).await;
    assert_eq!(server.whoami(TOKEN).await.0, StatusCode::UNAUTHORIZED);
    server.0.stop().await;
}
