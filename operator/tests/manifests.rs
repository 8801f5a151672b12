//! What `config/` holds is what the code generates. `VKUBE_UPDATE=1 cargo test -p vkube-operator --test manifests`
//! rewrites it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vkube_operator::install::{self, DEFAULT_IMAGE, documents};
use vkube_operator::{install_manifests, install_yaml};

/// Stand-ins for values that Helm fills in.
const CHART_IMAGE: &str = "{{ .Values.image }}";
/// Helm deletes what carries no such annotation.
const KEEP: &str =
    "metadata:\n{{- if .Values.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n{{- end }}\n";

#[test]
fn install_yaml_is_up_to_date() {
    check("install.yaml", &install_yaml(DEFAULT_IMAGE));
}

#[test]
fn kustomize_bases_are_up_to_date() {
    check("rbac/rbac.yaml", &documents(&install::rbac()));
    check("manager/namespace.yaml", &documents(&[install::namespace()]));
    check("manager/manager.yaml", &documents(&install::manager(DEFAULT_IMAGE)));
    check("admission/admission.yaml", &documents(&install::admission()));
    check("prometheus/monitoring.yaml", &documents(&install::monitoring()));
    let [crds, rbac] = install::cluster_api();
    check("cluster-api/crds.yaml", &documents(&crds));
    check("cluster-api/rbac.yaml", &documents(&rbac));
}

#[test]
fn chart_is_up_to_date() {
    for (file, text) in chart() {
        check(&format!("chart/{file}"), &text);
    }
}

#[test]
fn the_chart_of_crds_is_up_to_date() {
    for (file, crd) in ["virtualclusters.yaml", "virtualclusterpolicies.yaml"].iter().zip(install::crds()) {
        let text = documents(&[crd]).replacen("metadata:\n", KEEP, 1);
        assert!(text.contains(KEEP), "{text}");
        check(&format!("chart-crds/templates/{file}"), &text);
    }
}

/// Renders the chart with its default values as Helm would, for the few constructs that it uses.
#[test]
fn the_chart_renders_to_the_same_objects() {
    let values: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(config("chart/values.yaml")).unwrap()).unwrap();
    let mut rendered: Vec<Value> = chart()
        .into_iter()
        .flat_map(|(_, text)| parse(&render(&text, &values)))
        .map(|mut object| {
            // Helm leaves empty maps and lists where nothing is chosen.
            prune(&mut object);
            object
        })
        .collect();
    let mut expected: Vec<Value> =
        install_manifests(DEFAULT_IMAGE).iter().map(|object| serde_json::to_value(object).unwrap()).collect();
    // Helm makes the namespace itself.
    expected.retain(|object| object["kind"] != "Namespace");
    for object in &mut expected {
        prune(object);
    }
    let key = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
    rendered.sort_by_key(key);
    expected.sort_by_key(key);
    for (rendered, expected) in rendered.iter().zip(&expected) {
        assert_eq!(rendered, expected);
    }
    assert_eq!(rendered.len(), expected.len());
}

#[test]
fn the_chart_renders_monitoring_and_cluster_api_if_asked() {
    let mut values: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(config("chart/values.yaml")).unwrap()).unwrap();
    let args = "/spec/template/spec/containers/0/args";
    for (asked, file, expected) in [
        ("monitoring", "templates/monitoring.yaml", install::monitoring()),
        ("clusterAPI", "templates/cluster-api.yaml", install::cluster_api().concat()),
    ] {
        let template = |file| chart().into_iter().find(|(found, _)| *found == file).unwrap().1;
        assert_eq!(parse(&render(&template(file), &values)), Vec::<Value>::new());
        let before = parse(&render(&template("templates/manager.yaml"), &values));
        values[asked] = true.into();
        assert_eq!(parse(&render(&template(file), &values)), parse(&documents(&expected)));
        let after = parse(&render(&template("templates/manager.yaml"), &values));
        let arguments = |objects: &[Value]| {
            let found = objects.iter().find_map(|object| object.pointer(args)).unwrap();
            found.as_array().unwrap().len()
        };
        assert_eq!(arguments(&after) - arguments(&before), usize::from(asked == "clusterAPI"));
    }
}

/// A misspelt field would be dropped by the type and missing from what comes back.
#[test]
fn every_manifest_is_of_its_type() {
    for object in install_manifests("image") {
        let value = serde_json::to_value(&object).unwrap();
        let kind = value["kind"].as_str().unwrap().to_owned();
        let typed = match kind.as_str() {
            "Namespace" => round::<Namespace>(&value),
            "CustomResourceDefinition" => round::<CustomResourceDefinition>(&value),
            "ServiceAccount" => round::<ServiceAccount>(&value),
            "ClusterRole" => round::<ClusterRole>(&value),
            "ClusterRoleBinding" => round::<ClusterRoleBinding>(&value),
            "Role" => round::<Role>(&value),
            "RoleBinding" => round::<RoleBinding>(&value),
            "PriorityClass" => round::<PriorityClass>(&value),
            "ValidatingAdmissionPolicy" => round::<ValidatingAdmissionPolicy>(&value),
            "ValidatingAdmissionPolicyBinding" => round::<ValidatingAdmissionPolicyBinding>(&value),
            "NetworkPolicy" => round::<NetworkPolicy>(&value),
            "Service" => round::<Service>(&value),
            "Deployment" => round::<Deployment>(&value),
            other => panic!("no type for {other}"),
        };
        assert_eq!(typed, value, "{kind}");
    }
}

