//! Values of expressions.

use std::{borrow::Cow, cmp::Ordering, fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use jiff::civil::DateTime;
use serde_json::{Map as JsonMap, Value as Json};

use super::{Error, functions::semver::Version, json};
use crate::{
    custom::{
        checks::{Checks, ListKind},
        uri::Uri,
    },
    field,
    schema::quantity::Quantity,
};

/// A value. Texts, lists and objects of documents are borrowed from them.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `uint`
    Uint(u64),
    /// `double`
    Double(f64),
    /// `string`
    Text(Cow<'a, str>),
    /// `bytes`
    Bytes(Arc<[u8]>),
    /// `list`, made by the expression
    List(Arc<[Self]>),
    /// `map`, made by the expression; in the order of its entries
    Map(Arc<[(Self, Self)]>),
    /// A list of a document.
    Array(Array<'a>),
    /// A map or object of a document.
    Object(Object<'a>),
    /// `google.protobuf.Duration`, in nanoseconds
    Duration(i64),
    /// `google.protobuf.Timestamp`, in UTC.
    Timestamp(DateTime),
    /// `optional_type`
    Optional(Option<Arc<Self>>),
    /// A type.
    Type(&'static str),
    /// `kubernetes.Quantity`
    Quantity(Arc<Quantity>),
    /// `net.IP`
    Ip(IpAddr),
    /// `net.CIDR`
    Cidr(Cidr),
    /// `kubernetes.URL`
    Url(Arc<Uri>),
    /// `kubernetes.Semver`
    Semver(Arc<Version>),
    /// `kubernetes.NamedFormat`
    Format(&'static str),
    /// An object that the expression made: `Object.spec{replicas: 1}`
    Made(Made<'a>),
    /// Something of the program around.
    Foreign(Arc<dyn Foreign>),
}

/// An object that an expression made of a named type.
#[derive(Clone, Debug)]
pub struct Made<'a> {
    /// The name of its type.
    pub name: &'a str,
    /// Its fields by their names, in order.
    pub fields: Arc<[(&'a str, Value<'a>)]>,
}

/// A value that the program around an expression gives it: opaque but for its functions and fields.
pub trait Foreign: fmt::Debug + Send + Sync {
    /// The name of its type.
    fn type_name(&self) -> &'static str;

    /// A field.
    fn field(&self, _name: &str) -> Option<Value<'static>> {
        None
    }

    /// Calls one of its functions; `None` if it has none of that name for such arguments.
    fn call(&self, function: &str, arguments: &[Value<'_>]) -> Option<Result<Value<'static>, Error>>;
}

/// A CIDR with the address that it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// As written, not masked.
    pub address: IpAddr,
    /// The network.
    pub network: IpNet,
}

/// A list of a document, with its schema if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    /// The items.
    pub items: &'a [Json],
    /// The schema of the list.
    pub schema: Option<&'a Checks>,
}

/// A map or object of a document, with its schema if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// The entries.
    pub map: &'a JsonMap<String, Json>,
    /// The schema of the object.
    pub schema: Option<&'a Checks>,
}

impl<'a> Array<'a> {
    /// An item.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        self.items.get(index).map(|item| self.item(item))
    }

    /// All items.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Value<'a>> + use<'a> {
        let array = *self;
        array.items.iter().map(move |item| array.item(item))
    }

    fn item(&self, item: &'a Json) -> Value<'a> {
        json::value(item, self.schema.and_then(|schema| schema.items.as_deref()))
    }

    fn kind(&self) -> &'a ListKind {
        self.schema.map_or(&ListKind::Atomic, |schema| &schema.list)
    }
}

impl<'a> Object<'a> {
    /// A field, by its name in CEL; an entry of a map, by its key.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let name = if self.is_map() { Cow::Borrowed(name) } else { json::unescape(name) };
        let (key, value) = self.map.get_key_value(&*name)?;
        Some(json::value(value, self.schema.and_then(|schema| schema.child(key))))
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> + use<'a> {
        let object = *self;
        object.map.iter().map(move |(key, value)| {
            let schema = object.schema.and_then(|schema| schema.child(key));
            (Value::Text(key.as_str().into()), json::value(value, schema))
        })
    }

    /// Whether its keys are data and not the names of fields.
    fn is_map(&self) -> bool {
        self.schema.is_none_or(|schema| schema.properties.is_empty())
    }
}

