//! Policies against a server in memory.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::custom::tests::{Fixture, widgets};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A policy about config maps that are created or changed.
fn policy(kind: &str, name: &str, mut spec: Value) -> Value {
    if spec.get("matchConstraints").is_none() {
        spec["matchConstraints"] = json!({"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
        }]});
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}AdmissionPolicy"),
        "metadata": {"name": name}, "spec": spec,
    })
}

fn binding(kind: &str, name: &str, mut spec: Value) -> Value {
    spec["policyName"] = name.into();
    if kind == "Validating" && spec.get("validationActions").is_none() {
        spec["validationActions"] = json!(["Deny"]);
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}AdmissionPolicyBinding"),
        "metadata": {"name": name}, "spec": spec,
    })
}

async fn validating(fixture: &Fixture, name: &str, spec: Value, bound: Value) {
    fixture.create(&format!("{GROUP}/validatingadmissionpolicies"), &policy("Validating", name, spec)).await;
    let path = format!("{GROUP}/validatingadmissionpolicybindings");
    fixture.create(&path, &binding("Validating", name, bound)).await;
}

async fn mutating(fixture: &Fixture, name: &str, mut spec: Value, bound: Value) {
    for (field, value) in [("reinvocationPolicy", "Never"), ("failurePolicy", "Fail")] {
        if spec.get(field).is_none() {
            spec[field] = value.into();
        }
    }
    fixture.create(&format!("{GROUP}/mutatingadmissionpolicies"), &policy("Mutating", name, spec)).await;
    fixture
        .create(&format!("{GROUP}/mutatingadmissionpolicybindings"), &binding("Mutating", name, bound))
        .await;
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// Asks without storing until the answer is the expected one.
async fn dry_until(fixture: &Fixture, object: &Value, met: impl Fn(StatusCode, &Value) -> bool) -> Value {
    loop {
        let (status, body) = fixture.call(Method::POST, &format!("{MAPS}?dryRun=All"), object).await;
        if met(status, &body) {
            return body;
        }
        tokio::task::yield_now().await;
    }
}

async fn denied(fixture: &Fixture, object: &Value) -> String {
    let body = dry_until(fixture, object, |status, _| status.is_client_error()).await;
    body["message"].as_str().unwrap().to_owned()
}

fn apply(expression: &str) -> Value {
    json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}])
}

fn patch(expression: &str) -> Value {
    json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}])
}

