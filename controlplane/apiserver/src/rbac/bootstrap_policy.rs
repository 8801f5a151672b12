//! The roles and bindings that every cluster has
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings>).

mod controllers;
mod roles;

use serde_json::{Value, json};

use super::rules::Rule;
use crate::{resource::Definition, server::builtin, status::ApiError};
use controllers::{CONTROLLERS, NAMESPACED};
use roles::{ADMIN, BINDINGS, EDIT, EVENTS, NAMESPACED_BINDINGS, PATHS, ROLES, VIEW};

const GROUP: &str = "rbac.authorization.k8s.io";
const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const ALL: &str = "create delete deletecollection get list patch update watch";
const CHANGE: &str = "patch update";

/// A rule as the table has it: lists are separated by spaces, and `-` is the core group.
#[derive(Clone, Copy)]
struct Row {
    verbs: &'static str,
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
}

/// A role's name and rules.
type Role = (&'static str, &'static [Row]);

impl Row {
    fn rule(&self) -> Rule {
        Rule {
            verbs: words(self.verbs),
            api_groups: words(self.groups),
            resources: words(self.resources),
            resource_names: words(self.names),
            ..Rule::default()
        }
    }
}

const fn row(verbs: &'static str, groups: &'static str, resources: &'static str) -> Row {
    Row { verbs, groups, resources, names: "" }
}

const fn row_named(
    verbs: &'static str,
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
) -> Row {
    Row { verbs, groups, resources, names }
}

/// The rules of nodes, for the Node authorizer, which alone grants them.
pub fn node_rules() -> Vec<Rule> {
    let node = ROLES.iter().filter(|(name, _)| *name == "system:node");
    node.flat_map(|(_, rows)| rows.iter().map(Row::rule)).collect()
}

/// The objects of the policy.
pub fn objects() -> Result<Vec<(Definition, Value)>, ApiError> {
    let (roles, bindings) = (builtin(GROUP, "clusterroles")?, builtin(GROUP, "clusterrolebindings")?);
    let mut objects = Vec::with_capacity(160);
    let everything = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]);
    let mut add = |role: Value| objects.push((roles.clone(), role));
    add(role("ClusterRole", "cluster-admin", &everything));
    for (name, of) in [("admin", ""), ("edit", "admin"), ("view", "edit")] {
        add(aggregated(name, of));
    }
    for (name, rows) in [("admin", ADMIN), ("edit", EDIT), ("view", VIEW)] {
        add(labelled(role("ClusterRole", &format!("system:aggregate-to-{name}"), &rules(rows)), name));
    }
    for (name, urls) in PATHS {
        let rule = Rule { verbs: words("get"), non_resource_urls: words(urls), ..Rule::default() };
        add(role("ClusterRole", name, &json!([rule.to_value()])));
    }
    for (name, rows) in ROLES {
        add(role("ClusterRole", name, &rules(rows)));
    }
    for (name, rows) in CONTROLLERS {
        let role_name = format!("system:controller:{name}");
        add(role("ClusterRole", &role_name, &rules(rows)));
    }
    for (name, _) in CONTROLLERS {
        let role = format!("system:controller:{name}");
        objects.push((bindings.clone(), binding("ClusterRole", &role, &role, &[('s', name)])));
    }
    for (name, subjects) in BINDINGS {
        objects.push((bindings.clone(), binding("ClusterRole", name, name, subjects)));
    }
    let (roles, bindings) = (builtin(GROUP, "roles")?, builtin(GROUP, "rolebindings")?);
    for (namespace, (name, rows)) in NAMESPACED {
        objects.push((roles.clone(), within(role("Role", name, &rules(rows)), namespace)));
    }
    for (namespace, name, role, subjects) in NAMESPACED_BINDINGS {
        objects.push((bindings.clone(), within(binding("Role", name, role, subjects), namespace)));
    }
    Ok(objects)
}

