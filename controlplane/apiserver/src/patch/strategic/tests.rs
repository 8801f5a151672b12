// Literals read best where they are passed on.
#![allow(clippy::needless_pass_by_value)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn ty(name: &str) -> Type<'static> {
    Type::builtin(name).unwrap()
}

fn patched(name: &str, mut object: Value, patch: Value) -> Result<Value, Error> {
    apply(&mut object, patch, ty(name)).map(|()| object)
}

fn pod_spec(object: Value, patch: Value) -> Value {
    patched("io.k8s.api.core.v1.PodSpec", object, patch).unwrap()
}

fn meta(object: Value, patch: Value) -> Value {
    patched("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", object, patch).unwrap()
}

fn two_containers() -> Value {
    json!({"containers": [
        {"name": "web", "image": "web:1", "args": ["x", "y"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81, "protocol": "UDP"}]},
        {"name": "side", "image": "side:1"}]})
}

fn names(object: &Value, list: &str, key: &str) -> Vec<String> {
    let items = object[list].as_array().unwrap();
    items.iter().map(|item| item[key].to_string().trim_matches('"').to_owned()).collect()
}

#[test]
fn containers_merge_by_name() {
    let patch = json!({"containers": [{"name": "web", "image": "web:2"}]});
    let patched = pod_spec(two_containers(), patch);
    assert_eq!(patched["containers"][0]["image"], "web:2");
    assert_eq!(patched["containers"][0]["args"], json!(["x", "y"]));
    assert_eq!(names(&patched, "containers", "name"), ["web", "side"]);
}

#[test]
fn a_new_container_comes_before_those_that_only_the_live_list_has() {
    let patch = json!({"containers": [{"name": "third", "image": "third:1"}]});
    let patched = pod_spec(two_containers(), patch);
    assert_eq!(names(&patched, "containers", "name"), ["third", "web", "side"]);
}

#[test]
fn items_are_deleted_by_directive() {
    let patch = json!({"containers": [{"name": "side", "$patch": "delete"},
        {"name": "web", "env": [{"name": "B", "$patch": "delete"}, {"name": "C", "value": "3"}]}]});
    let patched = pod_spec(two_containers(), patch);
    assert_eq!(names(&patched, "containers", "name"), ["web"]);
    assert_eq!(names(&patched["containers"][0], "env", "name"), ["C", "A"]);
}

#[test]
fn null_removes_a_field_of_an_item() {
    let patch = json!({"containers": [{"name": "web", "args": null,
        "env": [{"name": "A", "value": null, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]});
    let patched = pod_spec(two_containers(), patch);
    assert!(patched["containers"][0].get("args").is_none());
    assert_eq!(
        patched["containers"][0]["env"][0],
        json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    );
}

#[test]
fn lists_without_strategy_are_replaced() {
    let live = json!({"tolerations": [{"key": "t1"}], "containers": []});
    assert_eq!(
        pod_spec(live, json!({"tolerations": [{"key": "t2"}]}))["tolerations"],
        json!([{"key": "t2"}])
    );
}

#[test]
fn a_whole_merge_list_can_be_replaced() {
    let patch = json!({"containers": [{"$patch": "replace"}, {"name": "only", "image": "only:1"}]});
    assert_eq!(
        pod_spec(two_containers(), patch),
        json!({"containers": [{"name": "only", "image": "only:1"}]})
    );
}

#[test]
fn the_order_directive_rules() {
    let patch = json!({"$setElementOrder/containers": [{"name": "zero"}, {"name": "side"}, {"name": "web"}],
        "containers": [{"name": "zero", "image": "zero:1"}]});
    assert_eq!(names(&pod_spec(two_containers(), patch), "containers", "name"), ["zero", "side", "web"]);
    let only_order = json!({"$setElementOrder/containers": [{"name": "side"}, {"name": "web"}]});
    assert_eq!(names(&pod_spec(two_containers(), only_order), "containers", "name"), ["side", "web"]);
}

#[test]
fn the_order_directive_must_fit_the_patch() {
    let patch = json!({"$setElementOrder/containers": [{"name": "web"}],
        "containers": [{"name": "zero", "image": "zero:1"}]});
    let error = patched("io.k8s.api.core.v1.PodSpec", two_containers(), patch).unwrap_err();
    assert_eq!(
        error,
        Error::Unknown(
            "The order in patch list:\n[map[image:zero:1 name:zero]]\n doesn't match $setElementOrder list:\n[map[name:web]]\n"
                .into()
        )
    );
}

#[test]
fn sets_of_scalars_are_united_and_diminished() {
    let live = json!({"finalizers": ["a/a", "a/b"]});
    assert_eq!(
        meta(live.clone(), json!({"finalizers": ["a/c", "a/b"]}))["finalizers"],
        json!(["a/c", "a/a", "a/b"])
    );
    assert_eq!(
        meta(live.clone(), json!({"$deleteFromPrimitiveList/finalizers": ["a/a", "x"]}))["finalizers"],
        json!(["a/b"])
    );
    let both = json!({"$deleteFromPrimitiveList/finalizers": ["a/a", "a/b"],
        "$setElementOrder/finalizers": ["a/d"], "finalizers": ["a/d"]});
    assert_eq!(meta(live.clone(), both)["finalizers"], json!(["a/d"]));
    assert_eq!(meta(live, json!({"finalizers": null})), json!({}));
}

#[test]
fn maps_merge_and_can_be_replaced_or_emptied() {
    let live = json!({"nodeSelector": {"a": "b", "c": "d"}, "containers": []});
    let select = |patch| pod_spec(live.clone(), json!({"nodeSelector": patch}))["nodeSelector"].clone();
    assert_eq!(select(json!({"a": null, "e": "f"})), json!({"c": "d", "e": "f"}));
    assert_eq!(select(json!({"$patch": "replace", "x": "y"})), json!({"x": "y"}));
    assert_eq!(select(json!({"$patch": "delete"})), json!({}));
    let error =
        patched("io.k8s.api.core.v1.PodSpec", live.clone(), json!({"nodeSelector": {"$patch": "explode"}}));
    assert_eq!(
        error.unwrap_err(),
        Error::Unknown("unknown patch type: explode in map: map[$patch:explode]".into())
    );
}

#[test]
fn a_directive_for_what_does_not_exist_is_dropped() {
    let live = json!({"containers": []});
    assert_eq!(pod_spec(live.clone(), json!({"nodeSelector": {"$patch": "explode"}})), live);
    assert_eq!(
        pod_spec(
            json!({}),
            json!({"volumes": [{"name": "v", "$patch": "delete"}, {"name": "w", "x": null}]})
        ),
        json!({"volumes": [{"name": "w"}]})
    );
}

#[test]
fn retained_keys_are_all_that_stays() {
    let live = json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c"}}]});
    let patch =
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]});
    assert_eq!(
        pod_spec(live.clone(), patch),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}, {"name": "w", "configMap": {"name": "c"}}]})
    );
    let bad = json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "secret": {"secretName": "x"}}]});
    assert_eq!(
        patched("io.k8s.api.core.v1.PodSpec", live, bad),
        Err(Error::BadRequest("invalid patch format of retainKeys".into()))
    );
}

