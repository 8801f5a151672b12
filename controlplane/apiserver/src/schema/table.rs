//! The generated table and the accessors of [`super::types`].
//!
//! `table.txt` is what people read and review; `build/table.rs` packs it, and says how. Reading a row is a
//! few loads from read-only data: nothing is built at start and nothing is cached.

mod collections;

use serde_json::Value;

use super::types::{Form, MapType, Node, PatchStrategy, Scalar, Shape, Type};

pub use collections::{List, Map};
use collections::{ListRef, MapRef};

static TABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/table.bin"));

const HEADER: usize = 8;
const TYPE_WIDTH: usize = 8;
const FIELD_WIDTH: usize = 16;

const KIND_OBJECT: u8 = 0;
const KIND_MAP: u8 = 1;
const KIND_LIST: u8 = 2;
const KIND_SCALAR: u8 = 3;

const TYPE_ATOMIC: u8 = 1;
const TYPE_WRAPPED: u8 = 2;

const FIELD_REQUIRED: u8 = 1;
const FIELD_POINTER: u8 = 1 << 1;
const FIELD_INLINE: u8 = 1 << 4;
const FIELD_ATOMIC: u8 = 1 << 5;
const FIELD_MERGE: u8 = 1 << 6;
const FIELD_RETAIN_KEYS: u8 = 1 << 7;

/// The bit of a tag that says that JSON always shows the field.
const ALWAYS: u16 = 1 << 15;

fn word(at: usize) -> u16 {
    u16::from_le_bytes([TABLE[at], TABLE[at + 1]])
}

fn count(index: usize) -> usize {
    usize::from(word(index * 2))
}

fn string(index: u16) -> &'static str {
    std::str::from_utf8(text(index)).unwrap_or_default()
}

/// The same, where it is only compared.
fn text(index: u16) -> &'static [u8] {
    let index = usize::from(index);
    let end_at = |i: usize| {
        let at = HEADER + i * 4;
        u32::from_le_bytes([TABLE[at], TABLE[at + 1], TABLE[at + 2], TABLE[at + 3]]) as usize
    };
    let base = HEADER + count(3) * 4 + count(1) * TYPE_WIDTH + count(2) * FIELD_WIDTH;
    let start = if index == 0 { 0 } else { end_at(index - 1) };
    &TABLE[base + start..base + end_at(index)]
}

/// The table itself, for hashes of what is made from it.
pub fn bytes() -> &'static [u8] {
    TABLE
}

/// A row of the types.
#[derive(Clone, Copy)]
struct TypeRow {
    kind: u8,
    flags: u8,
    a: u16,
    b: u16,
    name: u16,
}

fn type_row(index: u16) -> TypeRow {
    let at = HEADER + count(3) * 4 + usize::from(index) * TYPE_WIDTH;
    let mut row = TypeRow {
        kind: TABLE[at],
        flags: TABLE[at + 1],
        a: word(at + 2),
        b: word(at + 4),
        name: word(at + 6),
    };
    // An object that is atomic in one place only borrows the fields of the original.
    if row.kind == KIND_OBJECT && row.b == u16::MAX {
        let original = type_row(row.a);
        (row.a, row.b) = (original.a, original.b);
    }
    row
}

/// The names of all messages, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    (0..word(0)).map(|i| string(type_row(i).name))
}

/// What a JSON value of [`Shape::Any`] is in protobuf, and below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyForm {
    /// JSON text as bytes.
    Raw,
    /// A `JSONSchemaProps` or a list of them.
    SchemaOrArray,
    /// A `JSONSchemaProps` or a boolean.
    SchemaOrBool,
    /// A `JSONSchemaProps` or a list of strings.
    SchemaOrStrings,
}

