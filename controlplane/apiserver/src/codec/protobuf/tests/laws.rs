//! JSON to protobuf and back is the identity, for every kind of the table and every field.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::{
    registry::RESOURCES,
    schema::{
        table::AnyForm,
        time,
        types::{Field, Object},
    },
};

/// As deep as random documents are; the deepest field of the table lies less deep.
const DEEPEST: usize = 16;

/// Fields, by the names of their types and their own.
type Fields = BTreeSet<(&'static str, String)>;

/// The kinds of the table: whatever says of itself what it is, and can say it in protobuf.
fn kinds() -> impl Iterator<Item = (&'static str, Type<'static>)> {
    let all = names().filter(|name| has_tags(name)).map(|name| (name, builtin(name)));
    all.filter(|(_, ty)| {
        matches!(ty.shape(), Shape::Object(object) if ["kind", "apiVersion"].iter().all(|name| {
            object.field(name).is_some_and(|field| !is_carried(object, field))
        }))
    })
}

/// Whether protobuf has a place for a field, in the message itself or in one that is embedded in it.
fn is_carried(object: Object<'_>, field: Field<'_>) -> bool {
    let embedded = |(_, ty): (u32, Type<'static>)| match ty.shape() {
        Shape::Object(inner) => inner.field(field.name()).is_some_and(|field| is_carried(inner, field)),
        _ => false,
    };
    field.tag() > 0 || object.embedded_messages().any(embedded)
}

/// What protobuf carries of a document: all but the types of objects within objects.
fn carried(value: Value, ty: Type<'_>, outermost: bool) -> Value {
    match (value, ty.shape()) {
        (Value::Object(map), Shape::Object(object)) => {
            let fields = map.into_iter().filter_map(|(name, value)| {
                let field = object.field(&name).unwrap();
                let kept = is_carried(object, field) || (outermost && value != "");
                kept.then(|| (name, carried(value, field.ty(), false)))
            });
            fields.collect()
        }
        (Value::Object(map), Shape::Map(of)) => {
            map.into_iter().map(|(key, value)| (key, carried(value, of.values(), false))).collect()
        }
        (Value::Array(items), Shape::List(of)) => {
            items.into_iter().map(|item| carried(item, of.items(), false)).collect()
        }
        (value, _) => value,
    }
}

/// Makes documents of any type: every field that has not been there before, and some of the others.
struct Generator {
    /// The state of SplitMix64.
    state: u64,
    seen: Fields,
}

impl Generator {
    fn new(seed: u64) -> Self {
        Self { state: seed, seen: Fields::new() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn value(&mut self, ty: Type<'static>, depth: usize) -> Value {
        match ty.shape() {
            Shape::Object(object) => self.object(ty.name().unwrap(), object, depth),
            Shape::Map(of) => {
                let length = 1 + self.below(2);
                (0..length).map(|_| (self.text(), self.value(of.values(), depth + 1))).collect()
            }
            Shape::List(of) => {
                let length = 1 + self.below(2);
                (0..length).map(|_| self.value(of.items(), depth + 1)).collect()
            }
            Shape::Scalar(scalar) => self.scalar(scalar),
            Shape::Any => self.any(ty.any_form(), depth),
        }
    }

    fn object(&mut self, name: &'static str, object: Object<'static>, depth: usize) -> Value {
        let mut map = Map::new();
        for field in object.fields() {
            let known = (name, field.name().to_owned());
            let chosen = !self.seen.contains(&known) || self.one_in(2 + depth as u64);
            if depth < DEEPEST && chosen {
                self.seen.insert(known);
                map.insert(field.name().into(), self.value(field.ty(), depth + 1));
            }
        }
        Value::Object(map)
    }

    fn text(&mut self) -> String {
        const PARTS: [&str; 8] = ["a", "kube", "/", "\"\\", "é", "\u{1f980}", "\u{0}\n", "<&>\u{2028}"];
        let length = self.below(5);
        (0..length).map(|_| PARTS[self.below(8) as usize]).collect()
    }

    fn int(&mut self) -> i64 {
        let bits = self.below(64);
        let extreme = [0, -1, i64::MAX, i64::MIN];
        if bits < 4 { extreme[bits as usize] } else { self.next() as i64 >> bits }
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        match scalar {
            Scalar::String => self.text().into(),
            Scalar::Bytes => {
                let length = self.below(5);
                let bytes: Vec<u8> = (0..length).map(|_| self.next() as u8).collect();
                STANDARD.encode(bytes).into()
            }
            Scalar::Boolean => self.one_in(2).into(),
            Scalar::Int32 => (self.int() as i32).into(),
            Scalar::Int64 => self.int().into(),
            Scalar::Double => match self.below(4) {
                0 => (self.int() as i32).into(),
                1 => (self.int() as f64).into(),
                _ => (self.int() as f64 / 64.0).into(),
            },
            Scalar::Quantity => {
                let unit = ["", "m", "n", "k", "Ki", "G", "Gi", "e3"][self.below(8) as usize];
                format!("{}{unit}", self.int() as i32).into()
            }
            Scalar::IntOrString if self.one_in(2) => (self.int() as i32).into(),
            Scalar::IntOrString => self.text().into(),
            Scalar::Time | Scalar::MicroTime => {
                // From the year 1 to the year 9999; the first second is Go's zero value.
                let seconds = 1 + self.below(315_537_897_598);
                let seconds = i64::try_from(seconds).unwrap() - 62_135_596_800;
                let micros = self.below(1_000_000) as i32;
                let time = time::at(seconds, micros * 1000).unwrap();
                if scalar == Scalar::Time { time::seconds(time) } else { time::micros(time) }.into()
            }
            Scalar::Duration => format!("{}s", self.below(100_000)).into(),
        }
    }

    fn any(&mut self, form: AnyForm, depth: usize) -> Value {
        let schema = builtin(read::SCHEMA_PROPS);
        match (form, self.below(3)) {
            (AnyForm::Raw, _) => json!({"a": [self.json(), self.json()], "b": self.json()}),
            (AnyForm::SchemaOrBool, 0) => self.one_in(2).into(),
            (AnyForm::SchemaOrArray, 0) => json!([self.value(schema, depth + 1)]),
            (AnyForm::SchemaOrStrings, 0) => json!([self.text(), self.text()]),
            _ => self.value(schema, depth + 1),
        }
    }

    fn json(&mut self) -> Value {
        match self.below(6) {
            0 => Value::Null,
            1 => self.one_in(2).into(),
            2 => self.int().into(),
            3 => self.text().into(),
            4 => json!([self.int(), self.text()]),
            _ => json!({self.text(): self.int()}),
        }
    }
}

/// Sends a document of a kind the way there and back.
fn check(name: &str, ty: Type<'static>, generator: &mut Generator) {
    let random = generator.value(ty, 0);
    let (document, unknown) = schema::decode(random.clone(), ty).unwrap();
    assert_eq!(unknown, [""; 0], "{name}");
    let bytes = encode(&document, ty);
    let back = schema::decode(decode(&bytes, ty).unwrap(), ty).unwrap().0;
    assert_eq!(back, carried(document, ty, true), "{name} from {random}");
    // Types of objects within objects have no place in the bytes, so these say the same.
    assert_eq!(encode(&back, ty), bytes, "{name} from {random}");
}

/// All fields below a type.
fn reach(ty: Type<'static>, fields: &mut Fields) {
    match ty.shape() {
        Shape::Object(object) => {
            for field in object.fields() {
                if fields.insert((ty.name().unwrap(), field.name().to_owned())) {
                    reach(field.ty(), fields);
                }
            }
        }
        Shape::Map(of) => reach(of.values(), fields),
        Shape::List(of) => reach(of.items(), fields),
        Shape::Any if ty.any_form() != AnyForm::Raw => reach(builtin(read::SCHEMA_PROPS), fields),
        Shape::Scalar(_) | Shape::Any => {}
    }
}

#[test]
fn every_field_of_every_kind_survives() {
    let mut generator = Generator::new(36);
    let kinds: Vec<_> = kinds()
        .map(|(name, ty)| {
            let mut fields = Fields::new();
            reach(ty, &mut fields);
            (name, ty, fields)
        })
        .collect();
    for _ in 0..64 {
        for (name, ty, fields) in &kinds {
            if !fields.is_subset(&generator.seen) {
                check(name, *ty, &mut generator);
            }
        }
    }
    let missed: Vec<_> = kinds.iter().flat_map(|(_, _, fields)| fields.difference(&generator.seen)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    let is_checked = |wanted: &str| kinds.iter().any(|(name, ..)| *name == wanted);
    for resource in RESOURCES {
        assert!(is_checked(resource.type_name), "{}", resource.type_name);
        let list = format!("{}List", resource.type_name);
        assert!(!resource.is_stored() || is_checked(&list), "{list}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_documents_of_every_kind_survive(seed in any::<u64>()) {
        let mut generator = Generator::new(seed);
        for (name, ty) in kinds() {
            check(name, ty, &mut generator);
        }
    }
}
