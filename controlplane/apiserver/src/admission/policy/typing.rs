//! What the expressions of a validating policy get wrong about the kinds that it names: `status.typeChecking`.
//!
//! It is for the policy's author only. A rule with a wildcard among its groups or versions is not looked at, nor
//! are subresources, and so many kinds of a rule at most. Types are made for one check and not kept
//! (<https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking>).

use std::collections::BTreeMap;

use serde_json::Value;

use super::parameters::Kind;
use crate::{
    cel::{
        Issues, Type,
        declared::{Declared, Schema},
    },
    registry::{
        access::{at, get, list_at, str_at, strs_at},
        admissionregistration::expression::{Environment, Objects, compile},
    },
    resource::Definition,
    schema,
    server::Server,
};

/// How many kinds one rule of a policy may ask to be checked.
const MAX_KINDS: usize = 10;

/// What is wrong with the expressions of a validating policy, given what the server serves: the fields that
/// they are in, with what there is to say of them, kind by kind.
pub fn warnings(server: &Server, policy: &Value) -> Vec<(String, String)> {
    let spec = at(policy, "/spec");
    let kinds: Vec<Typed> = kinds(server, spec).into_values().map(Typed::new).collect();
    let parameters = get(spec, "/paramKind");
    let parameter_kind = parameters.and_then(|kind| Kind::read(kind).resource(server).ok()).map(Typed::new);
    let check = |text: &str| {
        let told = kinds.iter().filter_map(|kind| {
            let issues = kind.check(spec, parameters.is_some(), parameter_kind.as_ref(), text).err()?;
            let definition = &kind.definition;
            let (group, version, kind) = (definition.group(), definition.version(), definition.kind());
            Some(format!("{group}/{version}, Kind={kind}: {issues}\n"))
        });
        Some(told.collect::<Vec<_>>().join("\n")).filter(|message| !message.is_empty())
    };
    let mut warnings = Vec::new();
    for (index, validation) in list_at(spec, "/validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let text = str_at(validation, &format!("/{field}"));
            if let Some(message) = Some(text).filter(|text| !text.is_empty()).and_then(check) {
                warnings.push((format!("spec.validations[{index}].{field}"), message));
            }
        }
    }
    warnings
}

/// The kinds to check against, by group, version and kind.
fn kinds(server: &Server, spec: &Value) -> BTreeMap<[String; 3], Definition> {
    let mut kinds = BTreeMap::new();
    for rule in list_at(spec, "/matchConstraints/resourceRules") {
        let sorted = |field| {
            let mut values: Vec<&str> = strs_at(rule, field).collect();
            values.sort_unstable();
            values
        };
        let (groups, versions) = (sorted("/apiGroups"), sorted("/apiVersions"));
        if groups.iter().chain(&versions).any(|name| name.contains('*')) {
            continue;
        }
        let mut resources = sorted("/resources");
        resources.retain(|name| !name.contains(['*', '/']));
        let mut count = 0;
        for group in &groups {
            for version in &versions {
                for definition in
                    resources.iter().filter_map(|plural| server.catalog.find(group, version, plural))
                {
                    let key = [group, version, definition.kind()].map(str::to_owned);
                    kinds.insert(key, definition);
                    count += 1;
                    if count == MAX_KINDS {
                        return kinds;
                    }
                }
            }
        }
    }
    kinds
}

/// A kind with what is known of its objects.
struct Typed {
    definition: Definition,
    /// The schema of a custom kind.
    custom: Value,
}

impl Typed {
    fn new(definition: Definition) -> Self {
        let custom = match &definition {
            Definition::Builtin(_) => Value::Null,
            Definition::Custom(custom) => serde_json::from_str(&custom.schema.text()).unwrap_or_default(),
        };
        Self { definition, custom }
    }