impl<'a> Value<'a> {
    /// A text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// A list.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(items.into())
    }

    /// An optional with a value.
    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) | Self::Array(_) => "list",
            Self::Map(_) | Self::Object(_) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Made(_) => "object",
            Self::Foreign(value) => value.type_name(),
        }
    }

    /// The items, if it is a list.
    pub fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.to_vec()),
            Self::Array(array) => Some(array.iter().collect()),
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub fn entries(&self) -> Option<Vec<(Self, Self)>> {
        match self {
            Self::Map(entries) => Some(entries.to_vec()),
            Self::Object(object) => Some(object.iter().collect()),
            _ => None,
        }
    }

    /// How many items, entries or characters it has.
    pub fn size(&self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.chars().count()),
            Self::Bytes(bytes) => Some(bytes.len()),
            Self::List(items) => Some(items.len()),
            Self::Array(array) => Some(array.items.len()),
            Self::Map(entries) => Some(entries.len()),
            Self::Object(object) => Some(object.map.len()),
            _ => None,
        }
    }

    /// The value at a key of a map or an index of a list.
    pub fn at(&self, key: &Value<'_>) -> Result<Self, Error> {
        match (self, key) {
            (Self::List(_) | Self::Array(_), _) => {
                let index = key.whole().ok_or(Error::NoSuchOverload)?;
                let place = usize::try_from(index).ok();
                let found = place.and_then(|place| match self {
                    Self::List(items) => items.get(place).cloned(),
                    Self::Array(array) => array.get(place),
                    _ => None,
                });
                found.ok_or(Error::OutOfBounds(index))
            }
            (Self::Map(entries), _) => {
                let found = entries.iter().find(|(k, _)| k.equals(key));
                found.map(|(_, value)| value.clone()).ok_or_else(|| Error::NoSuchKey(key.to_text()))
            }
            (Self::Object(object), Value::Text(name)) => {
                object.get(name).ok_or_else(|| Error::NoSuchKey(name.to_string()))
            }
            (Self::Object(_), _) => Err(Error::NoSuchKey(key.to_text())),
            (Self::Made(made), Value::Text(name)) => {
                let found = made.fields.iter().find(|(field, _)| *field == &**name);
                found.map(|(_, value)| value.clone()).ok_or_else(|| Error::NoSuchKey(name.to_string()))
            }
            (Self::Foreign(value), Value::Text(name)) => {
                value.field(name).ok_or_else(|| Error::NoSuchKey(name.to_string()))
            }
            _ => Err(Error::NoSuchOverload),
        }
    }

    /// A whole number, whatever its type.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Uint(n) => i64::try_from(*n).ok(),
            Self::Double(n) if n.fract() == 0.0 && n.abs() < 9e18 => Some(*n as i64),
            _ => None,
        }
    }

    /// Whether both are the same; values of different types never are, but numbers are numbers.
    pub fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::Text(a), Value::Text(b)) => a == b,
            (Self::Bytes(a), Value::Bytes(b)) => a == b,
            (Self::Duration(a), Value::Duration(b)) => a == b,
            (Self::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Self::Type(a), Value::Type(b)) | (Self::Format(a), Value::Format(b)) => a == b,
            (Self::Quantity(a), Value::Quantity(b)) => a == b,
            (Self::Ip(a), Value::Ip(b)) => a == b,
            (Self::Cidr(a), Value::Cidr(b)) => a == b,
            (Self::Url(a), Value::Url(b)) => a.text == b.text,
            (Self::Semver(a), Value::Semver(b)) => a.cmp(b).is_eq(),
            (Self::Optional(a), Value::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equals(b),
                (None, None) => true,
                _ => false,
            },
            (Self::Made(a), Value::Made(b)) => a.name == b.name && a.same_fields(b),
            (Self::List(_) | Self::Array(_), Value::List(_) | Value::Array(_)) => self.same_items(other),
            (Self::Map(_) | Self::Object(_), Value::Map(_) | Value::Object(_)) => self.same_entries(other),
            _ => self.compare_numbers(other) == Some(Ordering::Equal),
        }
    }

    /// Lists are the same if their items are, in order; sets and maps by key in any order.
    fn same_items(&self, other: &Value<'_>) -> bool {
        let (Some(a), Some(b)) = (self.items(), other.items()) else { return false };
        if a.len() != b.len() {
            return false;
        }
        match self.list_kind() {
            ListKind::Atomic => a.iter().zip(&b).all(|(a, b)| a.equals(b)),
            ListKind::Set => a.iter().all(|a| b.iter().any(|b| a.equals(b))),
            ListKind::Map(keys) => a.iter().all(|a| b.iter().any(|b| same_key(a, b, keys) && a.equals(b))),
        }
    }

    fn same_entries(&self, other: &Value<'_>) -> bool {
        let (Some(a), Some(b)) = (self.entries(), other.entries()) else { return false };
        a.len() == b.len() && a.iter().all(|(key, a)| b.iter().any(|(k, b)| k.equals(key) && a.equals(b)))
    }

    fn list_kind(&self) -> &'a ListKind {
        match self {
            Self::Array(array) => array.kind(),
            _ => &ListKind::Atomic,
        }
    }

    fn compare_numbers(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
            (Self::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            _ => self.double()?.partial_cmp(&other.double()?),
        }
    }

    /// A number as a double.
    pub fn double(&self) -> Option<f64> {
        match self {
            Self::Int(n) => Some(*n as f64),
            Self::Uint(n) => Some(*n as f64),
            Self::Double(n) => Some(*n),
            _ => None,
        }
    }

    /// The order of two values that have one. Numbers that are none have an order with nothing.
    pub fn compare(&self, other: &Self) -> Result<Option<Ordering>, Error> {
        Ok(Some(match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Duration(a), Self::Duration(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            _ if self.double().is_some() && other.double().is_some() => {
                return Ok(self.compare_numbers(other));
            }
            _ => return Err(Error::NoSuchOverload),
        }))
    }

    /// `a + b` of lists: sets do not repeat items, and those of maps replace what has their key.
    pub fn concatenate(&self, other: &Self) -> Option<Self> {
        let (mut items, more) = (self.items()?, other.items()?);
        for item in more {
            let same = match self.list_kind() {
                ListKind::Atomic => None,
                ListKind::Set => items.iter().position(|i| i.equals(&item)),
                ListKind::Map(keys) => items.iter().position(|i| same_key(i, &item, keys)),
            };
            match same {
                Some(at) => items[at] = item,
                None => items.push(item),
            }
        }
        Some(Self::list(items))
    }

    /// As messages show it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.to_string(),
            Self::Int(n) => n.to_string(),
            Self::Uint(n) => n.to_string(),
            Self::Double(n) => field::float(*n),
            Self::Bool(b) => b.to_string(),
            other => other.type_name().into(),
        }
    }

    /// Whether it is what `optional.ofNonZeroValue` takes for nothing.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(b) => !b,
            Self::Int(n) | Self::Duration(n) => *n == 0,
            Self::Uint(n) => *n == 0,
            Self::Double(n) => *n == 0.0,
            Self::Optional(value) => value.is_none(),
            Self::Made(made) => made.fields.is_empty(),
            other => other.size() == Some(0),
        }
    }
}

impl Made<'_> {
    fn same_fields(&self, other: &Made<'_>) -> bool {
        let same = |(name, a): &(&str, Value<'_>)| {
            other.fields.iter().any(|(field, b)| field == name && a.equals(b))
        };
        self.fields.len() == other.fields.len() && self.fields.iter().all(same)
    }
}

fn same_key(a: &Value<'_>, b: &Value<'_>, keys: &[Box<str>]) -> bool {
    keys.iter().all(|key| {
        let key = Value::text(&**key);
        match (a.at(&key), b.at(&key)) {
            (Ok(a), Ok(b)) => a.equals(&b),
            (Err(_), Err(_)) => true,
            _ => false,
        }
    })
}
