//! Objects with declared fields: those of built-in kinds by the table, those of custom ones by their schemas.
//!
//! A type is named by the path to it, such as `Pod0.spec.containers.@idx`, so that nothing is prepared and
//! only what an expression looks at is looked up. The rules are those of Kubernetes for the types of schemas:
//! what a schema does not give one type, such as a quantity, cannot be spoken of.

use serde_json::Value;

use super::{
    json::unescape,
    parse::is_reserved,
    types::{Plain, Type},
};
use crate::{
    registry::access::{bool_at, str_at},
    schema::{
        self,
        table::AnyForm,
        types::{Scalar, Shape},
    },
};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const ITEMS: &str = "@idx";
const VALUES: &str = "@elem";

/// Where the fields of a value are declared.
#[derive(Clone, Copy, Debug)]
pub enum Schema<'s> {
    /// In the table.
    Builtin(schema::types::Type<'static>),
    /// In the OpenAPI schema of a CustomResourceDefinition.
    Custom {
        /// The schema.
        schema: &'s Value,
        /// Whether it is that of a whole object, with metadata.
        whole: bool,
    },
}

/// Objects with declared fields, by the names of their types.
#[derive(Debug, Default)]
pub struct Declared<'s> {
    roots: Vec<(String, Schema<'s>)>,
}

impl<'s> Declared<'s> {
    /// Declares objects of a kind; the answer is their type.
    pub fn declare(&mut self, kind: &str, schema: Schema<'s>) -> Type {
        // Numbered, so that no kind is taken for a type of the language.
        let name = format!("{kind}{}", self.roots.len());
        let ty = schema.ty(&name).unwrap_or(Type::Dyn);
        self.roots.push((name, schema));
        ty
    }

    /// The type of a field of a declared object; the inner `None` is for one that is not declared.
    pub fn field(&self, object: &str, field: &str) -> Option<Option<Type>> {
        let mut steps = object.split('.');
        let root = steps.next()?;
        let (_, root) = self.roots.iter().find(|(name, _)| name == root)?;
        let schema = steps.try_fold(*root, Schema::inner)?;
        Some(schema.inner(field).and_then(|inner| inner.ty(&format!("{object}.{field}"))))
    }
}

impl Schema<'_> {
    /// The schema of a field, as CEL writes it, of the items, or of the values.
    fn inner(self, step: &str) -> Option<Self> {
        let name = unescape(step);
        match self {
            Self::Builtin(ty) => Some(Self::Builtin(match (ty.shape(), step) {
                (Shape::List(list), ITEMS) => list.items(),
                (Shape::Map(map), VALUES) => map.values(),
                (Shape::Object(object), _) if !is_reserved(step) => object.field(&name)?.ty(),
                _ => return None,
            })),
            Self::Custom { schema, whole } => {
                let schema = match step {
                    ITEMS => schema.get("items")?,
                    VALUES => schema.get("additionalProperties")?,
                    "metadata" if whole => {
                        return schema::types::Type::builtin(OBJECT_META).map(Self::Builtin);
                    }
                    _ if is_reserved(step) => return None,
                    _ => schema.get("properties")?.get(&*name)?,
                };
                Some(Self::Custom { schema, whole: bool_at(schema, "/x-kubernetes-embedded-resource") })
            }
        }
    }

    /// The type of its values, where it has one; objects in it get their names from `name`.
    fn ty(self, name: &str) -> Option<Type> {
        let of = |step: &str| self.inner(step)?.ty(&format!("{name}.{step}"));
        let object = || Some(Type::Named(name.to_owned()));
        match self {
            Self::Builtin(ty) => match ty.shape() {
                Shape::Object(_) => object(),
                Shape::Any => (ty.any_form() == AnyForm::Raw).then(object).flatten(),
                Shape::List(_) => Some(Type::list(of(ITEMS)?)),
                Shape::Map(_) => Some(Type::map(Type::TEXT, of(VALUES)?)),
                Shape::Scalar(scalar) => builtin_scalar(scalar),
            },
            Self::Custom { schema, .. } => {
                let format = str_at(schema, "/format");
                if bool_at(schema, "/x-kubernetes-int-or-string") || format == "int-or-string" {
                    return Some(Type::Dyn);
                }
                match str_at(schema, "/type") {
                    "object" if matches!(schema.get("additionalProperties"), Some(Value::Object(_))) => {
                        Some(Type::map(Type::TEXT, of(VALUES)?))
                    }
                    "object" => object(),
                    "array" => Some(Type::list(of(ITEMS)?)),
                    "string" => Some(match format {
                        "byte" => Type::Plain(Plain::Bytes),
                        "duration" => Type::Plain(Plain::Duration),
                        "date" | "date-time" => Type::Plain(Plain::Timestamp),
                        _ => Type::TEXT,
                    }),
                    "boolean" => Some(Type::BOOL),
                    "number" => Some(Type::Plain(Plain::Double)),
                    "integer" => Some(Type::INT),
                    _ => None,
                }
            }
        }
    }
}

