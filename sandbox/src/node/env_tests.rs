use std::sync::Arc;

use k8s_openapi::{ByteString, apimachinery::pkg::api::resource::Quantity};
use serde_json::json;

use super::*;

struct Fixed;

impl Lookup for Fixed {
    fn config_map(&self, _: &str, name: &str) -> Option<Arc<ConfigMap>> {
        let data = Some(BTreeMap::from([("color".into(), "blue".into())]));
        (name == "config").then(|| Arc::new(ConfigMap { data, ..ConfigMap::default() }))
    }

    fn secret(&self, _: &str, name: &str) -> Option<Arc<Secret>> {
        let data = Some(BTreeMap::from([("key".into(), ByteString(b"s3cret".to_vec()))]));
        (name == "vault").then(|| Arc::new(Secret { data, ..Secret::default() }))
    }
}

fn resolve_env(env: &serde_json::Value) -> Result<BTreeMap<String, String>, EnvError> {
    let mut container = json!({"name": "c"});
    container.as_object_mut().unwrap().extend(env.as_object().unwrap().clone());
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [container]},
    }))
    .unwrap();
    let facts = Facts {
        pod_ip: "127.64.0.1".parse().unwrap(),
        host_ip: "127.0.0.1".parse().unwrap(),
        allocatable: BTreeMap::from([("cpu".into(), Quantity("2".into()))]),
    };
    let base = BTreeMap::from([("BASE".into(), "base".into())]);
    resolve(&pod.spec.as_ref().unwrap().containers[0], &pod, &facts, base, &Fixed)
}

#[test]
fn later_variables_see_earlier_ones() {
    let env = resolve_env(&json!({
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "config"}}, {"secretRef": {"name": "vault"}}],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(P_color)-$(BASE)-$(NONE)-$$(A)"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "key"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
    }))
    .unwrap();
    assert_eq!(env["B"], "1-blue-base-$(NONE)-$(A)");
    assert_eq!(env["IP"], "127.64.0.1");
    assert_eq!((env["KEY"].as_str(), env["key"].as_str()), ("s3cret", "s3cret"));
    assert_eq!(env["CPU"], "2");
}

#[test]
fn names_what_is_missing() {
    let missing = resolve_env(&json!({"envFrom": [{"configMapRef": {"name": "nope"}}]})).unwrap_err();
    assert_eq!(missing.to_string(), "configmap \"nope\" not found");
    let key = json!({"env": [
        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "nope"}}},
    ]});
    assert_eq!(resolve_env(&key).unwrap_err().to_string(), "couldn't find key nope in Secret ns/vault");
}

#[test]
fn skips_optional_sources() {
    let env = resolve_env(&json!({
        "envFrom": [{"secretRef": {"name": "nope", "optional": true}}],
        "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "k", "optional": true}}}],
    }))
    .unwrap();
    assert_eq!(env.keys().collect::<Vec<_>>(), ["BASE"]);
}

#[test]
fn services_give_variables() {
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "my-db"},
        "spec": {"clusterIP": "127.96.0.9", "ports": [{"name": "sql", "port": 5432}]},
    }))
    .unwrap();
    let headless: Service = serde_json::from_value(json!({
        "metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]},
    }))
    .unwrap();
    let env = service_links([&service, &headless].into_iter());
    assert_eq!(env["MY_DB_SERVICE_HOST"], "127.96.0.9");
    assert_eq!(env["MY_DB_SERVICE_PORT_SQL"], "5432");
    assert_eq!(env["MY_DB_PORT_5432_TCP"], "tcp://127.96.0.9:5432");
    assert!(!env.keys().any(|name| name.starts_with("HEADLESS")));
}
