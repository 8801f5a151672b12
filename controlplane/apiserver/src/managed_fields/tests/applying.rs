use super::*;

fn applied(live: Option<&Value>, config: &Value, request: &Request<'_>) -> Value {
    stored(apply(live, config, false, request).unwrap())
}

fn forced(live: &Value, config: &Value, request: &Request<'_>) -> Value {
    apply(Some(live), config, true, request).unwrap()
}

fn refused(live: Option<&Value>, config: &Value, request: &Request<'_>) -> String {
    apply(live, config, false, request).unwrap_err().to_string()
}

fn bob(request: Request<'_>) -> Request<'_> {
    Request { manager: "bob", now: at(60), ..request }
}

#[test]
fn an_applier_owns_what_it_applies() {
    let live = applied(None, &config_map(json!({"a": "1", "b": "2"})), &config_maps());
    assert_eq!(live["data"], json!({"a": "1", "b": "2"}));
    assert_eq!(
        owners(&live),
        BTreeMap::from([("alice Apply".into(), vec![".data.a".into(), ".data.b".into()])])
    );
}

#[test]
fn applying_again_changes_nothing() {
    let config = config_map(json!({"a": "1"}));
    let live = applied(None, &config, &config_maps());
    assert_eq!(applied(Some(&live), &config, &Request { now: at(60), ..config_maps() }), live);
}

#[test]
fn a_field_that_is_left_out_goes_with_its_last_owner() {
    let live = applied(None, &config_map(json!({"a": "1", "b": "2"})), &config_maps());
    let live = applied(Some(&live), &config_map(json!({"b": "2"})), &bob(config_maps()));
    let live = applied(Some(&live), &config_map(json!({"a": "1"})), &config_maps());
    assert_eq!(live["data"], json!({"a": "1", "b": "2"}));
    let live = applied(Some(&live), &config_map(json!({})), &bob(config_maps()));
    assert_eq!(live["data"], json!({"a": "1"}));
    assert_eq!(owns(&live, "bob Apply"), [".data"]);
    let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    let live = applied(Some(&live), &nothing, &config_maps());
    assert_eq!(live["data"], json!({}));
    assert!(owns(&live, "alice Apply").is_empty());
}

#[test]
fn a_list_that_loses_its_items_to_null_is_nobodys_and_goes() {
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let live = applied(None, &service(json!({"ports": [{"port": 80, "protocol": "TCP"}]})), &services());
    let live = applied(Some(&live), &service(json!({"ports": null})), &bob(services()));
    assert_eq!(live["spec"]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
    let live = applied(Some(&live), &service(json!({"ports": null})), &services());
    assert_eq!(live.get("spec"), None);
}

#[test]
fn what_loses_all_that_is_in_it_to_an_apply_stays_empty_where_others_have_it() {
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data});
    let live = applied(None, &map(json!({"a": "1"})), &config_maps());
    let live = applied(Some(&live), &map(json!({})), &bob(config_maps()));
    let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    let live = applied(Some(&live), &empty, &config_maps());
    assert_eq!(live["data"], json!({}));
}

#[test]
fn changing_what_others_own_is_a_conflict() {
    let live = applied(None, &config_map(json!({"a": "1", "b": "2"})), &config_maps());
    assert_eq!(
        refused(Some(&live), &config_map(json!({"a": "x"})), &bob(config_maps())),
        "Apply failed with 1 conflict: conflict with \"alice\": .data.a"
    );
    assert_eq!(
        refused(Some(&live), &config_map(json!({"a": "x", "b": "y"})), &bob(config_maps())),
        "Apply failed with 2 conflicts: conflicts with \"alice\":\n- .data.a\n- .data.b"
    );
    let mut updated = live.clone();
    updated["data"]["a"] = "2".into();
    let status = Request { manager: "carol", subresource: "status", ..config_maps() };
    on_update(Some(&live), &mut updated, &status);
    assert_eq!(
        refused(Some(&updated), &config_map(json!({"a": "x", "b": "y"})), &bob(config_maps())),
        "Apply failed with 2 conflicts: conflicts with \"alice\":\n- .data.b\nconflicts with \"carol\" with subresource \"status\" using v1:\n- .data.a"
    );
}

#[test]
fn a_conflict_is_answered_with_its_causes() {
    let live = applied(None, &config_map(json!({"a": "1"})), &config_maps());
    let error = apply(Some(&live), &config_map(json!({"a": "x"})), false, &bob(config_maps())).unwrap_err();
    assert_eq!(
        crate::status::ApiError::from(error).to_value(),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Apply failed with 1 conflict: conflict with \"alice\": .data.a", "reason": "Conflict",
            "details": {"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"alice\"", "field": ".data.a"}]},
            "code": 409})
    );
}

