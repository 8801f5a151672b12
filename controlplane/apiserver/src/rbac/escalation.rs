//! Nobody gives rights away that they do not have
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{authorizer::Rbac, rules::Rule};
use crate::{
    admission::{Attributes, Operation},
    authorization::{self, Decision},
    registry::access::{at, has, str_at},
    status::ApiError,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses a role or binding by which its writer would give away more than they have.
pub async fn check(attributes: &Attributes<'_>, object: &Value) -> Result<(), ApiError> {
    let Some(rbac) = &attributes.server.parts.rbac else { return Ok(()) };
    let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
    if !writes
        || attributes.definition.group() != GROUP
        || attributes.user.in_group(crate::user::MASTERS)
        || attributes.old.is_some_and(|old| grants(old) == grants(object))
    {
        return Ok(());
    }
    match attributes.definition.plural() {
        "roles" | "clusterroles" => role(attributes, rbac, object).await,
        "rolebindings" | "clusterrolebindings" => binding(attributes, rbac, object).await,
        _ => Ok(()),
    }
}

/// What of an object gives rights.
fn grants(object: &Value) -> [&Value; 4] {
    ["/rules", "/aggregationRule", "/roleRef", "/subjects"].map(|path| at(object, path))
}

async fn role(attributes: &Attributes<'_>, rbac: &Rbac, role: &Value) -> Result<(), ApiError> {
    if allowed(attributes, "escalate", attributes.definition.plural(), attributes.name).await {
        return Ok(());
    }
    confirm(attributes, rbac, role, &Rule::of(role))?;
    if has(role, "/aggregationRule") {
        let everything = [
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
            json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
        ];
        let everything = everything.each_ref().map(Rule::parse);
        if !missing(attributes, rbac, &everything).is_empty() {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            return Err(attributes.forbidden(role, why));
        }
    }
    Ok(())
}

async fn binding(attributes: &Attributes<'_>, rbac: &Rbac, binding: &Value) -> Result<(), ApiError> {
    let (kind, name) = (str_at(binding, "/roleRef/kind"), str_at(binding, "/roleRef/name"));
    let (plural, namespace) = match kind {
        "ClusterRole" => ("clusterroles", ""),
        _ => ("roles", attributes.namespace),
    };
    if allowed(attributes, "bind", plural, name).await {
        return Ok(());
    }
    match rbac.role(namespace, name) {
        Some(rules) => confirm(attributes, rbac, binding, &rules),
        None => Err(ApiError::not_found(attributes.definition.group_resource(), name)),
    }
}

/// Whether the writer may use this verb of RBAC's own.
async fn allowed(attributes: &Attributes<'_>, verb: &str, plural: &str, name: &str) -> bool {
    let asked = authorization::Attributes {
        user: attributes.user,
        verb,
        is_resource: true,
        group: GROUP,
        version: "*",
        resource: plural,
        subresource: "",
        namespace: attributes.namespace,
        name,
        path: "",
        field_selector: "",
    };
    let decision = authorization::decide(&attributes.server.parts.authorizers, &asked).await;
    matches!(decision, Decision::Allow(_))
}

fn missing(attributes: &Attributes<'_>, rbac: &Rbac, rules: &[Rule]) -> Vec<Rule> {
    let own = rbac.rules(attributes.user, attributes.namespace);
    let covered = |one: &Rule| own.iter().any(|granted| granted.rule.covers(one));
    rules.iter().flat_map(Rule::split).filter(|one| !covered(one)).collect()
}

fn confirm(attributes: &Attributes<'_>, rbac: &Rbac, object: &Value, rules: &[Rule]) -> Result<(), ApiError> {
    let missing = missing(attributes, rbac, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let missing: BTreeSet<String> = Rule::compact(missing).iter().map(ToString::to_string).collect();
    let groups: Vec<String> = attributes.user.groups.iter().map(|g| format!("{g:?}")).collect();
    let why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        attributes.user.name,
        groups.join(" "),
        missing.into_iter().collect::<Vec<_>>().join("\n")
    );
    Err(attributes.forbidden(object, &why))
}