#[tokio::test]
async fn a_policy_bound_to_nothing_does_nothing() {
    let fixture = Fixture::start().await;
    let never = json!({"validations": [{"expression": "false"}]});
    let path = format!("{GROUP}/validatingadmissionpolicies");
    fixture.create(&path, &policy("Validating", "unbound", never.clone())).await;
    validating(
        &fixture,
        "bound",
        json!({"validations": [{"expression": "object.data.a != 'no'"}]}),
        json!({}),
    )
    .await;
    assert_eq!(
        denied(&fixture, &map("x", json!({"a": "no"}))).await,
        "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'bound' with binding 'bound' denied request: failed expression: object.data.a != 'no'"
    );
    fixture.create(MAPS, &map("x", json!({"a": "yes"}))).await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn variables_are_evaluated_when_they_are_needed_and_see_those_before_them() {
    let fixture = Fixture::start().await;
    let spec = json!({
        "variables": [
            {"name": "broken", "expression": "object.data.absent"},
            {"name": "a", "expression": "object.data.a"},
            {"name": "twice", "expression": "variables.a + variables.a"},
        ],
        "validations": [
            {"expression": "variables.twice != 'nono'", "messageExpression": "'got ' + variables.twice"},
            {"expression": "variables.a != 'fail' || variables.broken == ''"},
        ],
    });
    validating(&fixture, "v", spec, json!({})).await;
    let message = denied(&fixture, &map("x", json!({"a": "no"}))).await;
    assert!(message.ends_with("denied request: got nono"), "{message}");
    let message = denied(&fixture, &map("x", json!({"a": "fail"}))).await;
    assert!(
        message.ends_with(
            "resulted in error: composited variable \"broken\" fails to evaluate: no such key: absent"
        ),
        "{message}"
    );
    fixture.create(MAPS, &map("x", json!({"a": "yes"}))).await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn parameters_come_from_the_binding() {
    let fixture = Fixture::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "not-itself", "expression": "object.metadata.name != 'limits'"}],
        "validations": [{"expression": "int(object.data.n) <= int(params.data.max)"}],
    });
    let reference = json!({"paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}});
    validating(&fixture, "limited", spec, reference).await;
    assert_eq!(
        denied(&fixture, &map("x", json!({"n": "1"}))).await,
        "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'limited' with binding 'limited' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    );
    let path = format!("{GROUP}/validatingadmissionpolicybindings/limited");
    let allow = json!({"spec": {"paramRef": {"parameterNotFoundAction": "Allow"}}});
    assert_eq!(fixture.call(Method::PATCH, &path, &allow).await.0, StatusCode::OK);
    dry_until(&fixture, &map("x", json!({"n": "9"})), |status, _| status == StatusCode::CREATED).await;
    fixture.create(MAPS, &map("limits", json!({"max": "3"}))).await;
    let message = denied(&fixture, &map("x", json!({"n": "9"}))).await;
    assert!(message.ends_with("failed expression: int(object.data.n) <= int(params.data.max)"), "{message}");
    fixture.create(MAPS, &map("x", json!({"n": "3"}))).await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn an_unknown_kind_of_parameter_is_a_failure_of_the_policy() {
    let fixture = Fixture::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"},
        "validations": [{"expression": "true"}],
    });
    let reference = json!({"paramRef": {"name": "x", "parameterNotFoundAction": "Deny"}});
    validating(&fixture, "p", spec, reference).await;
    assert_eq!(
        denied(&fixture, &map("x", json!({}))).await,
        "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'"
    );
    let path = format!("{GROUP}/validatingadmissionpolicies/p");
    let ignore = json!({"spec": {"failurePolicy": "Ignore"}});
    assert_eq!(fixture.call(Method::PATCH, &path, &ignore).await.0, StatusCode::OK);
    dry_until(&fixture, &map("x", json!({})), |status, _| status == StatusCode::CREATED).await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_rule_about_one_version_is_about_all_of_them() {
    let fixture = Fixture::start().await;
    let mut definition = widgets(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    let mut second = definition["spec"]["versions"][0].clone();
    (second["name"], second["storage"]) = ("v2".into(), false.into());
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    fixture.define(&definition).await;
    let first = definition["spec"]["versions"][0]["name"].as_str().unwrap();
    let spec = json!({
        "matchConstraints": {"resourceRules": [{
            "apiGroups": ["example.com"], "apiVersions": [first], "operations": ["CREATE"], "resources": ["widgets"],
        }]},
        "validations": [{"expression": "false", "messageExpression":
            "request.kind.version + ' for ' + request.requestKind.version + ' of ' + object.apiVersion"}],
    });
    validating(&fixture, "w", spec, json!({})).await;
    let widget =
        json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}});
    let path = "/apis/example.com/v2/namespaces/default/widgets?dryRun=All";
    let message = loop {
        let (status, body) = fixture.call(Method::POST, path, &widget).await;
        if status.is_client_error() {
            break body["message"].as_str().unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    };
    assert!(message.ends_with(&format!("{first} for v2 of example.com/{first}")), "{message}");
    fixture.0.stop().await;
}

#[tokio::test]
async fn deletions_are_judged_by_what_is_deleted() {
    let fixture = Fixture::start().await;
    let spec = json!({
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["configmaps"],
        }]},
        "validations": [{"expression": "object == null && !has(oldObject.data.keep)", "reason": "Forbidden",
            "messageExpression": "request.operation + ' of ' + request.name"}],
    });
    fixture.create(MAPS, &map("kept", json!({"keep": "1"}))).await;
    fixture.create(MAPS, &map("spare", json!({"a": "1"}))).await;
    validating(&fixture, "d", spec, json!({})).await;
    let path = format!("{MAPS}/kept?dryRun=All");
    let body = loop {
        let (status, body) = fixture.call(Method::DELETE, &path, &Value::Null).await;
        if status == StatusCode::FORBIDDEN {
            break body;
        }
        tokio::task::yield_now().await;
    };
    assert!(body["message"].as_str().unwrap().ends_with("DELETE of kept"), "{body}");
    assert_eq!(fixture.call(Method::DELETE, &format!("{MAPS}/spare"), &Value::Null).await.0, StatusCode::OK);
    fixture.0.stop().await;
}

