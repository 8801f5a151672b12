//! Maps and lists.

use super::{TYPE_ATOMIC, TYPE_WRAPPED, map_type, string, type_row};
use crate::schema::types::{CustomListType, Form, Keys, ListType, MapType, Node, Type};

/// An object with free keys.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a>(pub(super) MapRef<'a>);

#[derive(Clone, Copy, Debug)]
pub(super) enum MapRef<'a> {
    Builtin(u16),
    Custom(&'a Node),
}

impl<'a> Map<'a> {
    /// The type of its values.
    pub fn values(&self) -> Type<'a> {
        match self.0 {
            MapRef::Builtin(index) => Type::Builtin(type_row(index).a),
            MapRef::Custom(node) => match &node.form {
                Form::Map { values, .. } => Type::Custom(values),
                _ => Type::Custom(node),
            },
        }
    }

    /// How apply treats it.
    pub fn map_type(&self) -> MapType {
        match self.0 {
            MapRef::Builtin(index) => map_type(type_row(index).flags & TYPE_ATOMIC != 0),
            MapRef::Custom(node) => match &node.form {
                Form::Map { map_type, .. } => map_type.unwrap_or(MapType::Granular),
                _ => MapType::Granular,
            },
        }
    }
}

/// An array.
#[derive(Clone, Copy, Debug)]
pub struct List<'a>(pub(super) ListRef<'a>);

#[derive(Clone, Copy, Debug)]
pub(super) enum ListRef<'a> {
    Builtin(u16),
    Custom(&'a Node),
}

impl<'a> List<'a> {
    /// The type of its items.
    pub fn items(&self) -> Type<'a> {
        match self.0 {
            ListRef::Builtin(index) => Type::Builtin(type_row(index).a),
            ListRef::Custom(node) => match &node.form {
                Form::List { items, .. } => Type::Custom(items),
                _ => Type::Custom(node),
            },
        }
    }

    /// How apply treats it.
    pub fn list_type(&self) -> ListType<'a> {
        match self.0 {
            ListRef::Builtin(index) => {
                let row = type_row(index);
                match row.b {
                    0 => ListType::Atomic,
                    1 => ListType::Set,
                    _ => ListType::Map(Keys::Builtin(string(row.name))),
                }
            }
            ListRef::Custom(node) => match &node.form {
                Form::List { list_type: CustomListType::Set, .. } => ListType::Set,
                Form::List { list_type: CustomListType::Map(keys), .. } => ListType::Map(Keys::Custom(keys)),
                _ => ListType::Atomic,
            },
        }
    }

    /// In protobuf it is a message around the list (Go's `ExtraValue` and `Verbs`).
    pub fn wrapped(&self) -> bool {
        matches!(self.0, ListRef::Builtin(index) if type_row(index).flags & TYPE_WRAPPED != 0)
    }
}
