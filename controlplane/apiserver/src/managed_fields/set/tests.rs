// Literals read best where they are passed on.
#![allow(clippy::needless_pass_by_value)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn set(fields: Value) -> Set {
    Set::from_value(&fields).unwrap()
}

fn paths(set: &Set) -> Vec<String> {
    let mut out = Vec::new();
    set.for_each(&mut |path| out.push(path.iter().map(ToString::to_string).collect()));
    out
}

#[test]
fn reads_members_and_what_is_below_them() {
    let set = set(json!({"f:data": {".": {}, "f:a": {}}, "f:spec": {"f:b": {}}, "x:future": {}}));
    assert_eq!(paths(&set), [".data", ".data.a", ".spec.b"]);
    assert!(set.has(&[Element::Field("data".into())]));
    assert!(!set.has(&[Element::Field("spec".into())]));
    assert_eq!(set.len(), 3);
}

#[test]
fn members_come_before_what_is_below_their_siblings() {
    let set = set(json!({"f:spec": {"f:ports": {"k:{\"port\":81}": {"f:proto": {}}}, "f:size": {}}}));
    assert_eq!(paths(&set), [".spec.size", ".spec.ports[port=81].proto"]);
}

#[test]
fn writes_what_it_reads() {
    let fields = json!({"f:finalizers": {"v:\"x\"": {}}, "f:ports": {".": {},
        "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}},
        "k:{\"port\":443,\"protocol\":\"TCP\"}": {}}});
    assert_eq!(set(fields.clone()).to_value(), fields);
    assert_eq!(Set::default().to_value(), json!({}));
}

#[test]
fn refuses_fields_that_are_no_object() {
    assert!(Set::from_value(&json!({"f:a": 1})).is_err());
    assert!(Set::from_value(&json!({"a": {}})).is_err());
    assert_eq!(Set::from_value(&json!({"f:a": null})), Ok(Set::of_fields(&["a"])));
}

#[test]
fn a_parent_and_its_child_are_removed_apart() {
    let both = Set::of_fields(&["a", "a.b"]);
    assert_eq!(both.difference(&Set::of_fields(&["a"])), Set::of_fields(&["a.b"]));
    assert_eq!(both.difference(&Set::of_fields(&["a.b"])), Set::of_fields(&["a"]));
    let mut deep = Set::of_fields(&["a", "a.b", "c"]);
    deep.subtract_deep(&Set::of_fields(&["a"]));
    assert_eq!(deep, Set::of_fields(&["c"]));
}

#[test]
fn leaves_are_the_longest_paths() {
    assert_eq!(Set::of_fields(&["a", "a.b", "c"]).leaves(), Set::of_fields(&["a.b", "c"]));
}

fn elements() -> impl Strategy<Value = Element> {
    prop_oneof![
        "[a-c]".prop_map(Element::Field),
        (0..3_i64).prop_map(|n| Element::key(vec![("n".into(), n.into())])),
        (0..3_i64).prop_map(|n| Element::Value(n.into())),
    ]
}

fn sets() -> impl Strategy<Value = Set> {
    prop::collection::vec(prop::collection::vec(elements(), 1..4), 0..8).prop_map(|paths| {
        let mut set = Set::default();
        for path in paths {
            set.insert(path);
        }
        set
    })
}

proptest! {
    #[test]
    fn algebra_holds(a in sets(), b in sets(), c in sets()) {
        prop_assert_eq!(a.clone().union(b.clone()), b.clone().union(a.clone()));
        prop_assert_eq!(a.clone().union(a.clone()), a.clone());
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.difference(&b).union(a.intersection(&b)), a.clone());
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(
            a.difference(&b.clone().union(c.clone())),
            a.difference(&b).difference(&c)
        );
        prop_assert_eq!(a.clone().union(b.clone()).len() + a.intersection(&b).len(), a.len() + b.len());
    }

    #[test]
    fn json_survives_a_round_trip(a in sets()) {
        prop_assert_eq!(Set::from_value(&a.to_value()), Ok(a));
    }

    #[test]
    fn has_agrees_with_iteration(a in sets(), b in sets()) {
        let mut common = 0;
        a.for_each(&mut |path| {
            let path: Vec<Element> = path.iter().map(|element| (*element).clone()).collect();
            common += usize::from(b.has(&path));
        });
        prop_assert_eq!(common, a.intersection(&b).len());
    }
}