#[tokio::test]
async fn patches_change_the_object_and_failed_tests_leave_it() {
    let fixture = Fixture::start().await;
    let expression = "[JSONPatch{op: 'test', path: '/data/a', value: 'yes'}, \
        JSONPatch{op: 'add', path: '/metadata/labels', value: {}}, \
        JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/x'), value: object.data.a}]";
    mutating(&fixture, "p", json!({"mutations": patch(expression)}), json!({})).await;
    let labelled = |_, body: &Value| body["metadata"]["labels"]["example.com/x"] == "yes";
    dry_until(&fixture, &map("x", json!({"a": "yes"})), labelled).await;
    let other = fixture.create(MAPS, &map("y", json!({"a": "no"}))).await;
    assert!(other["metadata"].get("labels").is_none(), "{other}");
    fixture.0.stop().await;
}

#[tokio::test]
async fn what_a_later_policy_changes_reaches_an_earlier_one_that_asks_for_it() {
    let fixture = Fixture::start().await;
    let first = json!({
        "mutations": apply("Object{data: {'seen': has(object.data.late) ? 'late' : 'early'}}"),
        "reinvocationPolicy": "IfNeeded",
    });
    mutating(&fixture, "a-first", first, json!({})).await;
    let second = json!({"mutations": apply("Object{data: {'late': 'yes'}}")});
    mutating(&fixture, "b-second", second, json!({})).await;
    let made =
        dry_until(&fixture, &map("x", json!({"a": "1"})), |_, body| body["data"]["late"] == "yes").await;
    assert_eq!(made["data"]["seen"], "late");
    fixture.0.stop().await;
}

#[tokio::test]
async fn a_mutation_that_does_not_fit_is_a_refusal() {
    let fixture = Fixture::start().await;
    let wrong = apply("Object{metadata: Object.spec{labels: {'a': 'b'}}}");
    mutating(&fixture, "m", json!({"mutations": wrong}), json!({})).await;
    let body = dry_until(&fixture, &map("x", json!({})), |status, _| status.is_client_error()).await;
    let message = "policy 'm' with binding 'm' denied request: type mismatch: unexpected type name \"Object.spec\", expected \"Object.metadata\", which matches field name path from root Object type";
    assert_eq!(body["message"], message);
    assert_eq!((&body["reason"], &body["code"]), (&json!("Invalid"), &json!(403)));
    assert_eq!(body["details"]["causes"][0]["message"], message);
    fixture.0.stop().await;
}

#[tokio::test]
async fn the_authorizer_answers_for_service_accounts() {
    let fixture = Fixture::start().await;
    let spec = json!({"validations": [{
        "expression": "authorizer.serviceAccount('default', 'x').group('').resource('pods').check('get').allowed() \
            && authorizer.requestResource.check('create').allowed() && object.data.a == 'yes'",
        "message": "no",
    }]});
    validating(&fixture, "z", spec, json!({})).await;
    let message = denied(&fixture, &map("x", json!({"a": "no"}))).await;
    assert!(message.ends_with("denied request: no"), "{message}");
    // Everyone may do everything here.
    fixture.create(MAPS, &map("x", json!({"a": "yes"}))).await;
    fixture.0.stop().await;
}

#[tokio::test]
async fn streams_and_evictions_are_admitted_as_what_they_are() {
    let fixture = Fixture::start().await;
    let spec = json!({
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT", "CREATE"],
            "resources": ["pods/exec", "pods/eviction"],
        }]},
        "validations": [{"expression": "request.operation == 'CONNECT' ? object.command[0] != 'rm' : false",
            "messageExpression": "'no ' + request.kind.kind + ' of ' + request.name", "reason": "Forbidden"}],
    });
    validating(&fixture, "s", spec, json!({})).await;
    let pods = "/api/v1/namespaces/default/pods";
    let exec = format!("{pods}/p/exec?command=rm&command=x&container=c&stdout=true");
    let body = loop {
        let (status, body) = fixture.call(Method::POST, &exec, &Value::Null).await;
        if status == StatusCode::FORBIDDEN {
            break body;
        }
        tokio::task::yield_now().await;
    };
    assert!(body["message"].as_str().unwrap().ends_with("no PodExecOptions of p"), "{body}");
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let (status, body) = fixture.call(Method::POST, &format!("{pods}/p/eviction"), &eviction).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    assert!(body["message"].as_str().unwrap().ends_with("no Eviction of p"), "{body}");
    fixture.0.stop().await;
}
