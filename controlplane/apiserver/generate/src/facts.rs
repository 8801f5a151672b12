//! Reads `facts.txt`: what Go's types say and the crates' sources do not.

use std::collections::BTreeMap;

use crate::proto;

/// The facts.
#[derive(Debug, Default)]
pub struct Facts {
    enums: BTreeMap<String, String>,
    constants: BTreeMap<String, String>,
    tags: BTreeMap<String, Vec<proto::Field>>,
    fields: BTreeMap<String, BTreeMap<String, Field>>,
}

/// What is special to one field.
#[derive(Clone, Debug, Default)]
pub struct Field {
    /// Pointer where the rule says value, or the reverse.
    pub flip_pointer: bool,
    /// Written even when empty.
    pub keep_empty: bool,
    /// Left out when zero, even though a struct.
    pub omit_zero: bool,
    /// Required or not, where `k8s-openapi` says otherwise.
    pub required: Option<bool>,
    /// The named Go type, with the path of its package.
    pub go_type: Option<String>,
}

impl Facts {
    /// Parses the text.
    pub fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            if let Some(rest) = line.strip_prefix("enum ") {
                let (name, values) = rest.split_once(' ').unwrap_or((rest, ""));
                facts.enums.insert(name.into(), values.into());
                continue;
            }
            if let Some((name, value)) = line.strip_prefix("const ").and_then(|rest| rest.split_once(' ')) {
                facts.constants.insert(name.into(), value.into());
                continue;
            }
            let tags = line.strip_prefix("tag ");
            let mut words = tags.unwrap_or(line).split(' ');
            let message = words.next().unwrap_or_default();
            if tags.is_some() {
                facts.tags.insert(message.into(), words.map(parse_tag).collect());
            } else {
                facts.fields.insert(message.into(), words.map(parse_field).collect());
            }
        }
        facts
    }

    /// The JSON value of a Go constant.
    pub fn constant(&self, name: &str) -> Option<&str> {
        self.constants.get(name).map(String::as_str)
    }

    /// The protobuf fields of a message that `k8s-pb` does not know.
    pub fn tags(&self, message: &str) -> &[proto::Field] {
        self.tags.get(message).map_or(&[], Vec::as_slice)
    }

    /// What is special to a field.
    pub fn field(&self, message: &str, field: &str) -> Field {
        self.fields.get(message).and_then(|m| m.get(field)).cloned().unwrap_or_default()
    }

    /// The values of a Go type, if it is an enumeration.
    pub fn values(&self, go_type: &str) -> Option<&str> {
        let element = go_type.rsplit(']').next().unwrap_or(go_type);
        self.enums.get(element).map(String::as_str)
    }
}

fn parse_tag(word: &str) -> proto::Field {
    let mut parts = word.split(':');
    proto::Field {
        name: parts.next().unwrap_or_default().into(),
        tag: parts.next().and_then(|t| t.parse().ok()).unwrap_or_default(),
        ty: String::new(),
        markers: parts.map(str::to_owned).collect(),
    }
}

fn parse_field(word: &str) -> (String, Field) {
    let (left, go_type) = match word.split_once('=') {
        Some((left, go)) => (left, Some(go.to_owned())),
        None => (word, None),
    };
    let name = left.trim_end_matches(['*', '!', '~', '+', '-']);
    let flags = &left[name.len()..];
    let field = Field {
        flip_pointer: flags.contains('*'),
        keep_empty: flags.contains('!'),
        omit_zero: flags.contains('~'),
        required: flags.contains(['+', '-']).then(|| flags.contains('+')),
        go_type,
    };
    (name.to_owned(), field)
}
