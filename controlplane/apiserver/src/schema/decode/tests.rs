use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn builtin(name: &str) -> Type<'static> {
    Type::builtin(name).unwrap()
}

fn decoded(name: &str, value: Value) -> Value {
    decode(value, builtin(name)).unwrap().0
}

fn error(name: &str, value: Value) -> String {
    decode(value, builtin(name)).unwrap_err().to_string()
}

const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";
const CONFIG_MAP: &str = "io.k8s.api.core.v1.ConfigMap";
const POD: &str = "io.k8s.api.core.v1.Pod";

#[test]
fn empty_values_go_and_structs_stay() {
    let value = json!({
        "metadata": {"name": "d", "labels": {}, "creationTimestamp": null},
        "spec": {
            "paused": false, "replicas": 0, "selector": {"matchLabels": {"a": ""}},
            "template": {"spec": {"containers": [{"name": "c", "image": "", "args": [], "resources": null}], "nodeName": ""}}
        }
    });
    assert_eq!(
        decoded(DEPLOYMENT, value),
        json!({
            "metadata": {"name": "d"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"a": ""}},
                "strategy": {},
                "template": {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {}}]}}
            },
            "status": {}
        })
    );
}

#[test]
fn a_missing_selector_is_null_as_in_go() {
    let value = decoded(DEPLOYMENT, json!({"spec": {}}));
    assert_eq!(value["spec"]["selector"], Value::Null);
    assert!(value["spec"].as_object().unwrap().contains_key("selector"));
    assert_eq!(decoded("io.k8s.api.rbac.v1.ClusterRole", json!({}))["rules"], Value::Null);
    assert_eq!(
        decoded("io.k8s.api.core.v1.Event", json!({})),
        json!({
            "metadata": {}, "involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null,
            "eventTime": null, "reportingComponent": "", "reportingInstance": ""
        })
    );
}

#[test]
fn mismatches_are_told_as_go_tells_them() {
    assert_eq!(
        error(DEPLOYMENT, json!({"spec": {"replicas": "x"}})),
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        error(DEPLOYMENT, json!({"spec": {"replicas": 1.5}})),
        "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        error(CONFIG_MAP, json!({"data": {"a": 5}})),
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
    );
    assert_eq!(
        error(CONFIG_MAP, json!({"data": []})),
        "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string"
    );
    assert_eq!(
        error(CONFIG_MAP, json!({"metadata": "x"})),
        "json: cannot unmarshal string into Go struct field ConfigMap.metadata of type v1.ObjectMeta"
    );
    assert_eq!(
        error(CONFIG_MAP, json!({"metadata": {"name": 5}})),
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"
    );
    assert_eq!(
        error(POD, json!({"spec": {"containers": [{"ports": [{"protocol": 5}]}]}})),
        "json: cannot unmarshal number into Go struct field ContainerPort.spec.containers.ports.protocol of type v1.Protocol"
    );
    assert_eq!(
        error(POD, json!({"spec": {"containers": {}}})),
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
    );
    assert_eq!(
        error("io.k8s.api.core.v1.Service", json!({"spec": {"ipFamilies": [1]}})),
        "json: cannot unmarshal number into Go struct field ServiceSpec.spec.ipFamilies of type v1.IPFamily"
    );
    assert_eq!(error(CONFIG_MAP, json!({"binaryData": {"a": "!"}})), "illegal base64 data at input byte 0");
    assert_eq!(
        error(CONFIG_MAP, json!([])),
        "json: cannot unmarshal array into Go value of type v1.ConfigMap"
    );
}

#[test]
fn base64_faults_are_where_go_sees_them() {
    for (text, fault) in [("!", 0), ("YWJ", 0), ("YWJjZ", 4), ("YW=j", 3), ("YQ=", 3), ("YQ==x", 4), ("=", 0)]
    {
        assert_eq!(bytes(text), Err(DecodeError::Base64(fault)), "{text}");
    }
    assert_eq!(bytes("YWJj\nZA==").unwrap(), "YWJjZA==");
}

#[test]
fn quantities_and_times_become_canonical() {
    let pod = decoded(
        POD,
        json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "1024Ki"}}}]},
               "status": {"startTime": "2024-01-01T02:00:00+02:00"}}),
    );
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"], json!({"cpu": "500m", "memory": "1Mi"}));
    assert_eq!(pod["status"]["startTime"], "2024-01-01T00:00:00Z");
    assert!(error(POD, json!({"spec": {"overhead": {"cpu": "abc"}}})).starts_with("quantities must match"));
}

#[test]
fn nulls_in_lists_and_maps_are_zero_values() {
    assert_eq!(decoded(CONFIG_MAP, json!({"data": {"a": null}})), json!({"metadata": {}, "data": {"a": ""}}));
    let pod = decoded(POD, json!({"spec": {"containers": [null]}}));
    assert_eq!(pod["spec"]["containers"], json!([{"name": "", "resources": {}}]));
}

#[test]
fn decoding_is_idempotent_for_the_zero_of_every_message() {
    for name in super::super::table::names() {
        let ty = builtin(name);
        let zero = zero(ty);
        assert_eq!(decode(zero.clone(), ty).unwrap(), (zero, Vec::new()), "{name}");
    }
}

#[test]
fn schemas_below_items_are_decoded_without_notes() {
    let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let schema = json!({
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string", "nope": 1, "nullable": false}}},
        "additionalProperties": false,
        "default": {"x": null},
        "x-kubernetes-preserve-unknown-fields": true
    });
    let (value, unknown) = decode(schema, builtin(name)).unwrap();
    assert_eq!(
        value,
        json!({
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"type": "string"}}},
            "additionalProperties": false,
            "default": {"x": null},
            "x-kubernetes-preserve-unknown-fields": true
        })
    );
    assert!(unknown.is_empty());
}

fn custom_object(fields: impl IntoIterator<Item = (&'static str, Node)>) -> Node {
    let fields: BTreeMap<String, Node> = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Node { form: Form::Object { fields, required: Vec::new(), map_type: None }, ..Node::default() }
}

#[test]
fn custom_objects_are_pruned_and_keep_their_metadata() {
    let text = Node { form: Form::Scalar(Scalar::String), ..Node::default() };
    let open = Node { preserve_unknown: true, ..custom_object([("a", text.clone())]) };
    let root = custom_object([("spec", custom_object([("known", text), ("open", open)]))]);
    let value = json!({
        "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n", "bogus": 1},
        "spec": {"known": 5, "d2": 1, "open": {"b": 1}}, "extra": 1
    });
    let (value, unknown) = decode(value, Type::Custom(&root)).unwrap();
    assert_eq!(
        value,
        json!({
            "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n"},
            "spec": {"known": 5, "open": {"b": 1}}
        })
    );
    assert_eq!(
        unknown,
        [r#"unknown field "extra""#, r#"unknown field "metadata.bogus""#, r#"unknown field "spec.d2""#]
    );
    let labels = json!({"metadata": {"labels": {"a": 1}}});
    assert_eq!(
        decode(labels, Type::Custom(&root)).unwrap_err().to_string(),
        "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"
    );
}
