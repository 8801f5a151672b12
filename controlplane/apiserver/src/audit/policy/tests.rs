use http::Method;

use super::*;
use crate::request_info::RequestInfo;

fn policy(rules: Value) -> Result<Policy, Error> {
    Policy::read(json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}))
}

fn level(rules: Value, request: &str) -> Level {
    let (method, path) = request.split_once(' ').unwrap();
    let info = RequestInfo::new(&Method::from_bytes(method.as_bytes()).unwrap(), path, "");
    let jane = User::new("jane", &["dev"]);
    let attributes = Attributes::of(&jane, &info);
    policy(rules).unwrap().of(&attributes, Some(&jane)).map_or(Level::None, |verdict| verdict.level)
}

#[test]
fn the_first_rule_that_is_about_a_request_decides() {
    let rules = json!([
        {"level": "None", "users": ["eve"]},
        {"level": "Request", "userGroups": ["dev"], "verbs": ["create"], "resources": [{"group": "", "resources": ["pods"]}]},
        {"level": "RequestResponse", "resources": [{"group": "apps"}], "namespaces": ["a"]},
        {"level": "Metadata", "nonResourceURLs": ["/healthz*"]},
    ]);
    for (request, expected) in [
        ("POST /api/v1/namespaces/a/pods", Level::Request),
        ("GET /api/v1/namespaces/a/pods", Level::None),
        ("POST /api/v1/namespaces/a/pods/x/eviction", Level::None),
        ("GET /apis/apps/v1/namespaces/a/deployments/x/scale", Level::RequestResponse),
        ("GET /apis/apps/v1/namespaces/b/deployments", Level::None),
        ("GET /healthz/ping", Level::Metadata),
        ("GET /livez", Level::None),
    ] {
        assert_eq!(level(rules.clone(), request), expected, "{request}");
    }
}

#[test]
fn resources_are_named_with_stars() {
    let of = |resource: &str, path: &str| {
        let rules = json!([{"level": "Metadata", "resources": [{"resources": [resource]}]}]);
        level(rules, &format!("GET /api/v1/namespaces/a/{path}")) == Level::Metadata
    };
    assert!(of("*", "pods/x/log") && of("pods/*", "pods/x/log") && of("*/log", "pods/x/log"));
    assert!(of("pods/log", "pods/x/log") && of("pods", "pods/x") && of("pods/*", "pods/x"));
    assert!(!of("pods", "pods/x/log") && !of("*/log", "pods/x") && !of("services/*", "pods/x"));
}

#[test]
fn a_rule_that_makes_no_sense_is_refused() {
    let wrong = |rule: Value| match policy(json!([rule])) {
        Err(Error::Invalid(errors)) => errors.0.iter().map(ToString::to_string).collect(),
        other => vec![format!("{other:?}")],
    };
    assert_eq!(wrong(json!({})), ["rules[0].level: Required value"]);
    assert_eq!(
        wrong(
            json!({"level": "All", "nonResourceURLs": ["a", "/*/b"], "namespaces": ["a"], "omitStages": ["X"]})
        ),
        [
            "rules[0].level: Unsupported value: \"All\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\"",
            "rules[0].nonResourceURLs[0]: Invalid value: \"a\": non-resource URL rules must begin with a '/' character",
            "rules[0].nonResourceURLs[1]: Invalid value: \"/*/b\": non-resource URL wildcards '*' must be the final character of the rule",
            "rules[0].omitStages[0]: Invalid value: \"X\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic",
            "rules[0].nonResourceURLs: Invalid value: [\"a\",\"/*/b\"]: rules cannot apply to both regular resources and non-resource URLs",
        ]
    );
    assert!(matches!(policy(json!([])), Err(Error::NoRules)));
}

#[test]
fn stages_are_omitted_by_the_policy_and_its_rules() {
    let document = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "omitManagedFields": true, "rules": [
            {"level": "Metadata", "omitStages": ["Panic"]}, {"level": "Metadata", "omitManagedFields": false},
        ],
    });
    let policy = Policy::read(document).unwrap();
    assert_eq!(policy.rules[0].1.omitted, [Stage::RequestReceived, Stage::Panic]);
    let plain: Vec<bool> = policy.rules.iter().map(|(_, verdict)| verdict.without_managed_fields).collect();
    assert_eq!(plain, [true, false]);
}
