//! Types as structured merging sees them: scalars, lists and maps, each granular or atomic.

use serde_json::Value;

use super::element::Element;
use crate::{
    patch::printed,
    schema::{
        table::Field,
        types::{Form, Keys, List, ListType, MapType, Node, Object, Scalar, Shape, Type},
    },
};

/// The type of what a custom schema does not declare but keeps.
static UNDECLARED: Node =
    Node { form: Form::Any, nullable: true, default: None, preserve_unknown: true, embedded: false };

/// How a value is taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Atom<'a> {
    /// Not at all, and any scalar will do.
    Untyped,
    /// Not at all.
    Scalar(Scalar),
    /// A list.
    List(ListAtom<'a>),
    /// A struct or map.
    Map(MapAtom<'a>),
}

/// How a list is taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListAtom<'a> {
    /// The items' type.
    pub(super) items: Type<'a>,
    /// How items are told apart; atomic lists are not taken apart.
    pub(super) kind: ListType<'a>,
}

/// How a struct or map is taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapAtom<'a> {
    fields: Option<Object<'a>>,
    /// The type of the keys that are no declared fields; absent if there are no such keys.
    values: Option<Type<'a>>,
    /// One owner for all of it.
    pub(super) atomic: bool,
}

impl<'a> Atom<'a> {
    /// The atom of a type. Free-form values are what they look like; null then counts as a map.
    pub(super) fn of(ty: Type<'a>, value: Option<&Value>) -> Self {
        match ty.shape() {
            Shape::Scalar(Scalar::Quantity | Scalar::IntOrString | Scalar::Time | Scalar::MicroTime) => {
                Self::Untyped
            }
            Shape::Scalar(scalar) => Self::Scalar(scalar),
            Shape::List(list) => Self::List(ListAtom::of(list)),
            Shape::Map(map) => Self::Map(MapAtom {
                fields: None,
                values: Some(map.values()),
                atomic: map.map_type() == MapType::Atomic,
            }),
            Shape::Object(object) => {
                let keeps = matches!(ty, Type::Custom(node) if node.preserve_unknown);
                Self::Map(MapAtom {
                    fields: Some(object),
                    values: keeps.then_some(Type::Custom(&UNDECLARED)),
                    atomic: object.map_type() == MapType::Atomic,
                })
            }
            Shape::Any => match value {
                Some(Value::Array(_)) => Self::List(ListAtom { items: ty, kind: ListType::Atomic }),
                Some(Value::Object(_) | Value::Null) | None => Self::Map(MapAtom {
                    fields: None,
                    values: Some(ty),
                    // Free-form parts of built-in kinds (`RawExtension`) have one owner.
                    atomic: matches!(ty, Type::Builtin(_)),
                }),
                Some(_) => Self::Untyped,
            },
        }
    }

    /// Whether both are of the same sort.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl<'a> ListAtom<'a> {
    fn of(list: List<'a>) -> Self {
        Self { items: list.items(), kind: list.list_type() }
    }

    /// Whether the list has one owner.
    pub(super) fn is_atomic(&self) -> bool {
        matches!(self.kind, ListType::Atomic)
    }

    /// What tells `item` from the other items of the list.
    pub(super) fn element(&self, item: &Value) -> Result<Element, String> {
        let ListType::Map(keys) = self.kind else { return set_element(item) };
        let fields = match item {
            Value::Object(fields) => fields,
            Value::Null => return Err("associative list with keys may not have a null element".into()),
            _ => return Err("associative list with keys may not have non-map elements".into()),
        };
        let names = key_names(keys);
        let mut key = Vec::with_capacity(names.len());
        for name in &names {
            let value = fields.get(*name).cloned().or_else(|| self.key_default(name));
            key.extend(value.map(|value| ((*name).to_owned(), value)));
        }
        if key.is_empty() {
            let names: Vec<String> = names.iter().map(|name| printed::quoted(name)).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                names.join(" ")
            ));
        }
        Ok(Element::key(key))
    }

    /// What a key field is if absent: its default, or the zero value if Go would always write it.
    fn key_default(&self, name: &str) -> Option<Value> {
        let Shape::Object(object) = self.items.shape() else { return None };
        let field = object.field(name)?;
        field.default().or_else(|| {
            let Shape::Scalar(scalar) = field.ty().shape() else { return None };
            if field.always() && !field.pointer() { zero(scalar) } else { None }
        })
    }
}

/// Go's zero value of a scalar, as JSON; `None` for those that are null.
pub(super) fn zero(scalar: Scalar) -> Option<Value> {
    match scalar {
        Scalar::String => Some("".into()),
        Scalar::Boolean => Some(false.into()),
        Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::IntOrString => Some(0.into()),
        Scalar::Quantity => Some("0".into()),
        Scalar::Duration => Some("0s".into()),
        Scalar::Bytes | Scalar::Time | Scalar::MicroTime => None,
    }
}

fn key_names(keys: Keys<'_>) -> Vec<&str> {
    match keys {
        Keys::Builtin(names) => names.split(',').collect(),
        Keys::Custom(names) => names.iter().map(String::as_str).collect(),
    }
}

fn set_element(item: &Value) -> Result<Element, String> {
    match item {
        Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
        Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
        scalar => Ok(Element::Value(scalar.clone())),
    }
}

impl<'a> MapAtom<'a> {
    /// Whether the type itself names this field.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.fields.is_some_and(|fields| fields.field(name).is_some())
    }

    /// The type of a field or key.
    pub(super) fn child(&self, name: &str) -> Option<Type<'a>> {
        self.fields.and_then(|fields| fields.field(name)).map(Field::ty).or(self.values)
    }

    /// Whether nothing is known of what it holds.
    pub(super) fn is_free(&self) -> bool {
        self.fields.is_none() && self.values.is_some_and(|ty| matches!(ty.shape(), Shape::Any))
    }
}

/// The items of a value that is a list.
pub(super) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether one of two values is a list with items.
pub(super) fn have_items(a: Option<&Value>, b: Option<&Value>) -> bool {
    !items(a).is_empty() || !items(b).is_empty()
}
