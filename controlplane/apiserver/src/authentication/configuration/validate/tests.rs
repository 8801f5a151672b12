use super::*;

fn errors(change: &[(&str, Value)]) -> Vec<String> {
    let mut document = json!({"jwt": [{
        "issuer": {"url": "https://issuer.example", "audiences": ["a"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    }]});
    for (pointer, value) in change {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    let configuration: Configuration = serde_json::from_value(document).unwrap();
    let errors = validate(&configuration, "https://kubernetes.default.svc");
    errors.0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_plain_configuration_is_fine() {
    assert_eq!(errors(&[]), [""; 0]);
}

#[test]
fn issuers_have_https_urls_of_their_own() {
    let url = |url: &str| errors(&[("/jwt/0/issuer/url", url.into())]);
    assert_eq!(url(""), ["jwt[0].issuer.url: Required value"]);
    assert_eq!(
        url("http://a@b?c#d"),
        [
            "URL scheme must be https",
            "URL must not contain a username or password",
            "URL must not contain a query",
            "URL must not contain a fragment"
        ]
        .map(|why| format!("jwt[0].issuer.url: Invalid value: \"http://a@b?c#d\": {why}"))
    );
    assert_eq!(
        url("https://kubernetes.default.svc"),
        [
            "jwt[0].issuer.url: Invalid value: \"https://kubernetes.default.svc\": URL must not overlap with disallowed issuers: [https://kubernetes.default.svc]"
        ]
    );
    assert_eq!(
        errors(&[("/jwt/0/issuer/discoveryURL", "https://issuer.example/".into())]),
        [
            "jwt[0].issuer.discoveryURL: Invalid value: \"https://issuer.example/\": discoveryURL must be different from URL"
        ]
    );
}

#[test]
fn several_audiences_need_a_policy() {
    assert_eq!(
        errors(&[("/jwt/0/issuer/audiences", json!(["a", "a"]))]),
        [
            "jwt[0].issuer.audiences[1]: Duplicate value: \"a\"",
            "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences"
        ]
    );
    assert_eq!(
        errors(&[("/jwt/0/issuer/audiences", json!([]))]),
        ["jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required"]
    );
}

#[test]
fn a_claim_has_a_prefix_and_an_expression_has_none() {
    let username = |value| errors(&[("/jwt/0/claimMappings/username", value)]);
    assert_eq!(
        username(json!({"claim": "sub"})),
        [
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing"
        ]
    );
    assert_eq!(
        username(json!({"expression": "claims.sub", "prefix": "x"})),
        [
            "jwt[0].claimMappings.username.prefix: Invalid value: \"x\": may not be specified when expression is set"
        ]
    );
    assert_eq!(
        username(json!({})),
        ["jwt[0].claimMappings.username: Required value: claim or expression is required"]
    );
}

#[test]
fn whoever_goes_by_addresses_must_look_whether_they_are_verified() {
    let username = ("/jwt/0/claimMappings/username", json!({"expression": "claims.email"}));
    assert!(errors(std::slice::from_ref(&username))[0].contains("claims.email_verified must be used in"));
    let rule = json!([{"expression": "claims.?email_verified.orValue(true) == true"}]);
    assert_eq!(errors(&[username, ("/jwt/0/claimValidationRules", rule)]), [""; 0]);
}

#[test]
fn expressions_are_compiled() {
    let found = errors(&[("/jwt/0/claimValidationRules", json!([{"expression": "claims.a +"}]))]);
    assert!(found[0].starts_with("jwt[0].claimValidationRules[0].expression: Invalid value: \"claims.a +\": compilation failed: ERROR"), "{found:?}");
    let found = errors(&[("/jwt/0/userValidationRules", json!([{"expression": "user.username"}]))]);
    assert_eq!(
        found,
        ["jwt[0].userValidationRules[0].expression: Invalid value: \"user.username\": must evaluate to bool"]
    );
}

#[test]
fn extras_are_not_those_of_kubernetes() {
    let extra = |key: &str| {
        errors(&[("/jwt/0/claimMappings/extra", json!([{"key": key, "valueExpression": "claims.a"}]))])
    };
    assert_eq!(extra("example.org/a"), [""; 0]);
    assert_eq!(
        extra("x.k8s.io/a"),
        [
            "jwt[0].claimMappings.extra[0].key: Invalid value: \"x.k8s.io/a\": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
        ]
    );
    assert_eq!(extra("a").len(), 1);
}