#[test]
fn force_takes_over_and_agreement_shares() {
    let live = applied(None, &config_map(json!({"a": "1", "b": "2"})), &config_maps());
    let live = forced(&live, &config_map(json!({"a": "x"})), &bob(config_maps()));
    assert_eq!(owns(&live, "alice Apply"), [".data.b"]);
    assert_eq!(owns(&live, "bob Apply"), [".data.a"]);
    let live = applied(Some(&live), &config_map(json!({"a": "x", "b": "2"})), &config_maps());
    assert_eq!(owns(&live, "alice Apply"), [".data.a", ".data.b"]);
    assert_eq!(owns(&live, "bob Apply"), [".data.a"]);
}

#[test]
fn an_agreement_without_a_change_has_no_time() {
    let live = applied(None, &config_map(json!({"a": "1"})), &config_maps());
    let live = applied(Some(&live), &config_map(json!({"a": "1"})), &bob(config_maps()));
    assert_eq!(times(&live), [("bob".into(), None), ("alice".into(), Some("2023-11-14T22:13:20Z".into()))]);
}

#[test]
fn what_was_there_before_the_first_apply_has_an_owner() {
    let live = stored(config_map(json!({"b": "put"})));
    let live = applied(Some(&live), &config_map(json!({"z": "1"})), &config_maps());
    assert_eq!(owns(&live, "before-first-apply Update"), [".data", ".data.b"]);
    assert_eq!(owns(&live, "alice Apply"), [".data.z"]);
    assert_eq!(
        refused(Some(&live), &config_map(json!({"b": "x"})), &config_maps()),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.b"
    );
}

#[test]
fn kubectl_takes_over_from_its_client_side_self() {
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let mut live = config_map(json!({"a": "1", "b": "2"}));
    live["metadata"]["annotations"] = json!({ annotation: config_map(json!({"a": "1"})).to_string() });
    on_update(None, &mut live, &Request { manager: "kubectl-client-side-apply", ..config_maps() });
    let live = stored(live);
    let kubectl = Request { manager: "kubectl", ..config_maps() };
    let mut config = config_map(json!({"a": "x"}));
    let result = applied(Some(&live), &config, &kubectl);
    assert_eq!(result["data"], json!({"a": "x", "b": "2"}));
    assert_eq!(owns(&result, "kubectl Apply"), [".data.a"]);
    assert_eq!(result["metadata"]["annotations"][annotation], format!("{config}\n"));
    config["data"] = json!({"a": "x", "b": "y"});
    assert_eq!(
        refused(Some(&live), &config, &kubectl),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.b"
    );
    assert!(refused(Some(&live), &config, &config_maps()).contains("2 conflicts"));
}

#[test]
fn items_are_told_apart_by_all_keys_with_their_defaults() {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}});
    let live =
        applied(None, &service(json!([{"port": 80, "name": "a"}, {"port": 443, "name": "b"}])), &services());
    assert_eq!(
        owns(&live, "alice Apply")[..2],
        [r#".spec.ports[port=443,protocol="TCP"]"#, r#".spec.ports[port=443,protocol="TCP"].name"#]
    );
    let live = applied(Some(&live), &service(json!([{"port": 81, "name": "c"}])), &bob(services()));
    let live = applied(Some(&live), &service(json!([{"port": 443, "name": "b"}])), &services());
    assert_eq!(live["spec"]["ports"], json!([{"port": 443, "name": "b"}, {"port": 81, "name": "c"}]));
    assert_eq!(
        refused(Some(&live), &service(json!([{"port": 443, "name": "zzz"}])), &bob(services())),
        r#"Apply failed with 1 conflict: conflict with "alice": .spec.ports[port=443,protocol="TCP"].name"#
    );
}

