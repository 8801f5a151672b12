//! The status of a CustomResourceDefinition: which of its names are accepted, and its conditions.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    metadata,
    registry::access::{at, list_at, make_map, of_type, set, str_at, strs_at},
    registry::apiextensions::custom_resource_definition::definition::{approval_state, unusable_bundle},
};

/// The accepted names of all definitions, by the definition's name.
#[derive(Debug, Default)]
pub struct Claims {
    accepted: BTreeMap<String, (String, Value)>,
}

impl Claims {
    /// Remembers what a definition's status says that it owns.
    pub fn keep(&mut self, definition: &Value) {
        let group = str_at(definition, "/spec/group").to_owned();
        let names = at(definition, "/status/acceptedNames").clone();
        self.accepted.insert(metadata::name(definition).to_owned(), (group, names));
    }

    /// Forgets a definition that is gone.
    pub fn release(&mut self, name: &str) {
        self.accepted.remove(name);
    }

    /// The other definitions of the same group: they may take names that become free.
    pub fn siblings(&self, name: &str, group: &str) -> Vec<String> {
        let of_group = self.accepted.iter().filter(|(n, (g, _))| g == group && *n != name);
        of_group.map(|(n, _)| n.clone()).collect()
    }

    fn resources(&self, group: &str) -> BTreeSet<&str> {
        self.of(group)
            .flat_map(|names| {
                let one = [str_at(names, "/plural"), str_at(names, "/singular")];
                one.into_iter().chain(strs_at(names, "/shortNames"))
            })
            .collect()
    }

    fn kinds(&self, group: &str) -> BTreeSet<&str> {
        self.of(group).flat_map(|names| [str_at(names, "/kind"), str_at(names, "/listKind")]).collect()
    }

    fn of(&self, group: &str) -> impl Iterator<Item = &Value> {
        self.accepted.values().filter(move |(g, _)| g == group).map(|(_, names)| names)
    }
}

/// Sets the accepted names and the conditions that follow; whether anything changed.
pub fn judge(definition: &mut Value, claims: &Claims, now: Timestamp) -> bool {
    let before = at(definition, "/status").clone();
    let requested = at(definition, "/spec/names").clone();
    if requested != *at(definition, "/status/acceptedNames") {
        let verdict = accept(definition, &requested, claims);
        let accepted_all = verdict.is_ok();
        let (status, reason, message) = match verdict {
            Ok(()) => ("True", "NoConflicts", "no conflicts found".to_owned()),
            Err((reason, message)) => ("False", reason, message),
        };
        set_condition(definition, "NamesAccepted", status, reason, &message, now);
        if !accepted_all && condition(definition, "Established").is_none() {
            let message = "not all names are accepted";
            set_condition(definition, "Established", "False", "NotAccepted", message, now);
        }
    }
    approve(definition, now);
    if is_true(definition, "NamesAccepted") && !is_true(definition, "Established") {
        if unusable_bundle(definition).is_some() {
            let message = "The conversion webhook CABundle is invalid";
            set_condition(definition, "Established", "False", "InvalidCABundle", message, now);
        } else {
            let message = "the initial names have been accepted";
            set_condition(definition, "Established", "True", "InitialNamesAccepted", message, now);
        }
    }
    *at(definition, "/status") != before
}

/// Groups of the Kubernetes community show whether they were approved.
fn approve(definition: &mut Value, now: Timestamp) {
    const KIND: &str = "KubernetesAPIApprovalPolicyConformant";
    let Some((reason, message)) = approval_state(definition) else { return };
    let status = if reason == "ApprovedAnnotation" { "True" } else { "False" };
    let same = condition(definition, KIND)
        .is_some_and(|old| str_at(old, "/reason") == reason && str_at(old, "/message") == message);
    if !same {
        set_condition(definition, KIND, status, reason, &message, now);
    }
}

