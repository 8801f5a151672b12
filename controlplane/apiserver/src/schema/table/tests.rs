use super::*;
use crate::schema::types::{Keys, ListType};

fn object(name: &str) -> Object<'static> {
    match Type::builtin(name).unwrap().shape() {
        Shape::Object(object) => object,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn every_name_is_found_and_every_field_has_a_type() {
    for name in names() {
        assert_eq!(Type::builtin(name).unwrap().name(), Some(name));
        let object = object(name);
        for field in object.fields() {
            assert_eq!(object.field(field.name()).unwrap().tag(), field.tag());
            let _ = (field.ty().shape(), field.default(), field.always(), field.patch());
        }
    }
    assert!(Type::builtin("io.k8s.api.core.v1.Nope").is_none());
}

#[test]
fn containers_merge_by_name_and_are_a_map_for_apply() {
    let field = object("io.k8s.api.core.v1.PodSpec").field("containers").unwrap();
    assert_eq!(field.tag(), 2);
    assert!(field.required());
    assert_eq!(field.patch(), PatchStrategy { merge: true, retain_keys: false, merge_key: Some("name") });
    let Shape::List(list) = field.ty().shape() else { panic!() };
    assert_eq!(list.list_type(), ListType::Map(Keys::Builtin("name")));
    assert_eq!(list.items().name(), Some("io.k8s.api.core.v1.Container"));
}

#[test]
fn ports_have_two_keys_and_a_default_protocol() {
    let ports = object("io.k8s.api.core.v1.Container").field("ports").unwrap();
    let Shape::List(list) = ports.ty().shape() else { panic!() };
    assert_eq!(list.list_type(), ListType::Map(Keys::Builtin("containerPort,protocol")));
    let protocol = object("io.k8s.api.core.v1.ContainerPort").field("protocol").unwrap();
    assert_eq!(protocol.default(), Some("TCP".into()));
    assert_eq!(protocol.values().unwrap().collect::<Vec<_>>(), ["SCTP", "TCP", "UDP"]);
    assert_eq!(protocol.go_type(), Some("v1.Protocol"));
}

#[test]
fn selectors_are_atomic() {
    let selector = object("io.k8s.api.core.v1.ServiceSpec").field("selector").unwrap();
    let Shape::Map(map) = selector.ty().shape() else { panic!() };
    assert_eq!(map.map_type(), MapType::Atomic);
    assert_eq!(object("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector").map_type(), MapType::Atomic);
    assert_eq!(object("io.k8s.api.core.v1.PodSpec").map_type(), MapType::Granular);
}

#[test]
fn structs_that_are_no_pointers_are_always_shown() {
    let always = |message: &str, field: &str| object(message).field(field).unwrap().always();
    assert!(always("io.k8s.api.apps.v1.Deployment", "status"));
    assert!(always("io.k8s.api.apps.v1.DeploymentSpec", "strategy"));
    assert!(always("io.k8s.api.core.v1.Container", "resources"));
    assert!(always("io.k8s.api.core.v1.ServiceStatus", "loadBalancer"));
    assert!(always("io.k8s.api.core.v1.Event", "eventTime"));
    assert!(!always("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "creationTimestamp"));
    assert!(!always("io.k8s.api.core.v1.PodSpec", "securityContext"));
    assert!(!always("io.k8s.api.apps.v1.DeploymentSpec", "replicas"));
}

#[test]
fn embedded_structs_are_fields_in_json_and_messages_in_protobuf() {
    let volume = object("io.k8s.api.core.v1.Volume");
    assert_eq!(volume.field("emptyDir").unwrap().tag(), 0);
    assert!(volume.field("volume_source").is_none());
    let embedded: Vec<_> = volume.embedded_messages().map(|(tag, ty)| (tag, ty.name())).collect();
    assert_eq!(embedded, [(2, Some("io.k8s.api.core.v1.VolumeSource"))]);
}
