//! Packs `table.txt` into the bytes that `src/schema/table.rs` reads: rows of fixed width that index each
//! other and a pool of strings, so that the table is read-only data without relocations.
//!
//! ```text
//! messages types fields strings     u16 each: how many
//! string ends                       u32 each
//! types                             8 bytes each: kind flags a b name
//! fields                            16 bytes each: name type tag|always<<15 order flags merge-key default values go
//! string bytes
//! ```

use std::collections::{BTreeMap, BTreeSet};

const OBJECT: u8 = 0;
const MAP: u8 = 1;
const LIST: u8 = 2;
const SCALAR: u8 = 3;
const ANY: u8 = 4;

const ATOMIC: u8 = 1;
const WRAPPED: u8 = 2;

/// Names of scalars in the order of their numbers.
const SCALARS: &[&str] = &[
    "string",
    "bytes",
    "bool",
    "int32",
    "int64",
    "double",
    "quantity",
    "intorstring",
    "time",
    "microtime",
    "duration",
];

/// Names of the forms of any JSON in the order of their numbers.
const ANYS: &[&str] = &["any", "schemaorarray", "schemaorbool", "schemaorstrings"];

/// Words that set a bit of a field's flags, in the order of the bits.
const FLAGS: &[&str] = &["required", "ptr", "keep", "omitzero", "inline", "atomic", "merge", "retainKeys"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Type {
    kind: u8,
    flags: u8,
    a: u16,
    b: u16,
    name: u16,
}

#[derive(Default)]
struct Packer {
    strings: Vec<String>,
    string_index: BTreeMap<String, u16>,
    messages: BTreeMap<String, u16>,
    types: Vec<Type>,
    type_index: BTreeMap<Type, u16>,
    fields: Vec<u8>,
    field_count: usize,
}

/// The bytes for the text of the table.
pub fn pack(text: &str) -> Result<Vec<u8>, String> {
    let mut packer = Packer::default();
    packer.string("");
    let messages = parse(text);
    // Messages come first and sorted, so that a name is found by bisection.
    for (index, name) in messages.keys().enumerate() {
        packer.messages.insert((*name).to_owned(), narrow(index)?);
        let name = packer.string(name);
        packer.types.push(Type { kind: OBJECT, flags: 0, a: 0, b: 0, name });
    }
    for (index, (attributes, rows)) in messages.values().enumerate() {
        let start = narrow(packer.field_count)?;
        packer.rows(rows)?;
        let count = narrow(packer.field_count)? - start;
        let ty = &mut packer.types[index];
        (ty.a, ty.b) = (start, count);
        if attributes.contains(&"atomic") {
            ty.flags |= ATOMIC;
        }
    }
    packer.finish()
}

/// The names of all messages.
pub fn names(text: &str) -> BTreeSet<String> {
    parse(text).into_keys().map(str::to_owned).collect()
}

type Rows<'a> = Vec<Vec<&'a str>>;

fn parse(text: &str) -> BTreeMap<&str, (Vec<&str>, Rows<'_>)> {
    let mut messages: BTreeMap<&str, (Vec<&str>, Rows<'_>)> = BTreeMap::new();
    let mut current = "";
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(row) = line.strip_prefix("  ") {
            messages.entry(current).or_default().1.push(row.split(' ').collect());
        } else {
            let mut words = line.split(' ');
            current = words.next().unwrap_or_default();
            messages.insert(current, (words.collect(), Vec::new()));
        }
    }
    messages
}

impl Packer {
    fn string(&mut self, text: &str) -> u16 {
        if let Some(index) = self.string_index.get(text) {
            return *index;
        }
        let index = self.strings.len() as u16;
        self.strings.push(text.to_owned());
        self.string_index.insert(text.to_owned(), index);
        index
    }

    fn intern(&mut self, ty: Type) -> u16 {
        if let Some(index) = self.type_index.get(&ty) {
            return *index;
        }
        let index = self.types.len() as u16;
        self.types.push(ty.clone());
        self.type_index.insert(ty, index);
        index
    }

    fn rows(&mut self, rows: &Rows<'_>) -> Result<(), String> {
        let mut ordered: Vec<(usize, &Vec<&str>)> = rows.iter().enumerate().collect();
        // Sorted by name, embedded structs last.
        ordered.sort_by_key(|(_, row)| (row.contains(&"inline"), row[0]));
        for (order, row) in ordered {
            let [name, ty_text, attributes @ ..] = row.as_slice() else {
                return Err(format!("malformed row {row:?}"));
            };
            let value = |key: &str| attributes.iter().find_map(|a| a.strip_prefix(key)).unwrap_or_default();
            let mut flags = 0u8;
            for (bit, word) in FLAGS.iter().enumerate() {
                if attributes.contains(word) || value("patch=").split(',').any(|p| p == *word) {
                    flags |= 1 << bit;
                }
            }
            let name = self.string(name);
            let ty = self.type_of(ty_text, attributes)?;
            let tag = value("tag=").parse().unwrap_or(0u16) | u16::from(is_always(ty_text, attributes)) << 15;
            let merge_key = self.string(value("mergekey="));
            let default = self.string(&value("default=").replace('\u{a0}', " "));
            // No enumeration and one whose only value is empty differ in the separator before each value.
            let values = match value("enum=") {
                "" => String::new(),
                values => format!("|{}", values.replace('\u{a0}', " ")),
            };
            let values = self.string(&values);
            let go = self.string(value("go="));
            for word in [name, ty, tag] {
                self.fields.extend(word.to_le_bytes());
            }
            self.fields.extend([order as u8, flags]);
            for word in [merge_key, default, values, go] {
                self.fields.extend(word.to_le_bytes());
            }
            self.field_count += 1;
        }
        Ok(())
    }

    fn type_of(&mut self, text: &str, attributes: &[&str]) -> Result<u16, String> {
        let atomic = attributes.contains(&"atomic");
        if let Some(items) = text.strip_prefix("[]").or_else(|| text.strip_prefix("[=]")) {
            let wrapped = if text.starts_with("[=]") { WRAPPED } else { 0 };
            let a = self.type_of(items, &[])?;
            let keys = attributes.iter().find_map(|at| at.strip_prefix("list="));
            let b = if keys.is_some() { 2 } else { u16::from(attributes.contains(&"set")) };
            let name = self.string(keys.unwrap_or_default());
            return Ok(self.intern(Type { kind: LIST, flags: wrapped, a, b, name }));
        }
        if let Some(values) = text.strip_prefix("{}") {
            let a = self.type_of(values, &[])?;
            return Ok(self.intern(Type { kind: MAP, flags: u8::from(atomic) * ATOMIC, a, b: 0, name: 0 }));
        }
        if let Some(message) = text.strip_prefix('#') {
            let index = *self.messages.get(message).ok_or_else(|| format!("no message {message}"))?;
            if !atomic {
                return Ok(index);
            }
            // An object that is atomic in this place only.
            let name = self.types[usize::from(index)].name;
            return Ok(self.intern(Type { kind: OBJECT, flags: ATOMIC, a: index, b: u16::MAX, name }));
        }
        let (kind, names) = if ANYS.contains(&text) { (ANY, ANYS) } else { (SCALAR, SCALARS) };
        let b = names.iter().position(|n| *n == text).ok_or_else(|| format!("no type {text}"))?;
        Ok(self.intern(Type { kind, flags: 0, a: 0, b: narrow(b)?, name: 0 }))
    }

    fn finish(self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for count in [self.messages.len(), self.types.len(), self.field_count, self.strings.len()] {
            bytes.extend(narrow(count)?.to_le_bytes());
        }
        let mut end = 0u32;
        for text in &self.strings {
            end += text.len() as u32;
            bytes.extend(end.to_le_bytes());
        }
        for ty in &self.types {
            bytes.extend([ty.kind, ty.flags]);
            for word in [ty.a, ty.b, ty.name] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.extend(self.fields);
        for text in &self.strings {
            bytes.extend(text.as_bytes());
        }
        Ok(bytes)
    }
}

/// Whether JSON shows a field even when it is empty: Go's `omitempty` is absent or does not apply to structs.
fn is_always(ty: &str, attributes: &[&str]) -> bool {
    let is_struct = ty.starts_with('#')
        || ANYS.contains(&ty)
        || matches!(ty, "quantity" | "intorstring" | "time" | "microtime" | "duration");
    let may_omit = attributes.contains(&"ptr") || attributes.contains(&"omitzero");
    attributes.contains(&"keep") || (is_struct && !may_omit)
}

fn narrow(count: usize) -> Result<u16, String> {
    u16::try_from(count).map_err(|_| "the table is too large".to_owned())
}
