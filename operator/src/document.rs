//! Texts that a spec has or refers to, and how they are spoken of.

use vkube_crds::{KeyRef, SourceKind};

/// A text, by where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where, as a person would say it.
    pub place: String,
    /// What it says.
    pub text: String,
    /// Whether nothing of that may be repeated: who reads a status may not be one who may read Secrets.
    pub is_secret: bool,
}

impl Document {
    /// The text of a key.
    pub fn of(kind: SourceKind, at: &KeyRef, text: String) -> Self {
        let place = format!("{} {}, key {}", kind.as_str(), at.name, at.key);
        Self { place, text, is_secret: kind == SourceKind::Secret }
    }

    /// A text in the spec itself, at this path.
    pub fn own(path: &str, text: String) -> Self {
        Self { place: path.to_owned(), text, is_secret: false }
    }

    /// Why it cannot be read.
    pub fn complaint(&self, error: &serde_saphyr::Error) -> String {
        match error.location() {
            Some(at) if self.is_secret => format!("{}: cannot be read, at line {}", self.place, at.line()),
            _ if self.is_secret => format!("{}: cannot be read", self.place),
            _ => format!("{}: {error}", self.place),
        }
    }
}