fn builtin_scalar(scalar: Scalar) -> Option<Type> {
    Some(match scalar {
        Scalar::String | Scalar::Duration => Type::TEXT,
        Scalar::Bytes => Type::Plain(Plain::Bytes),
        Scalar::Boolean => Type::BOOL,
        Scalar::Int32 | Scalar::Int64 => Type::INT,
        Scalar::Double => Type::Plain(Plain::Double),
        Scalar::Time | Scalar::MicroTime => Type::Plain(Plain::Timestamp),
        Scalar::IntOrString => Type::Dyn,
        // Its schema says either a text or a number, which is not one type.
        Scalar::Quantity => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cel::{Program, Scope};

    /// The type of an expression about `object`, or what is wrong with it.
    fn check(text: &str, kind: &str, schema: Schema<'_>) -> String {
        let mut declared = Declared::default();
        let object = declared.declare(kind, schema);
        let scope = Scope { variables: &[("object", object)], declared: Some(&declared), ..Scope::default() };
        match Program::parse(text).unwrap().check(text, &scope) {
            Ok(ty) => ty.to_string(),
            Err(issues) => issues.to_string(),
        }
    }

    fn of_pod(text: &str) -> String {
        let pod = schema::types::Type::builtin("io.k8s.api.core.v1.Pod").unwrap();
        check(text, "Pod", Schema::Builtin(pod))
    }

    #[test]
    fn fields_of_built_in_kinds_have_their_types() {
        for (text, ty) in [
            ("object", "Pod0"),
            ("object.metadata.labels['a']", "string"),
            ("object.metadata.creationTimestamp", "google.protobuf.Timestamp"),
            ("object.spec.containers", "list(Pod0.spec.containers.@idx)"),
            ("object.spec.containers[0].ports.map(p, p.containerPort)", "list(int)"),
            ("object.spec.containers[0].livenessProbe.httpGet.port", "dyn"),
            ("object.?spec.?nodeName.orValue('')", "string"),
            ("object.metadata.__namespace__", "string"),
        ] {
            assert_eq!(of_pod(text), ty, "{text}");
        }
    }

    #[test]
    fn what_is_not_declared_is_told_where_it_is_written() {
        assert_eq!(
            of_pod("object.spec.replicas > 1"),
            "ERROR: <input>:1:12: undefined field 'replicas'\n | object.spec.replicas > 1\n | ...........^"
        );
        assert!(of_pod("has(object.foo)").starts_with("ERROR: <input>:1:4: undefined field 'foo'"));
        assert!(of_pod("object.spec.containers.all(c, c.foo == 1)").contains(":1:32: undefined field 'foo'"));
        assert!(
            of_pod("object.spec.hostNetwork == 'x'")
                .contains("found no matching overload for '_==_' applied to '(bool, string)'")
        );
        // Quantities have no one type, and reserved words are escaped.
        assert!(of_pod("object.spec.containers[0].resources.limits").contains("undefined field 'limits'"));
        assert!(of_pod("object.metadata.namespace").contains("undefined field 'namespace'"));
    }

    #[test]
    fn fields_of_custom_kinds_have_the_types_of_their_schema() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer"},
                "port": {"x-kubernetes-int-or-string": true},
                "every": {"type": "string", "format": "duration"},
                "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "some-name": {"type": "string"},
                "template": {"type": "object", "x-kubernetes-embedded-resource": true},
            }},
        }});
        let of = |text: &str| check(text, "Widget", Schema::Custom { schema: &schema, whole: true });
        assert_eq!(of("object.spec.size"), "int");
        assert_eq!(of("object.spec.port"), "dyn");
        assert_eq!(of("object.spec.every"), "google.protobuf.Duration");
        assert_eq!(of("object.spec.tags"), "map(string, string)");
        assert_eq!(of("object.spec.some__dash__name"), "string");
        assert_eq!(of("object.metadata.name + object.spec.template.metadata.name"), "string");
        assert!(of("object.spec.open.x").contains("undefined field 'x'"));
        assert!(of("object.spec.size == '1'").contains("applied to '(int, string)'"));
    }
}
