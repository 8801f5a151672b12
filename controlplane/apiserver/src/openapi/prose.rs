//! Descriptions of types and fields: compressed in the binary, unpacked for one document.

use std::{collections::HashMap, io::Read};

use flate2::read::GzDecoder;

static PROSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/prose.gz"));

/// The unpacked text.
pub struct Text(String);

impl Text {
    /// Unpacks the text; if that fails there are no descriptions.
    pub fn unpack() -> Self {
        let mut text = String::new();
        if GzDecoder::new(PROSE).read_to_string(&mut text).is_err() {
            text.clear();
        }
        Self(text)
    }

    /// Finds the definitions in it.
    pub fn index(&self) -> Prose<'_> {
        let mut definitions = HashMap::new();
        let mut rest = self.0.as_str();
        while let Some(line) = rest.strip_prefix('=') {
            let end = line.find("\n=").map_or(line.len(), |i| i + 1);
            let (block, after) = line.split_at(end);
            if let Some((name, text)) = block.split_once('\t') {
                definitions.insert(name, text);
            }
            rest = after;
        }
        Prose { definitions }
    }
}

/// The descriptions by definition.
pub struct Prose<'t> {
    definitions: HashMap<&'t str, &'t str>,
}

impl Prose<'_> {
    /// What a definition is.
    pub fn definition(&self, name: &str) -> Option<String> {
        let first = self.definitions.get(name)?.lines().next()?;
        Some(unescaped(first)).filter(|text| !text.is_empty())
    }

    /// What a field is.
    pub fn field(&self, definition: &str, field: &str) -> Option<String> {
        let mut lines = self.definitions.get(definition)?.lines().skip(1);
        let text = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix('\t'))?;
        Some(unescaped(text))
    }
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => {}
            },
            other => plain.push(other),
        }
    }
    plain
}