#[test]
fn an_item_without_its_merge_key_is_refused() {
    let patch = json!({"containers": [{"image": "x"}]});
    assert_eq!(
        patched("io.k8s.api.core.v1.PodSpec", two_containers(), patch),
        Err(Error::Unknown("map: map[image:x] does not contain declared merge key: name".into()))
    );
}

#[test]
fn malformed_directives_are_refused() {
    let refused = |patch| {
        let live = json!({"finalizers": ["a/a"]});
        patched("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", live, patch).unwrap_err()
    };
    assert_eq!(
        refused(json!({"$deleteFromPrimitiveList": ["x"]})),
        Error::BadRequest("invalid patch format of primitive list".into())
    );
    assert_eq!(
        refused(json!({"$setElementOrder/finalizers": "x"})),
        Error::Unknown("expected a []interface {}, but received a string".into())
    );
    assert_eq!(
        refused(json!({"finalizers": [1]})),
        Error::Unknown("list element types are not identical: [[a/a] [1]]".into())
    );
    assert_eq!(
        refused(json!([1])),
        Error::BadRequest(
            "json: cannot unmarshal array into Go value of type map[string]interface {}".into()
        )
    );
}

fn containers() -> impl Strategy<Value = Value> {
    let env = prop::collection::btree_map("[A-C]", "[xy]", 0..3).prop_map(|env| {
        env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Value>()
    });
    prop::collection::btree_map("[a-d]", (env, prop::option::of("[ij]")), 0..4).prop_map(|containers| {
        let container = |(name, (env, image)): (String, (Value, Option<String>))| match image {
            Some(image) => json!({"name": name, "env": env, "image": image}),
            None => json!({"name": name, "env": env}),
        };
        containers.into_iter().map(container).collect()
    })
}

fn keys(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

/// The patch of kubectl from one list of containers to another.
fn difference(from: &Value, to: &Value) -> Value {
    let gone = keys(from).into_iter().filter(|name| !keys(to).contains(name));
    let mut items: Vec<Value> = gone.map(|name| json!({"name": name, "$patch": "delete"})).collect();
    for item in to.as_array().into_iter().flatten() {
        let mut item = item.clone();
        if let Some(old) = from.as_array().unwrap().iter().find(|old| old["name"] == item["name"]) {
            let env = keys(&old["env"]).into_iter().filter(|name| !keys(&item["env"]).contains(name));
            let gone: Vec<Value> = env.map(|name| json!({"name": name, "$patch": "delete"})).collect();
            item["env"].as_array_mut().unwrap().extend(gone);
            if item.get("image").is_none() {
                item["image"] = Value::Null;
            }
        }
        items.push(item);
    }
    let order: Value = keys(to).into_iter().map(|name| json!({"name": name})).collect();
    json!({"containers": items, "$setElementOrder/containers": order})
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_list_to_the_other(from in containers(), to in containers()) {
        prop_assume!(from != json!([]) && to != json!([]));
        let patched = pod_spec(json!({"containers": from}), difference(&from, &to));
        prop_assert_eq!(&patched["containers"], &to);
    }

    #[test]
    fn patching_twice_is_patching_once(from in containers(), patch in containers()) {
        prop_assume!(patch != json!([]));
        let once = pod_spec(json!({"containers": from}), json!({"containers": patch}));
        prop_assert_eq!(pod_spec(once.clone(), json!({"containers": patch})), once);
    }

    #[test]
    fn merging_keeps_the_order_of_the_patch_and_of_the_rest(from in containers(), patch in containers()) {
        let merged = pod_spec(json!({"containers": from}), json!({"containers": patch}));
        let merged = keys(&merged["containers"]);
        let is_ordered = |names: Vec<&str>| {
            let places: Vec<_> = names.iter().map(|name| merged.iter().position(|other| other == name)).collect();
            places.is_sorted() && places.iter().all(Option::is_some)
        };
        prop_assert!(is_ordered(keys(&patch)));
        prop_assert!(is_ordered(keys(&from).into_iter().filter(|name| !keys(&patch).contains(name)).collect()));
    }
}