/// What becomes of a role or binding of the policy that is there already: what it lacks is added, unless
/// its annotation says that it shall stay as it is. `None` if it lacks nothing.
pub fn reconcile(existing: &Value, wanted: &Value) -> Option<Value> {
    let annotation = existing.pointer("/metadata/annotations/rbac.authorization.kubernetes.io~1autoupdate");
    if annotation.and_then(Value::as_str) != Some("true") {
        return None;
    }
    let list = |object: &Value, field: &str| {
        object.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let own = Rule::of(existing);
    let covered =
        |rule: &Value| Rule::parse(rule).split().iter().all(|one| own.iter().any(|rule| rule.covers(one)));
    let (mut rules, mut subjects) = (list(existing, "rules"), list(existing, "subjects"));
    let (had_rules, had_subjects) = (rules.len(), subjects.len());
    rules.extend(list(wanted, "rules").into_iter().filter(|rule| !covered(rule)));
    for subject in list(wanted, "subjects") {
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    let mut object = existing.clone();
    if rules.len() > had_rules {
        object["rules"] = rules.into();
    } else if subjects.len() > had_subjects {
        object["subjects"] = subjects.into();
    } else {
        return None;
    }
    Some(object)
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn role(kind: &str, name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata(name),
        "rules": rules,
    })
}

fn within(mut object: Value, namespace: &str) -> Value {
    crate::metadata::set(&mut object, "namespace", namespace);
    object
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(|w| if w == "-" { String::new() } else { w.to_owned() }).collect()
}

fn rules(rows: &[Row]) -> Value {
    rows.iter().map(|row| row.rule().to_value()).collect()
}

/// A role that has the rules of all roles labelled for it; it is itself part of the role `of`.
fn aggregated(name: &str, of: &str) -> Value {
    let mut role = role("ClusterRole", name, &Value::Null);
    let selector = json!({"matchLabels": {format!("{GROUP}/aggregate-to-{name}"): "true"}});
    role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
    if of.is_empty() { role } else { labelled(role, of) }
}

fn labelled(mut role: Value, of: &str) -> Value {
    role["metadata"]["labels"][format!("{GROUP}/aggregate-to-{of}")] = "true".into();
    role
}

fn binding(role_kind: &str, name: &str, role: &str, subjects: &[(char, &str)]) -> Value {
    let subject = |(kind, name): &(char, &str)| match kind {
        'g' => json!({"kind": "Group", "apiGroup": GROUP, "name": name}),
        'u' => json!({"kind": "User", "apiGroup": GROUP, "name": name}),
        _ => json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}),
    };
    let mut binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{role_kind}Binding"),
        "metadata": metadata(name),
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
    });
    if !subjects.is_empty() {
        binding["subjects"] = subjects.iter().map(subject).collect();
    }
    binding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_an_older_version_gets_what_it_lacks_and_keeps_the_rest() {
        let (_, wanted) =
            objects().unwrap().into_iter().find(|(_, o)| o["metadata"]["name"] == "system:node").unwrap();
        assert_eq!(reconcile(&wanted, &wanted), None);
        let mut old = wanted.clone();
        let removed = old["rules"].as_array_mut().unwrap().pop().unwrap();
        old["rules"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"verbs": ["get"], "apiGroups": ["own"], "resources": ["x"]}));
        let new = reconcile(&old, &wanted).unwrap();
        assert_eq!(new["rules"].as_array().unwrap().last().unwrap(), &removed);
        assert_eq!(new["rules"][0]["apiGroups"][0], "own");
        old["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false".into();
        assert_eq!(reconcile(&old, &wanted), None);
    }

    #[test]
    fn every_binding_is_to_a_role_of_the_policy() {
        let objects = objects().unwrap();
        for (_, binding) in objects.iter().filter(|(_, o)| o["roleRef"].is_object()) {
            let role = &binding["roleRef"];
            let namespace =
                if role["kind"] == "Role" { &binding["metadata"]["namespace"] } else { &Value::Null };
            let found = objects.iter().any(|(_, o)| {
                o["kind"] == role["kind"]
                    && o["metadata"]["name"] == role["name"]
                    && o["metadata"].get("namespace").unwrap_or(&Value::Null) == namespace
            });
            assert!(found, "{}", role["name"]);
        }
    }
}
