//! Reads messages, tags and `+markers` from the sources of `k8s-pb`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// A protobuf message.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Markers of the type, without the `+`.
    pub markers: Vec<String>,
    /// Fields in the order of the Go struct.
    pub fields: Vec<Field>,
}

/// A field of a [`Message`].
#[derive(Clone, Debug)]
pub struct Field {
    /// The Rust name: the JSON name in snake case.
    pub name: String,
    /// The protobuf tag.
    pub tag: u32,
    /// The type in terms of the table; messages are `#definition`.
    pub ty: String,
    /// Markers, without the `+`.
    pub markers: Vec<String>,
}

/// Messages by lower-case definition name; prost changes the case of some.
pub type Messages = BTreeMap<String, (String, Message)>;

/// Reads all messages below `root`, the `src` folder of `k8s-pb`.
pub fn read(root: &Path) -> io::Result<Messages> {
    let mut messages = Messages::new();
    walk(root, root, &mut messages)?;
    Ok(messages)
}

fn walk(root: &Path, folder: &Path, messages: &mut Messages) -> io::Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(root, &path, messages)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            let module: Vec<String> = folder
                .strip_prefix(root)
                .into_iter()
                .flatten()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            read_file(&fs::read_to_string(&path)?, &module, messages);
        }
    }
    Ok(())
}

/// `io.k8s.api.core.v1` for `["api", "core", "v1"]`.
fn definition_prefix(module: &[String]) -> String {
    format!("io.k8s.{}", module.join(".").replace("apiextensions_apiserver", "apiextensions-apiserver"))
        .replace("kube_aggregator", "kube-aggregator")
}

fn read_file(source: &str, module: &[String], messages: &mut Messages) {
    let prefix = definition_prefix(module);
    let mut markers = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("///") {
            markers.extend(marker(comment));
        } else if let Some(rest) = line.strip_prefix("pub struct ") {
            let name = format!("{prefix}.{}", rest.trim_end_matches([' ', '{', '}']));
            let fields = if rest.ends_with('{') { read_fields(&mut lines, module) } else { Vec::new() };
            let message = Message { markers: std::mem::take(&mut markers), fields };
            messages.insert(name.to_lowercase(), (name, message));
        } else if !line.starts_with("#[") {
            markers.clear();
        }
    }
}

fn marker(comment: &str) -> Option<String> {
    comment.trim().strip_prefix('+').map(str::to_owned)
}

fn read_fields<'a>(lines: &mut impl Iterator<Item = &'a str>, module: &[String]) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut markers = Vec::new();
    let mut attribute = String::new();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line == "}" {
            break;
        }
        if let Some(comment) = line.strip_prefix("///") {
            markers.extend(marker(comment));
        } else if line.starts_with("#[prost") {
            attribute = gather(line, lines, |text| text.ends_with(")]"));
        } else if let Some(rest) = line.strip_prefix("pub ") {
            let declaration = gather(rest, lines, |text| text.ends_with(','));
            let (name, ty) = declaration.split_once(':').unwrap_or_default();
            let tag = attribute.split("tag = \"").nth(1).and_then(|t| t.split('"').next());
            fields.push(Field {
                name: name.trim_start_matches("r#").to_owned(),
                tag: tag.and_then(|t| t.parse().ok()).unwrap_or_default(),
                ty: table_type(&attribute, ty.trim_end_matches(','), module),
                markers: std::mem::take(&mut markers),
            });
        }
    }
    fields
}

fn gather<'a>(first: &str, lines: &mut impl Iterator<Item = &'a str>, done: impl Fn(&str) -> bool) -> String {
    let mut text = first.to_owned();
    while !done(&text) {
        let Some(line) = lines.next() else { break };
        text.push(' ');
        text.push_str(line.trim());
    }
    text
}

fn table_type(attribute: &str, ty: &str, module: &[String]) -> String {
    let inside = attribute.trim_start_matches("#[prost(");
    if inside.starts_with("btree_map") {
        let value = inside.split('"').nth(1).and_then(|m| m.split(", ").nth(1)).unwrap_or_default();
        let value = match value {
            "message" => message_name(ty, module),
            other => other.to_owned(),
        };
        return format!("{{}}{value}");
    }
    let kind = inside.split([' ', ',']).next().unwrap_or_default();
    let base = if kind == "message" { message_name(ty, module) } else { kind.to_owned() };
    if inside.contains("repeated") { format!("[]{base}") } else { base }
}

/// `#definition` of the innermost type path of a field.
fn message_name(ty: &str, module: &[String]) -> String {
    let inner = ty
        .replace("::prost::alloc::string::String", "")
        .replace("::prost::alloc::collections::BTreeMap", "")
        .replace("::prost::alloc::vec::Vec", "")
        .replace("::prost::alloc::boxed::Box", "")
        .replace("::core::option::Option", "");
    let path = inner.trim_matches(|c: char| !c.is_alphanumeric() && c != '_').trim();
    let mut base = module.to_vec();
    let mut parts = Vec::new();
    for part in path.split("::") {
        if part == "super" {
            base.pop();
        } else {
            parts.push(part.to_owned());
        }
    }
    let name = parts.pop().unwrap_or_default();
    base.extend(parts);
    format!("#{}.{name}", definition_prefix(&base))
}
