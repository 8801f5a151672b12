//! What the schema of a custom resource declares to the rules in it: types, and how large values may be.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{
    json,
    types::{Plain, Type},
};
use crate::registry::access::{at, bool_at, entries, get, list_at, str_at, strs_at};

/// The largest request whose objects are estimated, in bytes.
pub const MAX_REQUEST: u64 = 3 * 1024 * 1024;

/// The name of the type of `self`. The types of what is in it are named by the way that leads to them.
const ROOT: &str = "selfType";

/// What is declared of a value.
#[derive(Debug)]
pub struct Measured {
    kind: Kind,
    /// How many characters, items or entries there may be; nothing for values of one size.
    pub max_elements: u64,
    /// How short its JSON may be, in bytes.
    pub min_size: u64,
}

#[derive(Debug)]
enum Kind {
    Anything,
    Plain(Plain),
    List(Box<Measured>),
    Map(Box<Measured>),
    /// By names as expressions write them.
    Object(BTreeMap<String, Measured>),
}

impl Measured {
    /// What a schema declares; nothing if rules cannot speak of it. The name and kind of a whole object are declared
    /// whatever its schema says.
    pub fn read(schema: &Json, is_whole: bool) -> Option<Self> {
        let bound =
            |pointer| get(schema, pointer).and_then(Json::as_i64).map(|n| u64::try_from(n).unwrap_or(0));
        if bool_at(schema, "/x-kubernetes-int-or-string") {
            let max = bound("/maxLength").map_or(MAX_REQUEST - 2, |most| most.saturating_mul(4));
            return Some(Self { kind: Kind::Anything, max_elements: max, min_size: 1 });
        }
        let kind = if is_whole { "object" } else { str_at(schema, "/type") };
        let (kind, max_elements, min_size) = match kind {
            "array" => {
                let items = Self::within(get(schema, "/items")?)?;
                let most = (MAX_REQUEST - 2).checked_div(items.min_size + 1).unwrap_or_default();
                (Kind::List(Box::new(items)), bound("/maxItems").unwrap_or(most), 2)
            }
            "object" if at(schema, "/additionalProperties").is_object() && !is_whole => {
                let values = Self::within(at(schema, "/additionalProperties"))?;
                // A key takes at least two quotation marks, a colon and a comma.
                let most = (MAX_REQUEST - 2).checked_div(values.min_size + 6).unwrap_or_default();
                (Kind::Map(Box::new(values)), bound("/maxProperties").unwrap_or(most), 2)
            }
            "object" => {
                let (fields, min_size) = fields(schema, is_whole);
                (Kind::Object(fields), 0, min_size)
            }
            "string" => text(schema, bound("/maxLength")),
            "boolean" => (Kind::Plain(Plain::Bool), 0, 4),
            "number" => (Kind::Plain(Plain::Double), 0, 1),
            "integer" => (Kind::Plain(Plain::Int), 0, 1),
            _ => return None,
        };
        Some(Self { kind, max_elements, min_size })
    }

    fn within(schema: &Json) -> Option<Self> {
        Self::read(schema, bool_at(schema, "/x-kubernetes-embedded-resource"))
    }

    /// The type of `self`.
    pub fn ty(&self) -> Type {
        self.named(ROOT)
    }

    fn named(&self, name: &str) -> Type {
        match &self.kind {
            Kind::Anything => Type::Dyn,
            Kind::Plain(plain) => Type::Plain(*plain),
            Kind::List(items) => Type::list(items.named(&format!("{name}.@idx"))),
            Kind::Map(values) => Type::map(Type::TEXT, values.named(&format!("{name}.@elem"))),
            Kind::Object(_) => Type::Named(name.to_owned()),
        }
    }

    /// The type of a field of one of the objects in it, by the name of the object's type: `None` if that is none of
    /// them.
    pub fn field(&self, object: &str, field: &str) -> Option<Option<Type>> {
        let way = object.strip_prefix(ROOT)?;
        let mut declared = self;
        for step in way.split('.').skip(1) {
            declared = match (&declared.kind, step) {
                (Kind::List(part), "@idx") | (Kind::Map(part), "@elem") => part,
                (Kind::Object(fields), name) => fields.get(name)?,
                _ => return None,
            };
        }
        let Kind::Object(fields) = &declared.kind else { return None };
        Some(fields.get(field).map(|declared| declared.named(&format!("{object}.{field}"))))
    }

    /// What a step of a path leads to.
    pub fn step(&self, step: &str) -> Option<&Self> {
        match (&self.kind, step) {
            (Kind::List(part) | Kind::Map(part), "@items" | "@values") => Some(part),
            (Kind::Map(_), "@keys") => Some(&KEY),
            (Kind::Object(fields), name) => fields.get(name),
            _ => None,
        }
    }

    /// How often it can be in an object, for all that its size says.
    pub fn max_cardinality(&self) -> u64 {
        MAX_REQUEST.checked_div(self.min_size + 1).unwrap_or(MAX_REQUEST)
    }
}

/// Keys of maps: nothing is said of their length.
static KEY: Measured = Measured { kind: Kind::Plain(Plain::Text), max_elements: 0, min_size: 2 };

/// The fields of an object, and how short it may be.
fn fields(schema: &Json, is_whole: bool) -> (BTreeMap<String, Measured>, u64) {
    let mut declared = BTreeMap::new();
    let mut min_size = 2;
    for (name, property) in entries(schema, "/properties") {
        if is_whole && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let Some(field) = Measured::within(property) else { continue };
        if strs_at(schema, "/required").any(|required| required == name)
            && get(property, "/default").is_none()
        {
            min_size += name.len() as u64 + field.min_size + 4;
        }
        if let Some(name) = json::escape(name) {
            declared.insert(name, field);
        }
    }
    if is_whole {
        let text = || Measured { kind: Kind::Plain(Plain::Text), max_elements: MAX_REQUEST - 2, min_size: 2 };
        let names = [("name", text()), ("generateName", text())];
        let metadata = names.into_iter().map(|(name, ty)| (name.to_owned(), ty)).collect();
        let metadata = Measured { kind: Kind::Object(metadata), max_elements: 0, min_size: 2 };
        let always = [("apiVersion", text()), ("kind", text()), ("metadata", metadata)];
        declared.extend(always.map(|(name, ty)| (name.to_owned(), ty)));
    }
    (declared, min_size)
}

fn text(schema: &Json, max_length: Option<u64>) -> (Kind, u64, u64) {
    let (plain, most, least) = match str_at(schema, "/format") {
        // A date in quotation marks; a time of day adds at least nine characters to it, at most twenty.
        "date" => return (Kind::Plain(Plain::Timestamp), 12, 12),
        "date-time" => return (Kind::Plain(Plain::Timestamp), 32, 21),
        "duration" => return (Kind::Plain(Plain::Duration), 32, 3),
        "byte" => (Plain::Bytes, max_length, 2),
        // A character takes up to four bytes.
        _ => (Plain::Text, max_length.map(|most| most.saturating_mul(4)), 2),
    };
    let longest = || list_at(schema, "/enum").iter().filter_map(Json::as_str).map(str::len).max();
    let longest = if plain == Plain::Text { longest().map(|longest| longest as u64) } else { None };
    (Kind::Plain(plain), most.or(longest).unwrap_or(MAX_REQUEST - 2), least)
}
