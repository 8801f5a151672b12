//! A configuration of vCluster, in terms of a VirtualCluster's spec. Pure.
//!
//! A `vcluster.yaml` is read by a [table](table): each row is a path in it, and what is there means a field of the spec,
//! something that is so here anyway, or nothing. Nothing is dropped in silence: what is unknown or without meaning is told
//! by its path, and so is what cannot be.

mod convert;
mod demands;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use vkube_crds::{BackingStoreType, VirtualClusterSpec};

use crate::document::Document;

pub use table::markdown;
use table::{Means, TABLE};

/// How many paths a message names.
const MOST_NAMED: usize = 64;

/// What documents ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// Sections of a spec.
    pub spec: Map<String, Value>,
    /// Paths that mean nothing here, each with the reason.
    pub idle: Vec<String>,
    /// Paths that nobody knows.
    pub unknown: Vec<String>,
    /// What cannot be, as `path: why`.
    pub wrong: Vec<String>,
    /// What each path asks for.
    wishes: Vec<Wish>,
    /// The domain that the spec itself states, which is fixed for good.
    cluster_domain: String,
    /// Whether values may be those of a Secret, so that none is repeated.
    is_discreet: bool,
}

/// What a path asks for.
#[derive(Clone, Debug, PartialEq)]
struct Wish {
    /// The path.
    path: String,
    /// The field of the spec.
    field: Vec<String>,
    /// A spec of this field alone.
    spec: Value,
}

/// Reads documents, later ones over earlier ones, and the spec's own over all. Nothing of it counts if anything is `wrong`.
pub fn read(documents: &[Document], spec: &VirtualClusterSpec) -> Asked {
    let networking = spec.networking.as_ref();
    let domain = networking.and_then(|networking| networking.cluster_domain.clone());
    let mut asked =
        Asked { cluster_domain: domain.unwrap_or_else(|| "cluster.local".into()), ..Asked::default() };
    let mut whole = Value::Object(Map::new());
    asked.is_discreet = documents.iter().any(|document| document.is_secret);
    for document in documents {
        match serde_saphyr::from_str::<Option<Map<String, Value>>>(&document.text) {
            Ok(read) => crate::policy::overlay(&mut whole, &read.unwrap_or_default().into()),
            Err(error) => asked.wrong.push(document.complaint(&error)),
        }
    }
    if let Some(own) = &spec.config {
        crate::policy::overlay(&mut whole, own);
    }
    asked.walk("", &whole, None);
    let store = spec.backing_store.as_ref().and_then(|store| store.type_);
    if store == Some(BackingStoreType::ExternalDatabase) {
        // The spec's database has no volume, which is there by default.
        asked.spec.remove("backingStore");
        asked.wishes.retain(|wish| wish.field.first().is_some_and(|section| section != "backingStore"));
    }
    asked
}

impl Asked {
    /// What has no effect, in words; `None` if all of it has one.
    pub fn without_effect(&self) -> Option<String> {
        let list = |what: &str, paths: &[String]| {
            let named: Vec<_> = paths.iter().take(MOST_NAMED).map(String::as_str).collect();
            let more = paths.len().saturating_sub(MOST_NAMED);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            (!paths.is_empty()).then(|| format!("{what}: {}{more}", named.join(", ")))
        };
        let told: Vec<_> = [list("unknown", &self.unknown), list("without meaning here", &self.idle)]
            .into_iter()
            .flatten()
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Looks a map up in the table, key by key. What has no row is as `rest` says, the row of the whole around it.
    fn walk(&mut self, path: &str, value: &Value, rest: Option<&Means>) {
        let Value::Object(map) = value else {
            if !value.is_null() {
                self.wrong.push(format!("{path}: must be a map"));
            }
            return;
        };
        for (key, value) in map {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let means = TABLE.iter().find(|row| row.path == path).map(|row| &row.means).or(rest);
            if TABLE.iter().any(|row| is_below(row.path, &path)) {
                self.walk(&path, value, means);
            } else if let Some(means) = means {
                self.take(&path, means, value);
            } else {
                self.unknown.push(path);
            }
        }
    }

    fn take(&mut self, path: &str, means: &Means, value: &Value) {
        match means {
            Means::Always if value.as_bool() == Some(false) => {
                self.idle.push(format!("{path} (is always on)"));
            }
            Means::Always | Means::Moot => {}
            _ if asks_nothing(value) => {}
            Means::Field(target) => {
                let parts: Vec<_> = target.split('/').collect();
                self.put(path, &parts, value.clone());
            }
            Means::Into(_, convert) => convert(self, path, value),
            Means::Rule(way, resource) => rules::rule(self, path, way, resource, value),
            Means::Nothing(_) if is_off(value) => {}
            Means::Nothing(why) => self.idle.push(format!("{path} ({why})")),
        }
    }

    /// Says a field of the spec. Whether that takes the value, [`Asked::judge`] finds out.
    fn put(&mut self, path: &str, field: &[&str], value: Value) {
        let wrap = |inner, part: &&str| Value::Object(Map::from_iter([((*part).to_owned(), inner)]));
        let alone = field.iter().rev().fold(value, wrap);
        let mut spec = Value::Object(std::mem::take(&mut self.spec));
        crate::policy::overlay(&mut spec, &alone);
        if let Value::Object(spec) = spec {
            self.spec = spec;
        }
        let field = field.iter().map(|part| (*part).to_owned()).collect();
        self.wishes.push(Wish { path: path.to_owned(), field, spec: alone });
    }
}

fn is_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether a value leaves everything as it is without it: nothing, off, or left to the program.
fn asks_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.is_empty() || text == "auto",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(asks_nothing),
    }
}

/// Whether all that a value says is that nothing is wanted.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Object(map) => map.values().all(is_off) || map.get("enabled") == Some(&Value::Bool(false)),
        other => asks_nothing(other),
    }
}
