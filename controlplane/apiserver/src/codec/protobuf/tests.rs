mod laws;

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::{
    decode as schema,
    table::names,
    types::{Scalar, Shape},
};

fn builtin(name: &str) -> Type<'static> {
    Type::builtin(name).unwrap()
}

const CONFIG_MAP: &str = "io.k8s.api.core.v1.ConfigMap";

/// A message as pairs of tag and value, for messages without numbers of eight bytes.
fn tree(bytes: &[u8], messages: &[&[u32]], path: &mut Vec<u32>) -> Value {
    let mut reader = Reader::new(bytes);
    let mut fields = Vec::new();
    while let Some((tag, value)) = reader.field().unwrap() {
        path.push(tag);
        fields.push(json!([
            tag,
            match value {
                wire::Wire::Number(number) => json!(number),
                wire::Wire::Bytes(bytes) if messages.contains(&path.as_slice()) =>
                    tree(bytes, messages, path),
                other => json!(other.text().unwrap()),
            }
        ]));
        path.pop();
    }
    Value::Array(fields)
}

#[test]
fn bytes_of_a_client_are_read() {
    let bytes =
        STANDARD.decode("azhzAAoPCgJ2MRIJQ29uZmlnTWFwEhoKDAoCcGJaBgoBbBIBdhIKCgFrEgV2YWx1ZQ==").unwrap();
    assert_eq!(
        decode(&bytes, builtin(CONFIG_MAP)).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "pb", "labels": {"l": "v"}},
            "data": {"k": "value"}
        })
    );
}

#[test]
fn errors_are_those_of_go() {
    let error = |bytes: &[u8]| decode(bytes, builtin(CONFIG_MAP)).unwrap_err().to_string();
    assert_eq!(
        error(b"nope"),
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    );
    assert_eq!(error(b"k8s\0\x0a\xff"), "unexpected EOF");
    assert_eq!(error(b"k8s\0"), "empty body");
    assert_eq!(error(b""), "empty data");
}

#[test]
fn a_service_is_written_field_by_field_as_go_does() {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "pbs", "namespace": "ns", "creationTimestamp": "1970-01-01T00:01:00Z"},
        "spec": {
            "clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack", "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": 80}],
            "sessionAffinity": "None", "type": "ClusterIP"
        },
        "status": {"loadBalancer": {}}
    });
    let bytes = encode(&service, builtin("io.k8s.api.core.v1.Service"));
    let messages: &[&[u32]] = &[&[1], &[2], &[2, 1], &[2, 1, 8], &[2, 2], &[2, 2, 1], &[2, 2, 1, 4], &[2, 3]];
    assert_eq!(
        tree(&bytes[4..], messages, &mut Vec::new()),
        json!([
            [1, [[1, "v1"], [2, "Service"]]],
            [
                2,
                [
                    [
                        1,
                        [
                            [1, "pbs"],
                            [2, ""],
                            [3, "ns"],
                            [4, ""],
                            [5, ""],
                            [6, ""],
                            [7, 0],
                            [8, [[1, 60], [2, 0]]]
                        ]
                    ],
                    [
                        2,
                        [
                            [1, [[1, "web"], [2, "TCP"], [3, 80], [4, [[1, 0], [2, 80], [3, ""]]], [5, 0]]],
                            [3, "None"],
                            [4, "ClusterIP"],
                            [7, "None"],
                            [8, ""],
                            [10, ""],
                            [11, ""],
                            [12, 0],
                            [13, 0],
                            [17, "RequireDualStack"],
                            [18, "None"],
                            [19, "IPv4"],
                            [19, "IPv6"],
                            [22, "Cluster"]
                        ]
                    ],
                    [3, [[1, ""]]]
                ]
            ],
            [3, ""],
            [4, ""]
        ])
    );
}

