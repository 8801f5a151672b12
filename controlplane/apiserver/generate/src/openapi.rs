//! Reads the OpenAPI definitions that `k8s-openapi` carries in the `json_schema!` blocks of its sources.
//!
//! Each generated file holds one `schema_name` and one block: JSON, with Rust expressions in parentheses
//! where it refers to another type. References come back as `{"$ref": "<definition name>"}`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

/// Definitions by name, for example `io.k8s.api.core.v1.Pod`.
pub type Definitions = BTreeMap<String, Value>;

/// Reads all definitions below `root`, the folder of one Kubernetes version.
pub fn read(root: &Path) -> io::Result<Definitions> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();

    let mut names = BTreeMap::new();
    let mut blocks = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file)?;
        let Some((name, block)) = block(&source) else { continue };
        names.insert(rust_path(root, &file, name), name.to_owned());
        blocks.push((name.to_owned(), Reader::new(block).value()));
    }

    let mut definitions: Definitions = blocks.into_iter().collect();
    for body in definitions.values_mut() {
        resolve(body, &names);
    }
    Ok(definitions)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The definition name and the text of the JSON block.
fn block(source: &str) -> Option<(&str, &str)> {
    let at = source.find("fn schema_name()")?;
    let name = source[at..].split('"').nth(1)?;
    let start = source.find("json_schema!(")? + "json_schema!(".len();
    Some((name, &source[start..]))
}

/// `crate::api::core::v1::Pod` for `api/core/v1/pod.rs`.
fn rust_path(root: &Path, file: &Path, name: &str) -> String {
    let folder = file.parent().and_then(|p| p.strip_prefix(root).ok()).unwrap_or_else(|| Path::new(""));
    let mut path = String::from("crate");
    for part in folder {
        path.push_str("::");
        path.push_str(&part.to_string_lossy());
    }
    path.push_str("::");
    path.push_str(name.rsplit('.').next().unwrap_or(name));
    path
}

fn resolve(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(path)) = object.get_mut("$ref")
                && let Some(name) = names.get(path.as_str())
            {
                path.clone_from(name);
            }
            object.values_mut().for_each(|v| resolve(v, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| resolve(v, names)),
        _ => {}
    }
}

/// A reader of JSON with trailing commas and Rust expressions.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    fn peek(&mut self) -> char {
        self.rest = self.rest.trim_start();
        self.rest.chars().next().unwrap_or('\0')
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == expected;
        if found {
            self.rest = &self.rest[expected.len_utf8()..];
        }
        found
    }

    fn value(&mut self) -> Value {
        match self.peek() {
            '{' => self.object(),
            '[' => self.array(),
            '"' => Value::String(self.string()),
            '(' | '_' => self.expression(),
            _ => {
                let end = self.rest.find([',', '}', ']', '\n']).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                serde_json::from_str(word.trim()).unwrap_or(Value::Null)
            }
        }
    }

    fn object(&mut self) -> Value {
        let mut object = Map::new();
        self.take('{');
        while !self.take('}') {
            let key = self.string();
            self.take(':');
            let value = self.value();
            object.insert(key, value);
            self.take(',');
        }
        Value::Object(object)
    }

    fn array(&mut self) -> Value {
        let mut items = Vec::new();
        self.take('[');
        while !self.take(']') {
            items.push(self.value());
            self.take(',');
        }
        Value::Array(items)
    }

    /// A string literal; Rust's escapes that occur are those of JSON, besides `\'` and `\u{..}`.
    fn string(&mut self) -> String {
        self.take('"');
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return text;
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('u') => {
                        let code: String = chars
                            .by_ref()
                            .map(|(_, c)| c)
                            .take_while(|c| *c != '}')
                            .filter(char::is_ascii_hexdigit)
                            .collect();
                        text.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
                    }
                    Some(other) => text.push(other),
                    None => {}
                },
                other => text.push(other),
            }
        }
        self.rest = "";
        text
    }

    /// `__gen.subschema_for::<T>()`, perhaps in parentheses, or the same in a block that adds a description.
    fn expression(&mut self) -> Value {
        let bare = self.peek() == '_';
        let mut object = Map::new();
        if let Some(start) = self.rest.find("subschema_for::<") {
            let rest = &self.rest[start + "subschema_for::<".len()..];
            let end = rest.find(">()").unwrap_or(0);
            object.insert("$ref".into(), rest[..end].into());
            self.rest = &rest[end + ">()".len()..];
        }
        // `)` right away closes the short form.
        if !bare && !self.take(')') {
            while let Some(insert) = self.next_insert() {
                self.rest = insert;
                let key = self.string();
                let after = self.rest.find(".into(), ").map_or(0, |i| i + ".into(), ".len());
                self.rest = &self.rest[after..];
                let value = self.value();
                object.insert(key, value);
            }
            let end = self.rest.find("})").map_or(0, |i| i + 2);
            self.rest = &self.rest[end..];
        }
        Value::Object(object)
    }

    /// The text after the next `.insert(` of this block.
    fn next_insert(&self) -> Option<&'a str> {
        let insert = self.rest.find(".insert(")?;
        let end = self.rest.find("schema_obj\n")?;
        (insert < end).then(|| &self.rest[insert + ".insert(".len()..])
    }
}
