use std::sync::Arc;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use serde_json::json;

use super::*;

struct Fixed;

impl Lookup for Fixed {
    fn config_map(&self, _: &str, name: &str) -> Option<Arc<ConfigMap>> {
        let data = Some(BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]));
        (name == "config").then(|| Arc::new(ConfigMap { data, ..ConfigMap::default() }))
    }

    fn secret(&self, _: &str, name: &str) -> Option<Arc<Secret>> {
        let data = Some(BTreeMap::from([("key".into(), ByteString(vec![0, 1]))]));
        (name == "vault").then(|| Arc::new(Secret { data, ..Secret::default() }))
    }
}

impl Claims for Fixed {
    fn claim(&self, _: &str, name: &str) -> Claim {
        match name {
            "bound" => Claim::Bound("/data/x".into()),
            "pending" | "p-scratch" => Claim::Pending,
            _ => Claim::Missing,
        }
    }
}

fn resolve_volume(source: &serde_json::Value) -> Result<Backing, VolumeError> {
    let mut volume = json!({"name": "v"});
    volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    let volume: Volume = serde_json::from_value(volume).unwrap();
    let pod: Pod = serde_json::from_value(json!({"metadata": {
        "name": "p", "namespace": "ns", "labels": {"app": "web"},
    }}))
    .unwrap();
    let facts = Facts {
        pod_ip: "127.64.0.1".parse().unwrap(),
        host_ip: "127.0.0.1".parse().unwrap(),
        allocatable: BTreeMap::new(),
    };
    let tokens = Tokens::from([(TokenRequest { audience: String::new(), seconds: 3607 }, "jwt".into())]);
    resolve(&volume, &pod, &facts, &Fixed, &tokens)
}

fn contents(backing: Backing) -> Vec<(String, String, u32)> {
    let Backing::Files(files) = backing else { return Vec::new() };
    let text = |file: &File| String::from_utf8_lossy(&file.bytes).into_owned();
    files.iter().map(|(path, file)| (path.display().to_string(), text(file), file.mode)).collect()
}

#[test]
fn config_maps_give_a_file_a_key() {
    let all = resolve_volume(&json!({"configMap": {"name": "config"}})).unwrap();
    assert_eq!(contents(all), [("a".into(), "1".into(), 0o644), ("b".into(), "2".into(), 0o644)]);
    let some = resolve_volume(&json!({"configMap": {
        "name": "config", "defaultMode": 0o400, "items": [{"key": "b", "path": "sub/dir/b.txt"}],
    }}))
    .unwrap();
    assert_eq!(contents(some), [("sub/dir/b.txt".into(), "2".into(), 0o400)]);
}

#[test]
fn projections_join_their_sources() {
    let joined = resolve_volume(&json!({"projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "config", "items": [{"key": "a", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        {"secret": {"name": "nope", "optional": true}},
    ]}}))
    .unwrap();
    let expected = [("ca.crt", "1"), ("namespace", "ns"), ("token", "jwt")];
    assert_eq!(contents(joined), expected.map(|(path, text)| (path.into(), text.into(), 0o644)));
}

#[test]
fn names_what_it_waits_for() {
    for (source, message) in [
        (
            json!({"configMap": {"name": "nope"}}),
            "MountVolume.SetUp failed for volume \"v\" : configmap \"nope\" not found",
        ),
        (
            json!({"secret": {"secretName": "vault", "items": [{"key": "x", "path": "x"}]}}),
            "MountVolume.SetUp failed for volume \"v\" : references non-existent secret key: x",
        ),
        (
            json!({"persistentVolumeClaim": {"claimName": "pending"}}),
            "pod has unbound immediate PersistentVolumeClaims",
        ),
        (
            json!({"ephemeral": {}}),
            "MountVolume.SetUp failed for volume \"v\" : persistentvolumeclaim \"p-v\" not found",
        ),
    ] {
        assert_eq!(resolve_volume(&source).unwrap_err().to_string(), message);
    }
}

#[test]
fn refuses_paths_that_leave_the_volume() {
    for path in ["../x", "/etc/passwd", "a/../../b", ""] {
        let source = json!({"configMap": {"name": "config", "items": [{"key": "a", "path": path}]}});
        assert!(matches!(resolve_volume(&source), Err(VolumeError::Path { .. })), "{path}");
    }
}

#[test]
fn claims_and_host_paths_are_directories_of_the_machine() {
    let claim = resolve_volume(&json!({"persistentVolumeClaim": {"claimName": "bound"}})).unwrap();
    assert_eq!(claim, Backing::Host { path: "/data/x".into(), create: true });
    let host = resolve_volume(&json!({"hostPath": {"path": "/srv"}})).unwrap();
    assert_eq!(host, Backing::Host { path: "/srv".into(), create: false });
    assert_eq!(resolve_volume(&json!({"emptyDir": {}})).unwrap(), Backing::Empty);
}

#[test]
fn finds_every_token_once() {
    let volumes: Vec<Volume> = serde_json::from_value(json!([
        {"name": "a", "projected": {"sources": [
            {"serviceAccountToken": {"path": "t", "expirationSeconds": 600}},
            {"serviceAccountToken": {"path": "u", "expirationSeconds": 600}},
            {"serviceAccountToken": {"path": "v", "audience": "vault"}},
        ]}},
        {"name": "b"},
    ]))
    .unwrap();
    let wanted = wanted_tokens(&volumes);
    assert_eq!(wanted.len(), 2);
    assert_eq!(wanted[1], TokenRequest { audience: "vault".into(), seconds: 3600 });
}
