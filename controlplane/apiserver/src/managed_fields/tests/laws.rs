use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Value> {
    "[ab]".prop_map(Value::from)
}

fn maybe<S: Strategy<Value = Value>>(value: S) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(value)
}

fn ports() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(1..4, prop::option::of("[ab]"), 1..3).prop_map(|ports| {
        let port = |(port, proto): (i32, Option<String>)| match proto {
            Some(proto) => json!({"port": port, "proto": proto}),
            None => json!({ "port": port }),
        };
        ports.into_iter().map(port).collect::<Vec<_>>().into()
    })
}

/// Specs without empty sets and keyed lists: nobody owns those, so they may come and go.
fn specs() -> impl Strategy<Value = Value> {
    (
        maybe((0..3).prop_map(Value::from)),
        maybe(
            prop::collection::btree_set("[a-d]", 1..4).prop_map(|tags| tags.into_iter().collect::<Value>()),
        ),
        maybe(prop::collection::vec(text(), 0..2).prop_map(Value::from)),
        maybe(ports()),
        maybe(prop::collection::btree_map("[a-c]", text(), 0..3).prop_map(|map| json!(map))),
        maybe(prop::collection::btree_map("[a-c]", text(), 0..3).prop_map(|map| json!(map))),
    )
        .prop_map(|(size, tags, plain, ports, labels, free)| {
            let mut spec = serde_json::Map::new();
            for (name, value) in [
                ("size", size),
                ("tags", tags),
                ("plain", plain),
                ("ports", ports),
                ("labels", labels),
                ("free", free),
            ] {
                spec.extend(value.map(|value| (name.to_owned(), value)));
            }
            spec.into()
        })
}

/// A live object that two appliers and an updater had their hands in.
fn lives() -> impl Strategy<Value = Value> {
    (specs(), specs(), specs()).prop_map(|(created, alice, carol)| {
        let schema = widget_schema();
        let mut live = widget(created);
        on_update(None, &mut live, &Request { manager: "creator", ..widgets(&schema) });
        let live = stored(live);
        let live = apply(Some(&live), &widget(alice), true, &widgets(&schema)).unwrap();
        apply(Some(&live), &widget(carol), true, &Request { manager: "carol", ..widgets(&schema) }).unwrap()
    })
}

/// All paths of an object, also those of what holds others.
fn paths(object: &Value) -> Set {
    let schema = widget_schema();
    let empty = json!({"apiVersion": "", "kind": ""});
    let difference = compare::compare(&empty, object, Type::Custom(&schema)).unwrap();
    difference.added.union(difference.modified)
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(live in lives(), config in specs()) {
        let schema = widget_schema();
        let config = widget(config);
        let once = apply(Some(&live), &config, true, &widgets(&schema)).unwrap();
        let later = Request { now: at(60), ..widgets(&schema) };
        prop_assert_eq!(apply(Some(&once), &config, true, &later).unwrap(), once.clone());
        prop_assert_eq!(apply(Some(&once), &config, false, &later).unwrap(), once);
    }

    #[test]
    fn an_applier_gets_and_owns_what_it_applies(live in lives(), config in specs()) {
        let schema = widget_schema();
        let config = widget(config);
        let new = apply(Some(&live), &config, true, &widgets(&schema)).unwrap();
        let mut wanted = compare::field_set(&config, Type::Custom(&schema));
        wanted.subtract(&never_owned());
        let managers = managers::decode(&new).unwrap();
        let own = managers.iter().find(|(id, _)| id.manager == "alice").map(|(_, owned)| owned.set.clone());
        prop_assert_eq!(own.unwrap_or_default(), wanted.clone());
        prop_assert!(wanted.difference(&paths(&new)).is_empty(), "something is missing");
    }

    #[test]
    fn the_last_applier_leaves_nothing_behind(config in specs(), other in specs()) {
        let schema = widget_schema();
        let bob = Request { manager: "bob", ..widgets(&schema) };
        let live = stored(apply(None, &widget(other.clone()), false, &bob).unwrap());
        let both = apply(Some(&live), &widget(config), true, &widgets(&schema)).unwrap();
        let restored = apply(Some(&both), &widget(other), true, &bob).unwrap();
        let nothing = json!({"apiVersion": "x.dev/v1", "kind": "Widget", "metadata": {"name": "w"}});
        let left = apply(Some(&restored), &nothing, false, &widgets(&schema)).unwrap();
        let set = |object: &Value| compare::field_set(object, Type::Custom(&schema)).leaves();
        let mut extra = set(&left).difference(&set(&live));
        extra.subtract_deep(&Set::of_fields(&["metadata.managedFields"]));
        // Maps may stay behind, empty.
        let mut shown = Vec::new();
        extra.for_each(&mut |path| shown.push(path.iter().map(ToString::to_string).collect::<String>()));
        prop_assert!(shown.iter().all(|path| path.matches('.').count() < 3), "{:?}", shown);
    }

    #[test]
    fn an_update_that_changes_nothing_keeps_all_entries(live in lives()) {
        let schema = widget_schema();
        let mut new = live.clone();
        on_update(Some(&live), &mut new, &Request { manager: "dave", now: at(60), ..widgets(&schema) });
        prop_assert_eq!(new, live);
    }

    #[test]
    fn after_an_update_every_owned_field_exists(live in lives(), spec in specs()) {
        let schema = widget_schema();
        let mut new = widget(spec);
        new["metadata"]["uid"] = "1".into();
        on_update(Some(&live), &mut new, &Request { manager: "dave", now: at(60), ..widgets(&schema) });
        let there = paths(&new);
        for (id, owned) in managers::decode(&new).unwrap() {
            prop_assert!(owned.set.difference(&there).is_empty(), "{} owns more than there is", id);
        }
    }
}
