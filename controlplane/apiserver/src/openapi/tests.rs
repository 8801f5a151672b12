use serde_json::json;

use super::*;
use crate::codec::protobuf::wire::{Reader, Wire};

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

fn deployments() -> Served<'static> {
    let subresource = |name, group, version, kind| ServedSubresource {
        name,
        group,
        version,
        kind,
        verbs: &["get", "patch", "update"],
    };
    Served {
        group: "apps",
        version: "v1",
        kind: "Deployment",
        list_kind: "DeploymentList".into(),
        plural: "deployments",
        namespaced: true,
        verbs: ALL,
        subresources: vec![
            subresource("scale", "autoscaling", "v1", "Scale"),
            subresource("status", "apps", "v1", "Deployment"),
        ],
        schema: Schema::Builtin("io.k8s.api.apps.v1.Deployment"),
    }
}

fn packed(schema: &str) -> crate::custom::Schema {
    crate::custom::Schema::new(&serde_json::from_str(schema).unwrap())
}

fn widgets(schema: &crate::custom::Schema) -> Served<'_> {
    Served {
        group: "example.com",
        version: "v1",
        kind: "Widget",
        list_kind: "WidgetList".into(),
        plural: "widgets",
        namespaced: false,
        verbs: ALL,
        subresources: Vec::new(),
        schema: Schema::Custom(schema),
    }
}

fn v3_of(name: &str, served: &[Served<'_>]) -> Value {
    serde_json::from_slice(&v3::document(name, served).unwrap()).unwrap()
}

/// Every reference of a document, to be found in it.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

fn assert_complete(document: &Value) {
    let mut found = Vec::new();
    references(document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} refers to nothing");
    }
}

#[test]
fn clients_find_the_schema_the_patch_rules_and_field_validation() {
    let document = v3_of("apis/apps/v1", &[deployments()]);
    assert_complete(&document);
    let schemas = &document["components"]["schemas"];
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
    );
    let spec = &deployment["properties"]["spec"];
    assert_eq!(spec["default"], json!({}));
    assert_eq!(spec["allOf"], json!([{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]));
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let ports = &schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"];
    assert_eq!((&ports["default"], &ports["enum"]), (&json!("TCP"), &json!(["SCTP", "TCP", "UDP"])));
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    let names: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
}

#[test]
fn operations_have_the_identifiers_of_the_real_server() {
    let document = v3_of("apis/apps/v1", &[deployments()]);
    let id = |path: &str, method: &str| {
        document["paths"][path][method]["operationId"].as_str().unwrap().to_owned()
    };
    let all = "/apis/apps/v1/namespaces/{namespace}/deployments";
    assert_eq!(id(all, "get"), "listAppsV1NamespacedDeployment");
    assert_eq!(id(all, "delete"), "deleteAppsV1CollectionNamespacedDeployment");
    assert_eq!(id(&format!("{all}/{{name}}/scale"), "put"), "replaceAppsV1NamespacedDeploymentScale");
    assert_eq!(id("/apis/apps/v1/deployments", "get"), "listAppsV1DeploymentForAllNamespaces");
    assert_eq!(id("/apis/apps/v1/watch/deployments", "get"), "watchAppsV1DeploymentListForAllNamespaces");
    assert_eq!(id("/apis/apps/v1/", "get"), "getAppsV1APIResources");
}