type Refusal = (&'static str, String);

/// Accepts the names that nobody else of the group has; the last conflict counts.
fn accept(definition: &mut Value, requested: &Value, claims: &Claims) -> Result<(), Refusal> {
    let group = str_at(definition, "/spec/group").to_owned();
    let own = at(definition, "/status/acceptedNames").clone();
    let (resources, kinds) = (claims.resources(&group), claims.kinds(&group));
    let mut verdict = Ok(());
    for (field, reason, taken) in [
        ("plural", "PluralConflict", &resources),
        ("singular", "SingularConflict", &resources),
        ("shortNames", "ShortNamesConflict", &resources),
        ("kind", "KindConflict", &kinds),
        ("listKind", "ListKindConflict", &kinds),
    ] {
        let mut conflicts = names(requested, field)
            .filter(|name| !names(&own, field).any(|mine| mine == *name) && taken.contains(name))
            .map(|name| format!("{name:?} is already in use"))
            .collect::<Vec<_>>();
        match conflicts.len() {
            0 => adopt(definition, requested, field),
            1 => verdict = Err((reason, conflicts.remove(0))),
            _ => verdict = Err((reason, format!("[{}]", conflicts.join(", ")))),
        }
    }
    adopt(definition, requested, "categories");
    verdict
}

/// The names of a field, which is a text or a list of texts.
fn names<'a>(names: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    let value = names.get(field);
    let many = value.and_then(Value::as_array).into_iter().flatten();
    value.filter(|v| v.is_string()).into_iter().chain(many).filter_map(Value::as_str)
}

fn adopt(definition: &mut Value, requested: &Value, field: &str) {
    let accepted = make_map(definition, "/status/acceptedNames");
    match requested.get(field) {
        Some(value) => drop(accepted.insert(field.into(), value.clone())),
        None => drop(accepted.remove(field)),
    }
}

/// A condition of the definition.
pub fn condition<'a>(definition: &'a Value, kind: &str) -> Option<&'a Value> {
    of_type(list_at(definition, "/status/conditions"), kind)
}

/// Whether a condition holds.
pub fn is_true(definition: &Value, kind: &str) -> bool {
    condition(definition, kind).is_some_and(|c| str_at(c, "/status") == "True")
}

/// Sets a condition; its time moves only with its status.
pub fn set_condition(
    definition: &mut Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let same = condition(definition, kind).filter(|old| str_at(old, "/status") == status);
    let since = same.map_or_else(|| metadata::time(now), |old| str_at(old, "/lastTransitionTime").into());
    let new = json!({
        "type": kind,
        "status": status,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    });
    let mut conditions = list_at(definition, "/status/conditions").to_vec();
    match conditions.iter_mut().find(|c| str_at(c, "/type") == kind) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
    set(definition, "/status/conditions", conditions);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &str) -> Value {
        json!({
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {"group": "example.com", "names": {"plural": plural, "singular": kind.to_lowercase(),
                "kind": kind, "listKind": format!("{kind}List"), "shortNames": [short]}},
            "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}},
        })
    }

    #[test]
    fn the_first_gets_its_names_and_the_second_what_is_left() {
        let mut claims = Claims::default();
        let mut first = definition("widgets", "Widget", "wg");
        assert!(judge(&mut first, &claims, Timestamp::UNIX_EPOCH));
        assert!(is_true(&first, "Established"));
        assert_eq!(first["status"]["acceptedNames"], first["spec"]["names"]);
        claims.keep(&first);

        let mut second = definition("others", "Widget", "wg");
        assert!(judge(&mut second, &claims, Timestamp::UNIX_EPOCH));
        let accepted = condition(&second, "NamesAccepted").unwrap();
        assert_eq!(accepted["reason"], "ListKindConflict");
        assert_eq!(accepted["message"], "\"WidgetList\" is already in use");
        assert_eq!(condition(&second, "Established").unwrap()["reason"], "NotAccepted");
        assert_eq!(second["status"]["acceptedNames"], json!({"plural": "others", "kind": ""}));

        claims.release("widgets.example.com");
        assert!(judge(&mut second, &claims, Timestamp::UNIX_EPOCH));
        assert!(is_true(&second, "Established"));
    }

    #[test]
    fn certificates_that_cannot_be_used_keep_a_definition_from_being_served() {
        let mut first = definition("widgets", "Widget", "wg");
        first["spec"]["conversion"] = json!({"webhook": {"clientConfig": {"caBundle": "YQ=="}}});
        judge(&mut first, &Claims::default(), Timestamp::UNIX_EPOCH);
        let established = condition(&first, "Established").unwrap();
        assert_eq!(
            (&established["status"], &established["reason"]),
            (&json!("False"), &json!("InvalidCABundle"))
        );
        assert!(!judge(&mut first, &Claims::default(), Timestamp::UNIX_EPOCH));
        first["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] = "".into();
        judge(&mut first, &Claims::default(), Timestamp::UNIX_EPOCH);
        assert!(is_true(&first, "Established"));
    }

    #[test]
    fn judging_again_changes_nothing() {
        let mut first = definition("widgets", "Widget", "wg");
        judge(&mut first, &Claims::default(), Timestamp::UNIX_EPOCH);
        assert!(!judge(&mut first, &Claims::default(), Timestamp::now()));
    }
}