impl<'a> Type<'a> {
    /// The type of a definition such as `io.k8s.api.core.v1.Pod`.
    pub fn builtin(name: &str) -> Option<Type<'static>> {
        let (mut low, mut high) = (0, word(0));
        while low < high {
            let middle = u16::midpoint(low, high);
            match text(type_row(middle).name).cmp(name.as_bytes()) {
                std::cmp::Ordering::Equal => return Some(Type::Builtin(middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// What its values look like.
    pub fn shape(self) -> Shape<'a> {
        match self {
            Self::Builtin(index) => builtin_shape(index),
            Self::Custom(node) => match &node.form {
                Form::Object { .. } => Shape::Object(Object(ObjectRef::Custom(node))),
                Form::Map { .. } => Shape::Map(Map(MapRef::Custom(node))),
                Form::List { .. } => Shape::List(List(ListRef::Custom(node))),
                Form::Scalar(scalar) => Shape::Scalar(*scalar),
                Form::Any => Shape::Any,
                Form::Builtin(index) => builtin_shape(*index),
            },
        }
    }

    /// Whether `null` is a value of its own; elsewhere it means absent.
    pub fn nullable(self) -> bool {
        match self {
            Self::Builtin(_) => false,
            Self::Custom(node) => node.nullable,
        }
    }

    /// The name of its definition, if it is a message of the table.
    pub fn name(self) -> Option<&'static str> {
        let row = type_row(self.row()?);
        (row.kind == KIND_OBJECT).then(|| string(row.name))
    }

    /// The schema of a custom type, for what only custom types have.
    pub fn node(self) -> Option<&'a Node> {
        match self {
            Self::Builtin(_) => None,
            Self::Custom(node) => Some(node),
        }
    }

    /// How a value of [`Shape::Any`] is encoded; [`AnyForm::Raw`] for all others.
    pub fn any_form(self) -> AnyForm {
        let variant = self.row().map(type_row).filter(|r| r.kind > KIND_SCALAR).map_or(0, |r| r.b);
        match variant {
            1 => AnyForm::SchemaOrArray,
            2 => AnyForm::SchemaOrBool,
            3 => AnyForm::SchemaOrStrings,
            _ => AnyForm::Raw,
        }
    }

    fn row(self) -> Option<u16> {
        match self {
            Self::Builtin(index) => Some(index),
            Self::Custom(Node { form: Form::Builtin(index), .. }) => Some(*index),
            Self::Custom(_) => None,
        }
    }
}

fn builtin_shape(index: u16) -> Shape<'static> {
    match type_row(index).kind {
        KIND_OBJECT => Shape::Object(Object(ObjectRef::Builtin(index))),
        KIND_MAP => Shape::Map(Map(MapRef::Builtin(index))),
        KIND_LIST => Shape::List(List(ListRef::Builtin(index))),
        KIND_SCALAR => Shape::Scalar(scalar(type_row(index).b)),
        _ => Shape::Any,
    }
}

fn scalar(number: u16) -> Scalar {
    match number {
        0 => Scalar::String,
        1 => Scalar::Bytes,
        2 => Scalar::Boolean,
        3 => Scalar::Int32,
        4 => Scalar::Int64,
        5 => Scalar::Double,
        6 => Scalar::Quantity,
        7 => Scalar::IntOrString,
        8 => Scalar::Time,
        9 => Scalar::MicroTime,
        _ => Scalar::Duration,
    }
}

fn map_type(atomic: bool) -> MapType {
    if atomic { MapType::Atomic } else { MapType::Granular }
}

/// An object with named fields.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a>(ObjectRef<'a>);

#[derive(Clone, Copy, Debug)]
enum ObjectRef<'a> {
    Builtin(u16),
    Custom(&'a Node),
}

impl<'a> Object<'a> {
    /// Its fields, sorted by JSON name.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let (rows, nodes) = match self.0 {
            ObjectRef::Builtin(index) => (visible_rows(index), None),
            ObjectRef::Custom(node) => (0..0, Some(node)),
        };
        let custom = nodes.into_iter().filter_map(|node| match &node.form {
            Form::Object { fields, .. } => Some(fields.iter().map(|(n, f)| custom_field(node, n, f))),
            _ => None,
        });
        rows.map(|row| Field(FieldRef::Builtin(row))).chain(custom.flatten())
    }

    /// The field of a JSON name.
    pub fn field(&self, name: &str) -> Option<Field<'a>> {
        match self.0 {
            ObjectRef::Builtin(index) => {
                let rows = visible_rows(index);
                let (mut low, mut high) = (rows.start, rows.end);
                while low < high {
                    let middle = u16::midpoint(low, high);
                    match text(field_word(middle, 0)).cmp(name.as_bytes()) {
                        std::cmp::Ordering::Equal => return Some(Field(FieldRef::Builtin(middle))),
                        std::cmp::Ordering::Less => low = middle + 1,
                        std::cmp::Ordering::Greater => high = middle,
                    }
                }
                None
            }
            ObjectRef::Custom(node) => match &node.form {
                Form::Object { fields, .. } => {
                    fields.get_key_value(name).map(|(name, field)| custom_field(node, name, field))
                }
                _ => None,
            },
        }
    }

    /// The Go structs embedded in it: fields in JSON, messages of their own in protobuf.
    pub fn embedded_messages(&self) -> impl Iterator<Item = (u32, Type<'static>)> + use<> {
        let rows = match self.0 {
            ObjectRef::Builtin(index) => visible_rows(index).end..all_rows(index).end,
            ObjectRef::Custom(_) => 0..0,
        };
        rows.map(|row| (u32::from(field_word(row, 4) & !ALWAYS), Type::Builtin(field_word(row, 2))))
    }

    /// Unknown fields are kept.
    pub fn preserve_unknown(&self) -> bool {
        matches!(self.0, ObjectRef::Custom(node) if node.preserve_unknown)
    }

    /// How apply treats it.
    pub fn map_type(&self) -> MapType {
        match self.0 {
            ObjectRef::Builtin(index) => map_type(type_row(index).flags & TYPE_ATOMIC != 0),
            ObjectRef::Custom(node) => match &node.form {
                Form::Object { map_type, .. } => map_type.unwrap_or(MapType::Granular),
                _ => MapType::Granular,
            },
        }
    }

    /// It holds a whole Kubernetes object.
    pub fn embedded(&self) -> bool {
        matches!(self.0, ObjectRef::Custom(node) if node.embedded)
    }
}

fn all_rows(index: u16) -> std::ops::Range<u16> {
    let row = type_row(index);
    row.a..row.a + row.b
}

