//! The types of expressions, as far as they are known before evaluation.

use std::fmt;

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Anything; known only when it is there.
    Dyn,
    /// `null`
    Null,
    /// A scalar, a time or a duration, by its name.
    Plain(Plain),
    /// `list(T)`
    List(Box<Self>),
    /// `map(K, V)`
    Map(Box<[Self; 2]>),
    /// `optional_type(T)`
    Optional(Box<Self>),
    /// `type(T)`
    Type(Box<Self>),
    /// An object with declared fields, or an opaque value, by the name of its type.
    Named(String),
    /// A type that a signature leaves open.
    Open(char),
}

/// Types without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `uint`
    Uint,
    /// `double`
    Double,
    /// `string`
    Text,
    /// `bytes`
    Bytes,
    /// `google.protobuf.Duration`
    Duration,
    /// `google.protobuf.Timestamp`
    Timestamp,
}

impl Type {
    /// `bool`
    pub const BOOL: Self = Self::Plain(Plain::Bool);
    /// `int`
    pub const INT: Self = Self::Plain(Plain::Int);
    /// `string`
    pub const TEXT: Self = Self::Plain(Plain::Text);

    /// `list(item)`
    pub fn list(item: Self) -> Self {
        Self::List(Box::new(item))
    }

    /// `map(key, value)`
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Box::new([key, value]))
    }

    /// `optional_type(value)`
    pub fn optional(value: Self) -> Self {
        Self::Optional(Box::new(value))
    }

    /// The type of a name in the table of signatures: single capitals are open types.
    pub fn read(text: &str) -> Self {
        let inner = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix(')');
        if let Some(item) = inner("list(") {
            return Self::list(Self::read(item));
        }
        if let Some((key, value)) = inner("map(").and_then(|parts| parts.split_once(", ")) {
            return Self::map(Self::read(key), Self::read(value));
        }
        if let Some(value) = inner("optional(") {
            return Self::optional(Self::read(value));
        }
        if let Some(value) = inner("type(") {
            return Self::Type(Box::new(Self::read(value)));
        }
        Self::Plain(match text {
            "bool" => Plain::Bool,
            "int" => Plain::Int,
            "uint" => Plain::Uint,
            "double" => Plain::Double,
            "string" => Plain::Text,
            "bytes" => Plain::Bytes,
            "duration" => Plain::Duration,
            "timestamp" => Plain::Timestamp,
            "dyn" => return Self::Dyn,
            "null" => return Self::Null,
            "A" | "B" => return Self::Open(text.chars().next().unwrap_or('A')),
            name => return Self::Named(name.to_owned()),
        })
    }

    /// The type of the items of a list, or what comes first in another type with parts.
    pub fn item(&self) -> Option<&Self> {
        match self {
            Self::List(item) | Self::Optional(item) | Self::Type(item) => Some(item),
            Self::Map(parts) => Some(&parts[0]),
            _ => None,
        }
    }

    /// As the errors about calls show it.
    pub fn shown(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Plain(Plain::Duration) => "duration".into(),
            Self::Plain(Plain::Timestamp) => "timestamp".into(),
            Self::List(item) => format!("list({})", item.shown()),
            Self::Map(parts) => format!("map({}, {})", parts[0].shown(), parts[1].shown()),
            Self::Optional(value) => format!("optional_type({})", value.shown()),
            Self::Type(of) => format!("type({})", of.shown()),
            other => other.to_string(),
        }
    }

    /// The type of both; anything if they differ.
    pub fn join(self, other: &Self) -> Self {
        if self == *other { self } else { Self::Dyn }
    }

    /// Whether a value of this type may stand where `wanted` is; `open` are the open types found so far.
    pub fn fits(&self, wanted: &Self, open: &mut Vec<(char, Self)>) -> bool {
        match (self, wanted) {
            (_, Self::Open(name)) => {
                let Some(at) = open.iter().position(|(known, _)| known == name) else {
                    open.push((*name, self.clone()));
                    return true;
                };
                let known = open[at].1.clone();
                // What is more general wins.
                if self.fits(&known, &mut Vec::new()) {
                    if *self == Self::Dyn {
                        open[at].1 = Self::Dyn;
                    }
                    return true;
                }
                let general = known.fits(self, &mut Vec::new());
                if general {
                    open[at].1 = self.clone();
                }
                general
            }
            (Self::Dyn | Self::Open(_), _) | (_, Self::Dyn) => true,
            (Self::Null, Self::Named(_) | Self::Optional(_)) => true,
            (Self::Null, Self::Plain(Plain::Duration | Plain::Timestamp)) => true,
            (Self::List(a), Self::List(b))
            | (Self::Optional(a), Self::Optional(b))
            | (Self::Type(a), Self::Type(b)) => a.fits(b, open),
            (Self::Map(a), Self::Map(b)) => a[0].fits(&b[0], open) && a[1].fits(&b[1], open),
            (a, b) => a == b,
        }
    }

    /// The type with its open parts filled in; what nobody knows is anything.
    pub fn filled(&self, open: &[(char, Self)]) -> Self {
        match self {
            Self::Open(name) => {
                open.iter().find(|(known, _)| known == name).map_or(Self::Dyn, |(_, found)| found.clone())
            }
            Self::List(item) => Self::list(item.filled(open)),
            Self::Map(parts) => Self::map(parts[0].filled(open), parts[1].filled(open)),
            Self::Optional(value) => Self::optional(value.filled(open)),
            Self::Type(of) => Self::Type(Box::new(of.filled(open))),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null_type"),
            Self::Plain(plain) => f.write_str(match plain {
                Plain::Bool => "bool",
                Plain::Int => "int",
                Plain::Uint => "uint",
                Plain::Double => "double",
                Plain::Text => "string",
                Plain::Bytes => "bytes",
                Plain::Duration => "google.protobuf.Duration",
                Plain::Timestamp => "google.protobuf.Timestamp",
            }),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(parts) => write!(f, "map({}, {})", parts[0], parts[1]),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Type(of) => write!(f, "type({of})"),
            Self::Named(name) => f.write_str(name),
            Self::Open(name) => write!(f, "{name}"),
        }
    }
}