    fn declare<'s>(&'s self, declared: &mut Declared<'s>) -> Type {
        let schema = match &self.definition {
            Definition::Builtin(resource) => {
                schema::types::Type::builtin(resource.type_name).map(Schema::Builtin)
            }
            Definition::Custom(_) => Some(Schema::Custom { schema: &self.custom, whole: true }),
        };
        schema.map_or(Type::Dyn, |schema| declared.declare(self.definition.kind(), schema))
    }

    /// Checks an expression about objects of this kind.
    fn check(
        &self,
        spec: &Value,
        has_parameters: bool,
        parameters: Option<&Self>,
        text: &str,
    ) -> Result<Type, Issues> {
        let mut declared = Declared::default();
        let object = self.declare(&mut declared);
        let parameters = parameters.map_or(Type::Dyn, |kind| kind.declare(&mut declared));
        let objects = Objects { declared: &declared, object: &object, parameters: &parameters };
        let mut variables = Vec::new();
        let base = Environment {
            parameters: has_parameters,
            authorizer: true,
            objects: Some(objects),
            ..Environment::default()
        };
        for variable in list_at(spec, "/variables") {
            // Of one that is wrong nothing is known; only validations are told about.
            let environment = Environment { variables: Some(&variables), ..base };
            let ty = compile(str_at(variable, "/expression"), environment).unwrap_or(Type::Dyn);
            variables.push((str_at(variable, "/name"), ty));
        }
        compile(text, Environment { variables: Some(&variables), ..base })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{custom::compile::compile as compile_custom, instance::Instance};

    async fn server() -> Server {
        let server = Instance::start(crate::instance::Options::default()).await.unwrap().server;
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"max": {"type": "integer"}}},
        }});
        let definition = json!({
            "spec": {
                "group": "example.com",
                "names": {"plural": "limits", "kind": "Limit"},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": schema}}],
            },
        });
        let names = json!({"kind": "Limit", "listKind": "LimitList", "singular": "limit"});
        server.catalog.set_custom("example.com", "limits", compile_custom(&definition, &names, 1));
        server
    }

    fn policy(rules: Value, spec: Value) -> Value {
        let mut policy = json!({"spec": spec});
        policy["spec"]["matchConstraints"] = json!({"resourceRules": rules});
        policy
    }

    fn deployments() -> Value {
        json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}])
    }

    #[tokio::test]
    async fn an_expression_about_a_field_that_a_kind_has_not_is_told_kind_by_kind() {
        let rules = json!([{
            "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["replicasets", "deployments"],
        }]);
        let policy = policy(
            rules,
            json!({"validations": [
                {"expression": "object.spec.replicas < 5"},
                {"expression": "object.replicas > 1", "messageExpression": "'at ' + object.spec.replicas"},
            ]}),
        );
        let found = warnings(&server().await, &policy);
        let of = |kind: &str| {
            format!(
                "apps/v1, Kind={kind}: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n"
            )
        };
        assert_eq!(found[0].0, "spec.validations[1].expression");
        assert_eq!(found[0].1, format!("{}\n{}", of("Deployment"), of("ReplicaSet")));
        assert_eq!(found[1].0, "spec.validations[1].messageExpression");
        assert!(found[1].1.contains("found no matching overload for '_+_' applied to '(string, int)'"));
        assert_eq!(found.len(), 2);
    }

    #[tokio::test]
    async fn wildcards_subresources_and_unknown_kinds_are_not_checked() {
        let server = server().await;
        let spec = json!({"validations": [{"expression": "object.foo == 1"}]});
        for rule in [
            json!({"apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["deployments"]}),
            json!({"apiGroups": ["apps"], "apiVersions": ["*"], "resources": ["deployments"]}),
            json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["*"]}),
            json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}),
            json!({"apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["nothings"]}),
        ] {
            assert_eq!(warnings(&server, &policy(json!([rule]), spec.clone())), []);
        }
        assert_eq!(warnings(&server, &policy(deployments(), spec)).len(), 1);
    }

    #[tokio::test]
    async fn parameters_and_variables_have_types_too() {
        let server = server().await;
        let told = |kind: &str, expression: &str| {
            let spec = json!({
                "paramKind": {"apiVersion": "example.com/v1", "kind": kind},
                "variables": [
                    {"name": "replicas", "expression": "object.spec.replicas"},
                    {"name": "twice", "expression": "variables.replicas * 2"},
                    {"name": "broken", "expression": "object.foo"},
                ],
                "validations": [{"expression": expression}],
            });
            let found = warnings(&server, &policy(deployments(), spec));
            found.into_iter().map(|(_, message)| message).collect::<String>()
        };
        assert_eq!(told("Limit", "variables.twice <= params.spec.max && variables.broken == 1"), "");
        assert!(told("Limit", "variables.twice == 'two'").contains("applied to '(int, string)'"));
        assert!(told("Limit", "params.spec.min == 1").contains("undefined field 'min'"));
        assert!(told("Limit", "variables.other").contains("undefined field 'other'"));
        assert!(told("Limit", "authorizer.allowed()").contains("found no matching overload for 'allowed'"));
        // Of a kind that nobody knows, nothing is known.
        assert_eq!(told("Unknown", "params.spec.min == 1"), "");
    }
}