#[test]
fn verbs_are_wrapped_and_lists_have_items() {
    let list = json!({
        "apiVersion": "v1", "kind": "APIResourceList", "groupVersion": "events.k8s.io/v1",
        "resources": [{
            "name": "events", "namespaced": true, "kind": "Event", "verbs": ["create", "watch"],
            "shortNames": ["ev"], "singularName": "event", "storageVersionHash": "h"
        }]
    });
    let bytes = encode(&list, builtin("io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList"));
    assert_eq!(
        tree(&bytes[4..], &[&[2], &[2, 2], &[2, 2, 4]], &mut Vec::new())[1],
        json!([
            2,
            [
                [1, "events.k8s.io/v1"],
                [
                    2,
                    [
                        [1, "events"],
                        [2, 1],
                        [3, "Event"],
                        [4, [[1, "create"], [1, "watch"]]],
                        [5, "ev"],
                        [6, "event"],
                        [8, ""],
                        [9, ""],
                        [10, "h"]
                    ]
                ]
            ]
        ])
    );
    assert_eq!(list_of(builtin(CONFIG_MAP)).unwrap().name(), Some("io.k8s.api.core.v1.ConfigMapList"));
}

#[test]
fn events_of_a_watch_are_framed() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let frame = watch_frame("ADDED", &object, builtin(CONFIG_MAP));
    assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
    let mut reader = Reader::new(&frame[4..]);
    assert_eq!(reader.field().unwrap().unwrap().1.text().unwrap(), "ADDED");
    let raw = reader.field().unwrap().unwrap().1.bytes().unwrap();
    let inner = Reader::new(raw).field().unwrap().unwrap().1.bytes().unwrap();
    assert_eq!(inner, encode(&object, builtin(CONFIG_MAP)));
}

/// A document with every field of a type set, a few levels deep.
fn full(ty: Type<'_>, depth: usize) -> Value {
    match ty.shape() {
        Shape::Object(object) if depth > 3 => {
            let _ = object;
            json!({})
        }
        Shape::Object(object) => {
            object.fields().map(|f| (f.name().to_owned(), full(f.ty(), depth + 1))).collect()
        }
        Shape::Map(map) => json!({"a": full(map.values(), depth + 1), "b": full(map.values(), depth + 1)}),
        Shape::List(list) => json!([full(list.items(), depth + 1)]),
        Shape::Any if ty.any_form() == crate::schema::table::AnyForm::Raw => json!({"x": [1, null, "y"]}),
        Shape::Any => json!({"type": "string"}),
        Shape::Scalar(scalar) => match scalar {
            Scalar::String => json!("text"),
            Scalar::Bytes => json!("AAH/"),
            Scalar::Boolean => json!(true),
            Scalar::Int32 => json!(-7),
            Scalar::Int64 => json!(1_i64 << 40),
            Scalar::Double => json!(1.5),
            Scalar::Quantity => json!("100m"),
            Scalar::IntOrString => json!("25%"),
            Scalar::Time => json!("2024-01-02T03:04:05Z"),
            Scalar::MicroTime => json!("2024-01-02T03:04:05.600000Z"),
            Scalar::Duration => json!("1h"),
        },
    }
}

/// Whether all fields but `kind` and `apiVersion` have tags, so that nothing is lost.
fn has_tags(name: &str) -> bool {
    !name.contains(".pkg.version.")
}

#[test]
fn every_type_survives_the_way_there_and_back() {
    for name in names().filter(|n| has_tags(n)) {
        let ty = builtin(name);
        let document = schema::decode(full(ty, 0), ty).unwrap().0;
        let once = schema::decode(decode(&encode(&document, ty), ty).unwrap(), ty).unwrap().0;
        let twice = schema::decode(decode(&encode(&once, ty), ty).unwrap(), ty).unwrap().0;
        assert_eq!(once, twice, "{name}");
        assert_eq!(without_types(&once), without_types(&document), "{name}");
    }
}

/// Without `kind` and `apiVersion` where protobuf does not carry them: in objects within objects.
fn without_types(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .filter(|(key, _)| !["kind", "apiVersion"].contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), without_types(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_types).collect(),
        other => other.clone(),
    }
}

#[test]
fn zero_values_survive_too() {
    for name in names() {
        let ty = builtin(name);
        let zero = schema::zero(ty);
        let back = schema::decode(decode(&encode(&zero, ty), ty).unwrap(), ty).unwrap().0;
        assert_eq!(back, zero, "{name}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut input = b"k8s\0\x0a\x00\x12".to_vec();
        wire::varint(&mut input, bytes.len() as u64);
        input.extend(bytes);
        let _ = decode(&input, builtin("io.k8s.api.core.v1.Pod"));
    }
}
