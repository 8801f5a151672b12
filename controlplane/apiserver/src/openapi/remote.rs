//! What the documents of remote servers add to those of this one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Served, v2};

const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";

/// What all remote servers add.
#[derive(Debug, Default)]
pub struct Remote {
    /// The documents of version 3: their names, and where they are.
    pub documents: BTreeMap<String, String>,
    /// Those of version 2, which become part of ours.
    pub specs: Vec<Arc<Spec>>,
}

/// The part of a document of version 2 that is about one group and version.
#[derive(Debug)]
pub struct Spec {
    /// What tells it from earlier ones.
    pub hash: String,
    paths: Map<String, Value>,
    definitions: Map<String, Value>,
    parameters: Map<String, Value>,
}

impl Spec {
    /// Takes what is below a path, and what that refers to.
    pub fn read(document: &[u8], below: &str) -> Result<Self, serde_json::Error> {
        let mut document: Value = serde_json::from_slice(document)?;
        let mut section = |name: &str| match document.get_mut(name).map(Value::take) {
            Some(Value::Object(section)) => section,
            _ => Map::new(),
        };
        let mut spec = Self {
            hash: String::new(),
            paths: section("paths"),
            definitions: section("definitions"),
            parameters: section("parameters"),
        };
        spec.paths.retain(|path, _| path.starts_with(below));
        let mut used = BTreeSet::new();
        spec.paths.values().for_each(|path| spec.follow(path, &mut used));
        spec.definitions.retain(|name, _| used.contains(&definition(name)));
        spec.parameters.retain(|name, _| used.contains(&parameter(name)));
        let mut digest = Sha256::new();
        for part in [&spec.paths, &spec.definitions, &spec.parameters] {
            digest.update(Value::Object(part.clone()).to_string());
        }
        spec.hash = digest.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"));
        Ok(spec)
    }

    /// Notes what a value refers to, and what that refers to in turn.
    fn follow(&self, value: &Value, used: &mut BTreeSet<String>) {
        references(value, &mut |reference| {
            if used.insert(reference.to_owned()) {
                let target = match reference.rsplit_once('/') {
                    Some(("#/definitions", name)) => self.definitions.get(name),
                    Some(("#/parameters", name)) => self.parameters.get(name),
                    _ => None,
                };
                if let Some(target) = target {
                    self.follow(target, used);
                }
            }
        });
    }
}

fn definition(name: &str) -> String {
    format!("#/definitions/{name}")
}

fn parameter(name: &str) -> String {
    format!("#/parameters/{name}")
}

