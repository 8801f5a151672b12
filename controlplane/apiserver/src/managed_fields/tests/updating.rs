use super::*;

fn created(object: Value, request: &Request<'_>) -> Value {
    let mut object = object;
    on_update(None, &mut object, request);
    stored(object)
}

fn updated(live: &Value, mut object: Value, request: &Request<'_>) -> Value {
    object["metadata"]["uid"] = live["metadata"]["uid"].clone();
    on_update(Some(live), &mut object, request);
    object
}

#[test]
fn a_creator_owns_what_it_set() {
    let live = created(config_map(json!({"a": "1"})), &config_maps());
    assert_eq!(
        owners(&live),
        BTreeMap::from([("alice Update".into(), vec![".data".into(), ".data.a".into()])])
    );
    assert_eq!(times(&live), [("alice".into(), Some("2023-11-14T22:13:20Z".into()))]);
}

#[test]
fn nobody_owns_what_every_new_object_has() {
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                {"name": "c", "image": "i", "resources": {}}], "securityContext": {}}}},
        "status": {"replicas": 3}});
    let live = created(object, &deployments());
    assert_eq!(
        live["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:strategy": {"f:type": {}}, "f:template": {
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}},
                "f:securityContext": {}}}}})
    );
}

#[test]
fn an_updater_takes_what_it_changes_and_loses_nothing_else() {
    let live = created(config_map(json!({"a": "1", "b": "2"})), &config_maps());
    let bob = Request { manager: "bob", now: at(60), ..config_maps() };
    let mut object = live.clone();
    object["data"] = json!({"a": "x", "b": "2", "c": "3"});
    let live = updated(&live, object, &bob);
    assert_eq!(owns(&live, "alice Update"), [".data", ".data.b"]);
    assert_eq!(owns(&live, "bob Update"), [".data.a", ".data.c"]);
    assert_eq!(
        times(&live),
        [
            ("alice".into(), Some("2023-11-14T22:13:20Z".into())),
            ("bob".into(), Some("2023-11-14T22:14:20Z".into()))
        ]
    );
}

#[test]
fn what_is_removed_has_no_owner_and_no_new_time() {
    let live = created(config_map(json!({"a": "1", "b": "2"})), &config_maps());
    let later = Request { now: at(60), ..config_maps() };
    let mut object = live.clone();
    object["data"] = json!({"a": "1"});
    let live = updated(&live, object, &later);
    assert_eq!(owns(&live, "alice Update"), [".data", ".data.a"]);
    assert_eq!(times(&live), [("alice".into(), Some("2023-11-14T22:13:20Z".into()))]);
}

#[test]
fn a_client_that_drops_managed_fields_changes_nothing() {
    let live = created(config_map(json!({"a": "1"})), &config_maps());
    let object = config_map(json!({"a": "1"}));
    assert_eq!(updated(&live, object, &config_maps())["metadata"], live["metadata"]);
}

#[test]
fn managed_fields_can_be_reset_and_then_stay_away() {
    let live = created(config_map(json!({"a": "1"})), &config_maps());
    for reset in [json!([]), json!([{}])] {
        let mut object = live.clone();
        object["metadata"]["managedFields"] = reset;
        let live = updated(&live, object, &config_maps());
        assert_eq!(live["metadata"].get("managedFields"), None);
        let mut object = live.clone();
        object["data"]["a"] = "2".into();
        assert_eq!(updated(&live, object, &config_maps())["metadata"].get("managedFields"), None);
    }
}

#[test]
fn managed_fields_of_the_client_are_taken_unless_broken_or_through_a_subresource() {
    let live = created(config_map(json!({"a": "1"})), &config_maps());
    let mut object = live.clone();
    object["metadata"]["managedFields"][0]["manager"] = "carol".into();
    assert_eq!(owns(&updated(&live, object.clone(), &config_maps()), "carol Update"), [".data", ".data.a"]);
    let through_status = Request { subresource: "status", ..config_maps() };
    assert_eq!(owns(&updated(&live, object.clone(), &through_status), "alice Update"), [".data", ".data.a"]);
    object["metadata"]["managedFields"][0]["operation"] = "Nonsense".into();
    assert_eq!(owns(&updated(&live, object, &config_maps()), "alice Update"), [".data", ".data.a"]);
}