/// Without the rows of embedded structs, which are last.
fn visible_rows(index: u16) -> std::ops::Range<u16> {
    let mut rows = all_rows(index);
    while rows.end > rows.start && field_flags(rows.end - 1) & FIELD_INLINE != 0 {
        rows.end -= 1;
    }
    rows
}

fn field_at(row: u16) -> usize {
    HEADER + count(3) * 4 + count(1) * TYPE_WIDTH + usize::from(row) * FIELD_WIDTH
}

fn field_word(row: u16, offset: usize) -> u16 {
    word(field_at(row) + offset)
}

fn field_flags(row: u16) -> u8 {
    TABLE[field_at(row) + 7]
}

fn custom_field<'a>(parent: &'a Node, name: &'a str, node: &'a Node) -> Field<'a> {
    Field(FieldRef::Custom { parent, name, node })
}

/// A field of an [`Object`].
#[derive(Clone, Copy, Debug)]
pub struct Field<'a>(FieldRef<'a>);

#[derive(Clone, Copy, Debug)]
enum FieldRef<'a> {
    Builtin(u16),
    Custom { parent: &'a Node, name: &'a str, node: &'a Node },
}

impl<'a> Field<'a> {
    /// The JSON name.
    pub fn name(self) -> &'a str {
        match self.0 {
            FieldRef::Builtin(row) => string(field_word(row, 0)),
            FieldRef::Custom { name, .. } => name,
        }
    }

    /// The type of its value.
    pub fn ty(self) -> Type<'a> {
        match self.0 {
            FieldRef::Builtin(row) => Type::Builtin(field_word(row, 2)),
            FieldRef::Custom { node, .. } => Type::Custom(node),
        }
    }

    /// The value that an absent field gets.
    pub fn default(self) -> Option<Value> {
        match self.0 {
            FieldRef::Builtin(row) => match string(field_word(row, 10)) {
                "" => None,
                text => serde_json::from_str(text).ok(),
            },
            FieldRef::Custom { node, .. } => node.default.clone(),
        }
    }

    /// Whether an absent field gets a value.
    pub fn has_default(self) -> bool {
        match self.0 {
            FieldRef::Builtin(row) => field_word(row, 10) != 0,
            FieldRef::Custom { node, .. } => node.default.is_some(),
        }
    }

    /// How a strategic merge patch treats it.
    pub fn patch(self) -> PatchStrategy<'a> {
        let FieldRef::Builtin(row) = self.0 else { return PatchStrategy::default() };
        let flags = field_flags(row);
        PatchStrategy {
            merge: flags & FIELD_MERGE != 0,
            retain_keys: flags & FIELD_RETAIN_KEYS != 0,
            merge_key: Some(string(field_word(row, 8))).filter(|key| !key.is_empty()),
        }
    }

    /// The protobuf tag; 0 where it has none (`kind`, `apiVersion`, fields of embedded structs).
    pub fn tag(self) -> u32 {
        match self.0 {
            FieldRef::Builtin(row) => u32::from(field_word(row, 4) & !ALWAYS),
            FieldRef::Custom { .. } => 0,
        }
    }

    /// Its place in the Go struct, which is its place in JSON output.
    pub fn order(self) -> u8 {
        match self.0 {
            FieldRef::Builtin(row) => TABLE[field_at(row) + 6],
            FieldRef::Custom { .. } => 0,
        }
    }

    /// OpenAPI requires it.
    pub fn required(self) -> bool {
        match self.0 {
            FieldRef::Builtin(_) => self.has(FIELD_REQUIRED),
            FieldRef::Custom { parent, name, .. } => match &parent.form {
                Form::Object { required, .. } => required.iter().any(|r| r == name),
                _ => false,
            },
        }
    }

    /// A Go pointer: an explicit zero differs from absent. Lists, maps and bytes never are.
    pub fn pointer(self) -> bool {
        self.has(FIELD_POINTER)
    }

    /// JSON shows it even when it is empty: the zero value of its type, `null` for pointers, lists and maps.
    pub fn always(self) -> bool {
        matches!(self.0, FieldRef::Builtin(row) if field_word(row, 4) & ALWAYS != 0)
    }

    /// The list, map or struct is marked atomic in this place.
    pub fn atomic(self) -> bool {
        self.has(FIELD_ATOMIC)
    }

    /// The values that it (or its items) may have, if it is an enumeration.
    pub fn values(self) -> Option<impl Iterator<Item = &'static str>> {
        let FieldRef::Builtin(row) = self.0 else { return None };
        string(field_word(row, 12)).strip_prefix('|').map(|values| values.split('|'))
    }

    /// The named Go type of a value that is no message, such as `v1.Protocol`.
    pub fn go_type(self) -> Option<&'static str> {
        let FieldRef::Builtin(row) = self.0 else { return None };
        Some(string(field_word(row, 14))).filter(|name| !name.is_empty())
    }

    fn has(self, flag: u8) -> bool {
        matches!(self.0, FieldRef::Builtin(row) if field_flags(row) & flag != 0)
    }
}

#[cfg(test)]
mod tests;