/// Shows `visit` every reference in a value.
fn references(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(reference) if key == "$ref" => visit(reference),
                    value => references(value, visit),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, visit)),
        _ => {}
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        if let Some(name) = names.get(reference) {
                            reference.clone_from(name);
                        }
                    }
                    value => rename(value, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

/// What is added to each section of the document of version 2.
#[derive(Debug, Default)]
pub struct Additions {
    paths: Vec<(String, Value)>,
    definitions: Vec<(String, Value)>,
    parameters: Vec<(String, Value)>,
}

impl Additions {
    /// Adds specifications to what is served here. Of two that call different things by one name, the later
    /// gives way.
    pub fn new(served: &[Served<'_>], specs: &[Arc<Spec>]) -> Self {
        let mut additions = Self::default();
        if specs.is_empty() {
            return additions;
        }
        let wanted: BTreeSet<String> = specs
            .iter()
            .flat_map(|spec| {
                let definitions = spec.definitions.keys().map(|name| definition(name));
                definitions.chain(spec.parameters.keys().map(|name| parameter(name)))
            })
            .collect();
        let (mut paths, mut known) = (BTreeSet::new(), BTreeMap::new());
        v2::for_each_own_part(served, |part, name, value| {
            if part == "paths" {
                paths.insert(name.to_owned());
            } else {
                let reference = if part == "definitions" { definition(name) } else { parameter(name) };
                if wanted.contains(&reference) {
                    known.insert(reference, value);
                }
            }
        });
        for spec in specs {
            let mut names = BTreeMap::new();
            let definitions = added(&spec.definitions, definition, &mut known, &mut names);
            let parameters = added(&spec.parameters, parameter, &mut known, &mut names);
            let renamed = |(name, mut value): (String, Value)| {
                rename(&mut value, &names);
                (name, value)
            };
            additions.definitions.extend(definitions.into_iter().map(renamed));
            additions.parameters.extend(parameters.into_iter().map(renamed));
            let new = spec.paths.iter().filter(|(path, _)| paths.insert((*path).clone()));
            additions.paths.extend(new.map(|(path, value)| renamed((path.clone(), value.clone()))));
        }
        additions
    }

    /// What is added to a section; once.
    pub fn take(&mut self, section: &str) -> Vec<(String, Value)> {
        std::mem::take(match section {
            "paths" => &mut self.paths,
            "definitions" => &mut self.definitions,
            _ => &mut self.parameters,
        })
    }
}

/// Those of a section that are not known, under names that are free.
fn added(
    section: &Map<String, Value>,
    reference: impl Fn(&str) -> String,
    known: &mut BTreeMap<String, Value>,
    names: &mut BTreeMap<String, String>,
) -> Vec<(String, Value)> {
    let mut added = Vec::new();
    for (name, value) in section {
        let mut free = name.clone();
        let mut number = 2;
        let shared = loop {
            match known.get(&reference(&free)) {
                None => break false,
                Some(other) if is_same(other, value) => break true,
                Some(_) => free = format!("{name}_v{number}"),
            }
            number += 1;
        };
        if free != *name {
            names.insert(reference(name), reference(&free));
        }
        if !shared {
            known.insert(reference(&free), value.clone());
            added.push((free, value.clone()));
        }
    }
    added
}

/// Whether two definitions are the same, whatever kinds they are of.
fn is_same(one: &Value, other: &Value) -> bool {
    let (Value::Object(one), Value::Object(other)) = (one, other) else { return one == other };
    let of =
        |object: &Map<String, Value>| object.iter().filter(|(key, _)| *key != GROUP_VERSION_KIND).count();
    of(one) == of(other)
        && one.iter().all(|(key, value)| key == GROUP_VERSION_KIND || other.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BELOW: &str = "/apis/example.com/v1/";

    fn spec(document: &Value) -> Arc<Spec> {
        Arc::new(Spec::read(document.to_string().as_bytes(), BELOW).unwrap())
    }

    fn document(thing: &Value) -> Value {
        json!({
            "paths": {
                "/apis/example.com/v1/things": {"get": {"schema": {"$ref": "#/definitions/Thing"}}},
                "/apis/": {"get": {"schema": {"$ref": "#/definitions/Unused"}}},
            },
            "definitions": {"Thing": thing, "Part": {"type": "string"}, "Unused": {}},
        })
    }

    fn names(part: &[(String, Value)]) -> Vec<&str> {
        part.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn only_what_is_below_the_path_counts_and_what_that_refers_to() {
        let spec = spec(&document(&json!({"properties": {"part": {"$ref": "#/definitions/Part"}}})));
        let additions = Additions::new(&[], &[spec]);
        assert_eq!(names(&additions.paths), ["/apis/example.com/v1/things"]);
        assert_eq!(names(&additions.definitions), ["Part", "Thing"]);
    }

    #[test]
    fn another_thing_of_the_same_name_is_renamed_and_the_same_thing_is_shared() {
        let one = spec(&document(&json!({"type": "object", GROUP_VERSION_KIND: [1]})));
        let same = spec(&document(&json!({"type": "object"})));
        let mut other = document(&json!({"type": "array"}));
        other["paths"] = json!({"/apis/example.com/v1/more": {"$ref": "#/definitions/Thing"}});
        let additions = Additions::new(&[], &[one, same, spec(&other)]);
        assert_eq!(names(&additions.definitions), ["Thing", "Thing_v2"]);
        assert_eq!(names(&additions.paths), ["/apis/example.com/v1/things", "/apis/example.com/v1/more"]);
        assert_eq!(additions.paths[1].1["$ref"], "#/definitions/Thing_v2");
    }
}