#[test]
fn status_has_its_own_entry() {
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1}, "status": {}});
    let live = created(object, &deployments());
    let status = Request {
        subresource: "status",
        reset: &Reset::Fields(&["spec", "metadata.labels"]),
        ..deployments()
    };
    let mut object = live.clone();
    object["status"] = json!({"replicas": 1});
    object["metadata"]["labels"] = json!({"a": "b"});
    let live = updated(&live, object, &status);
    assert_eq!(owns(&live, "alice Update status"), [".status.replicas"]);
    assert_eq!(owns(&live, "alice Update"), [".spec.replicas"]);
}

#[test]
fn old_update_entries_are_merged_when_there_are_too_many() {
    let mut live = created(config_map(json!({})), &config_maps());
    for n in 0..12 {
        let manager = format!("m{n:02}");
        let writer = Request { manager: &manager, now: at(n), ..config_maps() };
        let mut object = live.clone();
        object["data"][&manager] = "x".into();
        live = updated(&live, object, &writer);
    }
    let owners = owners(&live);
    assert_eq!(owners.len(), 10);
    assert_eq!(owners["ancient-changes Update"], [".data", ".data.m00", ".data.m01", ".data.m02"]);
}

#[test]
fn entries_of_versions_that_are_gone_go() {
    let live = created(config_map(json!({"a": "1"})), &config_maps());
    let mut object = live.clone();
    object["metadata"]["managedFields"][0]["apiVersion"] = "v0".into();
    let live = updated(&live, object, &config_maps());
    assert_eq!(live["metadata"].get("managedFields"), None);
}

#[test]
fn entries_of_other_versions_are_compared_there() {
    let schema = widget_schema();
    let live = created(widget(json!({"size": 1, "on": true})), &widgets(&schema));
    let convert = |object: &Value, version: &str| {
        let mut object = object.clone();
        object["apiVersion"] = version.into();
        matches!(version, "x.dev/v1" | "x.dev/v2").then_some((object, Type::Custom(&schema)))
    };
    let mut live_v2 = live.clone();
    live_v2["apiVersion"] = "x.dev/v2".into();
    let mut object = live_v2.clone();
    object["spec"]["size"] = 2.into();
    let v2 = Request { manager: "bob", api_version: "x.dev/v2", convert: Some(&convert), ..widgets(&schema) };
    let live = updated(&live_v2, object, &v2);
    assert_eq!(owns(&live, "alice Update"), [".spec", ".spec.on"]);
    assert_eq!(owns(&live, "bob Update"), [".spec.size"]);
}

#[test]
fn duplicates_in_keyed_lists_are_owned_together() {
    let schema = widget_schema();
    let twice = |a: &str, b: &str| {
        widget(json!({"ports": [{"port": 1, "proto": a}, {"port": 1, "proto": b}, {"port": 2}]}))
    };
    let live = created(twice("a", "b"), &widgets(&schema));
    assert_eq!(
        owns(&live, "alice Update"),
        [".spec", ".spec.ports", ".spec.ports[port=1]", ".spec.ports[port=2]", ".spec.ports[port=2].port"]
    );
    let bob = Request { manager: "bob", ..widgets(&schema) };
    let live = updated(&live, twice("a", "c"), &bob);
    assert_eq!(owns(&live, "bob Update"), [".spec.ports[port=1]"]);
    let live = updated(&live, widget(json!({"ports": [{"port": 1, "proto": "a"}, {"port": 2}]})), &bob);
    assert_eq!(
        owns(&live, "bob Update"),
        [".spec.ports[port=1]", ".spec.ports[port=1].port", ".spec.ports[port=1].proto"]
    );
}

#[test]
fn a_list_that_cannot_be_compared_costs_the_managed_fields_only() {
    let schema = widget_schema();
    let live = created(widget(json!({"size": 1})), &widgets(&schema));
    let object = updated(&live, widget(json!({"ports": [null]})), &widgets(&schema));
    assert_eq!(object["spec"], json!({"ports": [null]}));
    assert_eq!(object["metadata"].get("managedFields"), None);
}

#[test]
fn a_set_of_a_schema_that_became_atomic_is_reconciled() {
    let schema = widget_schema();
    let mut live = created(widget(json!({"plain": ["a"], "size": 1})), &widgets(&schema));
    live["metadata"]["managedFields"][0]["fieldsV1"] =
        json!({"f:spec": {"f:plain": {"v:\"a\"": {}}, "f:size": {}}});
    let live = updated(
        &live,
        widget(json!({"plain": ["a"], "size": 2})),
        &Request { manager: "bob", ..widgets(&schema) },
    );
    assert_eq!(owns(&live, "alice Update"), [".spec.plain"]);
}
