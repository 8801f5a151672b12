//! Parameters of operations.

use serde_json::{Value, json};

use super::{Flavor, META};

/// A parameter: its name, where it is and its type. The suffix names it among the shared parameters of
/// version 2, which the real server derives from a hash of its description.
#[derive(Clone, Copy)]
struct Parameter {
    name: &'static str,
    place: &'static str,
    ty: &'static str,
    shared: Option<&'static str>,
}

const fn query(name: &'static str, ty: &'static str, shared: &'static str) -> Parameter {
    Parameter { name, place: "query", ty, shared: Some(shared) }
}

const fn own(name: &'static str) -> Parameter {
    Parameter { name, place: "query", ty: "string", shared: None }
}

const NAMESPACE: Parameter =
    Parameter { name: "namespace", place: "path", ty: "string", shared: Some("namespace-vgWSWtn3") };
const NAME: Parameter = Parameter { name: "name", place: "path", ty: "string", shared: None };
const PRETTY: Parameter = query("pretty", "string", "pretty-tJGM1-ng");
const GRACE: Parameter = query("gracePeriodSeconds", "integer", "gracePeriodSeconds--K5HaBOS");
const IGNORE_ERRORS: Parameter = query(
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "boolean",
    "ignoreStoreReadErrorWithClusterBreakingPotential-QbNkfIqj",
);
const ORPHAN: Parameter = query("orphanDependents", "boolean", "orphanDependents-uRB25kX5");
const PROPAGATION: Parameter = query("propagationPolicy", "string", "propagationPolicy-6jk3prlO");
const FORCE: Parameter = query("force", "boolean", "force-tOGGb0Yi");
const MANAGER: Parameter = query("fieldManager", "string", "fieldManager-Qy4HdaTW");
const PATCH_MANAGER: Parameter = query("fieldManager", "string", "fieldManager-7c6nTn1T");

const LIST: &[Parameter] = &[
    query("allowWatchBookmarks", "boolean", "allowWatchBookmarks-HC2hJt-J"),
    query("continue", "string", "continue-QfD61s0i"),
    query("fieldSelector", "string", "fieldSelector-xIcQKXFG"),
    query("labelSelector", "string", "labelSelector-5Zw57w4C"),
    query("limit", "integer", "limit-1NfNmdNH"),
    query("resourceVersion", "string", "resourceVersion-5WAnf1kx"),
    query("resourceVersionMatch", "string", "resourceVersionMatch-t8XhRHeC"),
    query("sendInitialEvents", "boolean", "sendInitialEvents-rLXlEK_k"),
    query("shardSelector", "string", "shardSelector-Kgyki_3_"),
    query("timeoutSeconds", "integer", "timeoutSeconds-yvYezaOC"),
    query("watch", "boolean", "watch-XNNPZGbK"),
];

/// The bodies that version 2 shares.
const DELETE_BODY: &str = "body-2Y1dVQaQ";
const PATCH_BODY: &str = "body-78PwaGsr";

/// What an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading one object.
    Get,
    /// Reading many.
    List,
    /// Creating.
    Create,
    /// Replacing.
    Replace,
    /// Patching.
    Patch,
    /// Deleting one object.
    Delete,
    /// Deleting many.
    DeleteMany,
}

fn of(operation: Operation) -> Vec<Parameter> {
    let mut parameters = match operation {
        Operation::Get => return Vec::new(),
        Operation::List => return LIST.to_vec(),
        Operation::Create | Operation::Replace => vec![own("dryRun"), MANAGER, own("fieldValidation")],
        Operation::Patch => vec![own("dryRun"), PATCH_MANAGER, own("fieldValidation"), FORCE],
        Operation::Delete => vec![own("dryRun"), GRACE, IGNORE_ERRORS, ORPHAN, PROPAGATION],
        Operation::DeleteMany => {
            let mut all = LIST.to_vec();
            all.retain(|p| !matches!(p.name, "allowWatchBookmarks" | "watch"));
            all.extend([own("dryRun"), GRACE, IGNORE_ERRORS, ORPHAN, PROPAGATION]);
            all
        }
    };
    parameters.sort_by_key(|p| p.name);
    parameters
}

/// The parameters of an operation; `body` is the definition that version 2 lists among them.
pub fn operation(operation: Operation, body: Option<&str>, flavor: Flavor) -> Vec<Value> {
    let mut shown = Vec::new();
    if flavor == Flavor::V2
        && let Some(body) = body
    {
        shown.push(match operation {
            Operation::Delete | Operation::DeleteMany => shared(DELETE_BODY),
            Operation::Patch => shared(PATCH_BODY),
            _ => json!({"name": "body", "in": "body", "required": true, "schema": flavor.reference(body)}),
        });
    }
    shown.extend(of(operation).into_iter().map(|p| show(p, flavor)));
    shown
}

/// The parameters that all operations of a path share: those in the path, and `pretty`; with `list`, those
/// of a list too.
pub fn path(path: &str, list: bool, flavor: Flavor) -> Vec<Value> {
    let mut parameters = Vec::new();
    if list {
        parameters.extend_from_slice(LIST);
    }
    for (token, parameter) in [("{name}", NAME), ("{namespace}", NAMESPACE)] {
        if path.contains(token) {
            parameters.push(parameter);
        }
    }
    parameters.push(PRETTY);
    parameters.sort_by_key(|p| p.name);
    parameters.into_iter().map(|p| show(p, flavor)).collect()
}

fn shared(name: &str) -> Value {
    json!({"$ref": format!("#/parameters/{name}")})
}

fn show(parameter: Parameter, flavor: Flavor) -> Value {
    match (flavor, parameter.shared) {
        (Flavor::V2, Some(name)) => shared(name),
        _ => whole(parameter, flavor),
    }
}

fn whole(parameter: Parameter, flavor: Flavor) -> Value {
    let mut shown = json!({"name": parameter.name, "in": parameter.place});
    match flavor {
        Flavor::V2 => {
            shown["type"] = parameter.ty.into();
            shown["uniqueItems"] = true.into();
        }
        Flavor::V3 => shown["schema"] = json!({"type": parameter.ty, "uniqueItems": true}),
    }
    if parameter.place == "path" {
        shown["required"] = true.into();
    }
    shown
}

/// The shared parameters of version 2, by name.
pub fn definitions() -> Vec<(String, Value)> {
    let flavor = Flavor::V2;
    let others =
        [NAMESPACE, PRETTY, GRACE, IGNORE_ERRORS, ORPHAN, PROPAGATION, FORCE, MANAGER, PATCH_MANAGER];
    let mut all: Vec<_> = LIST
        .iter()
        .copied()
        .chain(others)
        .filter_map(|p| Some((p.shared?.to_owned(), whole(p, flavor))))
        .collect();
    let delete_options = flavor.reference(&format!("{META}DeleteOptions"));
    all.push((DELETE_BODY.into(), json!({"name": "body", "in": "body", "schema": delete_options})));
    let patch = flavor.reference(&format!("{META}Patch"));
    all.push((PATCH_BODY.into(), json!({"name": "body", "in": "body", "required": true, "schema": patch})));
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}
