//! Custom objects that a webhook brings from version to version.

use super::*;

/// Versions of a widget that call its size differently: `size` in the first, `amount` in the second.
fn converted(request: &Value) -> Value {
    let wanted = &request["desiredAPIVersion"];
    let convert = |object: &Value| {
        let mut object = object.clone();
        let (from, to) = if *wanted == "example.com/v2" { ("size", "amount") } else { ("amount", "size") };
        if let Some(spec) = object["spec"].as_object_mut()
            && let Some(number) = spec.remove(from)
        {
            spec.insert(to.into(), number);
        }
        object["apiVersion"] = wanted.clone();
        object["metadata"]["annotations"] = json!({"converted": "yes"});
        object["metadata"]["finalizers"] = json!(["example.com/none"]);
        object
    };
    let objects = request["objects"].as_array().unwrap();
    if objects.iter().any(|object| object["metadata"]["name"] == "bad") {
        return json!({"result": {"status": "Failure", "message": "no such luck"}});
    }
    let objects: Vec<Value> = objects.iter().map(convert).collect();
    json!({"result": {"status": "Success"}, "convertedObjects": objects})
}

/// Widgets in two versions, between which a webhook converts.
async fn converted_widgets() -> (Fixture, Hook) {
    let (fixture, hook) = (Fixture::start().await, Hook::start(converted).await);
    let schema = |field: &str| {
        json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
            field: {"type": "integer"}, "shape": {"type": "string", "default": "round"},
        }}}}})
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema("size")},
                {"name": "v2", "served": true, "storage": false, "schema": schema("amount")},
            ],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"], "clientConfig": hook.at_url(),
            }},
        },
    });
    fixture.define(&definition).await;
    (fixture, hook)
}

#[tokio::test]
async fn a_webhook_brings_custom_objects_from_version_to_version() {
    let (fixture, _hook) = converted_widgets().await;
    let v2 = V2;
    let new = |name: &str| json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": name}, "spec": {"amount": 3}});
    let made = fixture.create(v2, &new("w")).await;
    assert_eq!(made["spec"], json!({"amount": 3, "shape": "round"}));
    let (_, stored) = fixture.get(&v2.replace("v2", "v1")).await;
    assert_eq!(stored["items"][0]["spec"], json!({"size": 3, "shape": "round"}));
    let (_, one) = fixture.get(&format!("{v2}/w")).await;
    assert_eq!((&one["spec"]["amount"], &one["apiVersion"]), (&json!(3), &json!("example.com/v2")));
    assert_eq!(one["metadata"]["annotations"], json!({"converted": "yes"}));
    assert!(one["metadata"]["finalizers"].is_null(), "{one}");
    assert_eq!(one["metadata"]["uid"], made["metadata"]["uid"]);
    let change = json!({"spec": {"amount": 4}});
    let (_, changed) = fixture.call(Method::PATCH, &format!("{v2}/w"), &change).await;
    assert_eq!(changed["spec"]["amount"], 4, "{changed}");
    let (_, list) = fixture.get(v2).await;
    assert_eq!(list["items"][0]["spec"]["amount"], 4);
    let (status, refused) = fixture.call(Method::POST, v2, &new("bad")).await;
    assert_eq!(status.as_u16(), 500);
    assert_eq!(refused["message"], "conversion webhook for example.com/v2, Kind=Widget failed: no such luck");
    let (_, deleted) = fixture.call(Method::DELETE, &format!("{v2}/w"), &Value::Null).await;
    assert_eq!(deleted["status"], "Success", "{deleted}");
    fixture.0.stop().await;
}

const V2: &str = "/apis/example.com/v2/namespaces/default/widgets";

async fn apply(fixture: &Fixture, version: &str, manager: &str, spec: Value) -> (u16, Value) {
    let path = V2.replace("v2", version);
    let widget = json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget",
        "metadata": {"name": "w"}, "spec": spec});
    let request = http::Request::patch(format!("{path}/w?fieldManager={manager}"))
        .header("content-type", "application/apply-patch+yaml")
        .body(body::full(widget.to_string()))
        .unwrap();
    let response = fixture.0.server.service(User::component("test")).call(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn owners_know_their_fields_in_other_versions_too() {
    let (fixture, _hook) = converted_widgets().await;
    let (status, made) = apply(&fixture, "v1", "alice", json!({"size": 3})).await;
    assert_eq!((status, &made["spec"]["size"]), (201, &json!(3)), "{made}");
    let (status, refused) = apply(&fixture, "v2", "bob", json!({"amount": 4})).await;
    assert_eq!(status, 409, "{refused}");
    assert_eq!(refused["details"]["causes"][0]["field"], ".spec.size");
    let (status, moved) = apply(&fixture, "v2", "alice", json!({"amount": 5})).await;
    assert_eq!((status, &moved["spec"]["amount"]), (200, &json!(5)), "{moved}");
    let owners = moved["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((owners.len(), &owners[0]["apiVersion"]), (1, &json!("example.com/v2")));
    let (status, left) = apply(&fixture, "v1", "alice", json!({})).await;
    assert_eq!((status, &left["spec"]), (200, &json!({"shape": "round"})), "{left}");
    fixture.0.stop().await;
}

#[tokio::test]
async fn what_is_deleted_together_is_shown_at_the_version_of_the_request() {
    let (fixture, _hook) = converted_widgets().await;
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}});
    fixture.create(&V2.replace("v2", "v1"), &widget).await;
    let (_, deleted) = fixture.call(Method::DELETE, V2, &Value::Null).await;
    assert_eq!(deleted["items"][0]["spec"]["amount"], 3, "{deleted}");
    assert_eq!(fixture.get(V2).await.1["items"], json!([]));
    fixture.0.stop().await;
}

#[tokio::test]
async fn policies_that_match_by_another_version_see_objects_at_that() {
    let (fixture, _hook) = converted_widgets().await;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"matchPolicy": "Equivalent", "resourceRules": [{
                "apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["widgets"],
            }]},
            "validations": [{"expression": "object.spec.size < 10"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]},
    });
    fixture.create(&format!("{GROUP}/validatingadmissionpolicies"), &policy).await;
    fixture.create(&format!("{GROUP}/validatingadmissionpolicybindings"), &binding).await;
    let widget = |name: &str, amount: u32| json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": name}, "spec": {"amount": amount}});
    let mut tries = 0;
    let refused = loop {
        let (status, answer) = fixture.call(Method::POST, V2, &widget(&format!("large{tries}"), 11)).await;
        if status.as_u16() != 201 {
            break answer;
        }
        tries += 1;
        tokio::task::yield_now().await;
    };
    assert!(
        refused["message"].as_str().unwrap().contains("failed expression: object.spec.size < 10"),
        "{refused}"
    );
    fixture.create(V2, &widget("small", 9)).await;
    fixture.0.stop().await;
}