#[test]
fn version_two_is_one_document() {
    let schema = packed(r#"{"type": "object"}"#);
    let widgets = widgets(&schema);
    let document: Value = serde_json::from_slice(&v2::json(&[deployments(), widgets], &[])).unwrap();
    assert_complete(&document);
    assert_eq!(document["swagger"], "2.0");
    assert_eq!(
        document["definitions"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]["$ref"],
        "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy"
    );
    assert!(document["definitions"]["com.example.v1.WidgetList"].is_object());
}

#[test]
fn discovery_is_described_but_for_that_of_custom_resources() {
    let schema = packed(r#"{"type": "object"}"#);
    let served = [deployments(), widgets(&schema)];
    let document: Value = serde_json::from_slice(&v2::json(&served, &[])).unwrap();
    let paths = document["paths"].as_object().unwrap();
    for path in ["/api/", "/apis/", "/apis/apps/", "/apis/apps/v1/", "/version/", "/openid/v1/jwks/"] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(paths.keys().all(|path| !matches!(&**path, "/apis/example.com/" | "/apis/example.com/v1/")));
    assert!(document["definitions"]["io.k8s.apimachinery.pkg.version.Info"].is_object());
    let version = &document["paths"]["/version/"]["get"];
    assert_eq!(version["consumes"], json!(["application/json"]));

    let document = v3_of(".well-known/openid-configuration", &served);
    assert!(document["paths"]["/.well-known/openid-configuration/"]["get"].is_object());
    assert!(!v3::hashes(&served).contains_key("apis/example.com"));
    let document = v3_of("apis/example.com/v1", &served);
    assert!(document["paths"].get("/apis/example.com/v1/").is_none());
}

#[test]
fn custom_resources_keep_their_schema_and_get_metadata() {
    let schema = json!({
        "type": "object",
        "description": "A thing.",
        "properties": {"spec": {"type": "object", "properties": {
            "size": {"type": "integer", "default": 1, "nullable": true},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}}}
        }}}
    });
    let schema = crate::custom::Schema::new(&schema);
    let document = v3_of("apis/example.com/v1", &[widgets(&schema)]);
    assert_complete(&document);
    let widget = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(widget["description"], "A thing.");
    assert_eq!(widget["properties"]["spec"]["properties"]["size"]["nullable"], true);
    assert!(widget["properties"]["metadata"]["allOf"].is_array());
    let patch = &document["paths"]["/apis/example.com/v1/widgets/{name}"]["patch"]["requestBody"]["content"];
    assert!(patch.get("application/strategic-merge-patch+json").is_none());

    let document: Value = serde_json::from_slice(&v2::json(&[widgets(&schema)], &[])).unwrap();
    let spec = &document["definitions"]["com.example.v1.Widget"]["properties"]["spec"]["properties"];
    assert_eq!(spec["size"], json!({}));
    assert!(spec["any"].get("properties").is_none());
}

#[test]
fn hashes_change_with_the_schema_only() {
    let one = &packed(r#"{"type": "object"}"#);
    let two = &packed(r#"{"type": "object", "description": "x"}"#);
    let before = v3::hashes(&[deployments(), widgets(one)]);
    let after = v3::hashes(&[deployments(), widgets(two)]);
    assert_eq!(before["apis/apps/v1"], after["apis/apps/v1"]);
    assert_ne!(before["apis/example.com/v1"], after["apis/example.com/v1"]);
    assert!(v3::document("apis/nope/v1", &[deployments()]).is_none());
    for name in before.keys() {
        assert!(v3::document(name, &[deployments(), widgets(one)]).is_some(), "{name}");
    }
}

#[test]
fn descriptions_are_unpacked_for_a_document() {
    let text = prose::Text::unpack();
    let prose = text.index();
    // A build without the sources of the prose has none.
    if prose.definition("io.k8s.api.core.v1.Pod").is_none() {
        return;
    }
    assert!(
        prose.definition("io.k8s.api.core.v1.Pod").unwrap().starts_with("Pod is a collection of containers")
    );
    assert!(prose.field("io.k8s.api.core.v1.PodSpec", "nodeName").is_some());
    assert!(prose.field("io.k8s.api.core.v1.PodSpec", "node").is_none());
}

#[test]
fn the_protobuf_form_has_every_path_and_definition() {
    let served = [deployments()];
    let document: Value = serde_json::from_slice(&v2::json(&served, &[])).unwrap();
    let bytes = v2::protobuf(&served, &[]);
    let (mut paths, mut definitions) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(&bytes);
    while let Some((tag, value)) = reader.field().unwrap() {
        let names = match tag {
            8 => &mut paths,
            9 => &mut definitions,
            _ => continue,
        };
        let mut inner = Reader::new(value.bytes().unwrap());
        while let Some((_, entry)) = inner.field().unwrap() {
            names.push(Reader::new(entry.bytes().unwrap()).field().unwrap().unwrap().1.text().unwrap());
        }
    }
    let keys = |name: &str| document[name].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    paths.sort();
    definitions.sort();
    assert_eq!(paths, keys("paths"));
    assert_eq!(definitions, keys("definitions"));
    assert!(matches!(Reader::new(&bytes).field().unwrap(), Some((1, Wire::Bytes(b"2.0")))));
}