#[test]
fn sets_are_united_and_atomic_values_have_one_owner() {
    let schema = widget_schema();
    let live = applied(
        None,
        &widget(json!({"tags": ["x"], "plain": ["p"], "labels": {"a": "1"}})),
        &widgets(&schema),
    );
    let live =
        applied(Some(&live), &widget(json!({"tags": ["y"], "labels": {"b": "2"}})), &bob(widgets(&schema)));
    assert_eq!(live["spec"]["tags"], json!(["x", "y"]));
    assert_eq!(live["spec"]["labels"], json!({"a": "1", "b": "2"}));
    assert_eq!(owns(&live, "bob Apply"), [".spec.labels.b", r#".spec.tags[="y"]"#]);
    assert_eq!(
        refused(Some(&live), &widget(json!({"plain": ["q"]})), &bob(widgets(&schema))),
        "Apply failed with 1 conflict: conflict with \"alice\": .spec.plain"
    );
    let live = applied(Some(&live), &widget(json!({"plain": ["p"]})), &widgets(&schema));
    assert_eq!(live["spec"]["tags"], json!(["y"]));
    assert_eq!(live["spec"]["labels"], json!({"b": "2"}));
}

#[test]
fn the_order_of_items_is_the_configurations() {
    let schema = widget_schema();
    let tags = |tags: Value| widget(json!({ "tags": tags }));
    let live = applied(None, &tags(json!(["a", "b", "c"])), &widgets(&schema));
    let live = applied(Some(&live), &tags(json!(["c", "x", "a"])), &bob(widgets(&schema)));
    assert_eq!(live["spec"]["tags"], json!(["b", "c", "x", "a"]));
}

#[test]
fn free_form_values_are_granular() {
    let schema = widget_schema();
    let live = applied(None, &widget(json!({"free": {"a": {"b": 1}, "l": [1]}})), &widgets(&schema));
    assert_eq!(owns(&live, "alice Apply"), [".spec.free.a", ".spec.free.a.b", ".spec.free.l"]);
    let live = applied(Some(&live), &widget(json!({"free": {"a": {"c": 2}}})), &bob(widgets(&schema)));
    assert_eq!(live["spec"]["free"], json!({"a": {"b": 1, "c": 2}, "l": [1]}));
}

#[test]
fn a_configuration_that_fits_nothing_is_refused() {
    let refused = |config: Value| refused(None, &config, &config_maps());
    assert_eq!(refused(json!({"kind": "ConfigMap"})), "invalid object type: /, Kind=ConfigMap");
    assert_eq!(
        refused(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}})),
        "invalid object type: /v1, Kind=Secret"
    );
    let mut config = config_map(json!({}));
    config["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    assert_eq!(refused(config), "metadata.managedFields must be nil");
    assert_eq!(
        refused(config_map(json!({"a": 1}))),
        "failed to create typed patch object (/c; /v1, Kind=ConfigMap): .data.a: expected string, got &value.valueUnstructured{Value:1}"
    );
    let mut config = config_map(json!({"a": 1, "b": []}));
    config["nope"] = 1.into();
    assert_eq!(
        refused(config),
        "failed to create typed patch object (/c; /v1, Kind=ConfigMap): errors:\n  .data.a: expected string, got &value.valueUnstructured{Value:1}\n  .data.b: expected string, got &value.valueUnstructured{Value:[]interface {}{}}\n  .nope: field not declared in schema"
    );
}

#[test]
fn a_configuration_of_a_custom_resource_must_fit_its_schema() {
    let schema = widget_schema();
    let refused = |spec: Value| {
        let error = refused(None, &widget(spec), &widgets(&schema));
        error
            .trim_start_matches("failed to create typed patch object (/w; x.dev/v1, Kind=Widget): ")
            .to_owned()
    };
    assert_eq!(refused(json!({"unknown": 1})), ".spec.unknown: field not declared in schema");
    assert_eq!(refused(json!({"size": "x"})), ".spec.size: expected numeric (int or float), got string");
    assert_eq!(refused(json!({"on": "x"})), ".spec.on: expected boolean, got &{x}");
    assert_eq!(refused(json!({"tags": {}})), ".spec.tags: expected list, got &{map[]}");
    assert_eq!(refused(json!({"labels": "x"})), ".spec.labels: expected map, got &{x}");
    assert_eq!(
        refused(json!({"ports": [{"proto": "UDP"}]})),
        ".spec.ports: element 0: associative list with keys has an element that omits all key fields [\"port\"] (and doesn't have default values for any key fields)"
    );
    assert_eq!(
        refused(json!({"ports": [{"port": 1}, {"port": 1}]})),
        ".spec.ports: duplicate entries for key [port=1]"
    );
    assert_eq!(
        refused(json!({"tags": [{}]})),
        ".spec.tags: element 0: associative list without keys has an element that's a map type"
    );
}

#[test]
fn containers_without_a_name_are_told_apart_by_the_empty_name() {
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}});
    let live = applied(None, &config, &deployments());
    assert_eq!(
        owns(&live, "alice Apply"),
        [r#".spec.template.spec.containers[name=""]"#, r#".spec.template.spec.containers[name=""].image"#]
    );
}

#[test]
fn what_is_applied_is_kept_across_versions() {
    let schema = widget_schema();
    let convert = |object: &Value, version: &str| {
        let mut object = object.clone();
        object["apiVersion"] = version.into();
        matches!(version, "x.dev/v1" | "x.dev/v2").then_some((object, Type::Custom(&schema)))
    };
    let v1 = Request { convert: Some(&convert), ..widgets(&schema) };
    let live = applied(None, &widget(json!({"size": 1, "on": true})), &v1);
    let mut live_v2 = live;
    live_v2["apiVersion"] = "x.dev/v2".into();
    let mut config = widget(json!({"size": 2}));
    config["apiVersion"] = "x.dev/v2".into();
    let live = applied(Some(&live_v2), &config, &Request { api_version: "x.dev/v2", ..v1 });
    assert_eq!(live["spec"], json!({"size": 2}));
    assert_eq!(live["apiVersion"], "x.dev/v2");
    assert_eq!(owns(&live, "alice Apply"), [".spec.size"]);
}