/// Real RBAC refuses to grant what the granter lacks; binding named roles is the one exception that is asked for.
#[test]
fn the_operator_can_grant_nothing_but_its_own_roles() {
    let role = install_manifests("image")
        .into_iter()
        .find(|object| {
            object.types.as_ref().unwrap().kind == "ClusterRole"
                && object.metadata.name.as_deref() == Some(install::OPERATOR)
        })
        .unwrap();
    for rule in role.data["rules"].as_array().unwrap() {
        let text = rule.to_string();
        assert!(
            !text.contains("\"*\"") && !text.contains("escalate") && !text.contains("impersonate"),
            "{text}"
        );
        assert!(!text.contains("\"secrets\""), "no Secret outside the namespaces of clusters: {text}");
        if text.contains("bind\"]") {
            assert!(rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty()), "{text}");
        }
    }
}

/// The templates that are the manifests with Helm's placeholders in them.
fn chart() -> Vec<(&'static str, String)> {
    let place = |text: String| text.replace(install::NAMESPACE, "{{ .Release.Namespace }}");
    let manager = documents(&install::manager(CHART_IMAGE))
        .replace("replicas: 1\n", "replicas: {{ .Values.replicas }}\n")
        .replace(
            "        resources:\n          limits:\n            memory: 256Mi\n          requests:\n            cpu: 20m\n            memory: 32Mi\n",
            "        resources: {{ toJson .Values.resources }}\n        imagePullPolicy: {{ toJson .Values.imagePullPolicy }}\n",
        )
        .replace(
            "      enableServiceLinks: false\n",
            "      enableServiceLinks: false\n      nodeSelector: {{ toJson .Values.nodeSelector }}\n      tolerations: {{ toJson .Values.tolerations }}\n",
        )
        .replace(
            "        - 0.0.0.0:8080\n",
            "        - 0.0.0.0:8080\n{{- if .Values.clusterAPI }}\n        - --cluster-api\n{{- end }}\n",
        );
    vec![
        ("crds/virtualclusters.yaml", documents(&install::crds()[..1])),
        ("crds/virtualclusterpolicies.yaml", documents(&install::crds()[1..])),
        ("templates/rbac.yaml", place(documents(&install::rbac()))),
        ("templates/admission.yaml", documents(&install::admission())),
        ("templates/manager.yaml", place(manager)),
        (
            "templates/monitoring.yaml",
            optional("monitoring", &place(escape(&documents(&install::monitoring())))),
        ),
        (
            "templates/cluster-api.yaml",
            optional("clusterAPI", &place(escape(&documents(&install::cluster_api().concat())))),
        ),
    ]
}

/// A template that is there only if a value says so.
fn optional(value: &str, text: &str) -> String {
    format!("{{{{- if .Values.{value} }}}}\n{text}{{{{- end }}}}\n")
}

/// What Prometheus and Grafana fill in is none of Helm's.
fn escape(text: &str) -> String {
    let marked = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    marked.replace('\u{1}', "{{ \"{{\" }}").replace('\u{2}', "{{ \"}}\" }}")
}

fn render(template: &str, values: &Value) -> String {
    let mut text = String::new();
    let mut left_out = false;
    for line in template.lines() {
        if let Some(value) = line.strip_prefix("{{- if .Values.").and_then(|rest| rest.strip_suffix(" }}")) {
            left_out = values[value] != true;
        } else if line == "{{- end }}" {
            left_out = false;
        } else if !left_out {
            text.push_str(line);
            text.push('\n');
        }
    }
    text = text.replace("{{ .Release.Namespace }}", install::NAMESPACE);
    for (name, value) in values.as_object().unwrap() {
        let plain = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        text = text.replace(&format!("{{{{ .Values.{name} }}}}"), &plain);
        text = text.replace(&format!("{{{{ toJson .Values.{name} }}}}"), &value.to_string());
    }
    text = text.replace("{{ \"{{\" }}", "\u{1}").replace("{{ \"}}\" }}", "\u{2}");
    assert!(!text.contains("{{"), "{text}");
    text.replace('\u{1}', "{{").replace('\u{2}', "}}")
}

fn parse(text: &str) -> Vec<Value> {
    text.split("---\n")
        .filter(|text| !text.is_empty())
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

fn prune(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(prune);
        map.retain(|key, value| {
            let empty = value.is_null()
                || value.as_str() == Some("")
                || value.as_object().is_some_and(serde_json::Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty);
            !empty || key == "subresources" || key == "status"
        });
    } else if let Value::Array(list) = value {
        list.iter_mut().for_each(prune);
    }
}

fn round<T: DeserializeOwned + Serialize>(value: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(value.clone()).unwrap()).unwrap()
}

fn check(file: &str, generated: &str) {
    let path = config(file);
    if std::env::var_os("VKUBE_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "config/{file} is stale: run `VKUBE_UPDATE=1 cargo test -p vkube-operator --test manifests`"
    );
}

fn config(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(file)
}
