//! Field selectors: `metadata.name=x,status.phase!=Running`.

use crate::index::Index;

/// A parsed selector: all terms must hold.
#[derive(Clone, Debug, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    field: Field,
    equal: bool,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    /// The position in the kind's selectable fields.
    Indexed(usize),
}

/// Why a field selector was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not of the form `field=value`.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Syntax {
        /// The whole selector.
        selector: String,
        /// The part that is wrong.
        term: String,
    },
    /// An escape that is none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// The kind has no such field.
    #[error("field label not supported: {0}")]
    Unsupported(String),
    /// The kind has no fields but its name and namespace.
    #[error("{0:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")]
    Unknown(String),
}

/// The fields that selectors of a resource may name.
#[derive(Clone, Copy, Debug)]
pub struct Selectable<'a> {
    /// Those besides name and namespace.
    pub fields: &'a [&'a str],
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it is a custom resource.
    pub custom: bool,
}

impl Selectable<'_> {
    /// Built-in kinds without fields of their own take what all metadata has, namespaces included.
    const fn is_plain(&self) -> bool {
        self.fields.is_empty() && !self.custom
    }
}

impl FieldSelector {
    /// Parses a selector.
    pub fn parse(text: &str, selectable: Selectable<'_>) -> Result<Self, Error> {
        let mut terms = Vec::new();
        for term in split(text) {
            if term.is_empty() {
                continue;
            }
            let (name, equal, value) = parts(text, term)?;
            let field = match name {
                "metadata.name" => Field::Name,
                "metadata.namespace" if selectable.namespaced || selectable.is_plain() => Field::Namespace,
                other => match selectable.fields.iter().position(|f| *f == other) {
                    Some(position) => Field::Indexed(position),
                    None if selectable.is_plain() => return Err(Error::Unknown(other.into())),
                    None => return Err(Error::Unsupported(other.into())),
                },
            };
            terms.push(Term { field, equal, value });
        }
        Ok(Self { terms })
    }

    /// Whether a text is a selector, of whatever fields.
    pub fn is_one(text: &str) -> bool {
        split(text).into_iter().filter(|term| !term.is_empty()).all(|term| parts(text, term).is_ok())
    }

    /// Whether it has no terms.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one name that it allows, if it is so narrow.
    pub fn exact_name(&self) -> Option<&str> {
        self.terms.iter().find(|t| t.field == Field::Name && t.equal).map(|t| t.value.as_str())
    }

    /// Whether an object matches.
    pub fn matches(&self, namespace: &str, name: &str, index: Index<'_>) -> bool {
        self.terms.iter().all(|term| {
            let actual = match term.field {
                Field::Name => name,
                Field::Namespace => namespace,
                Field::Indexed(position) => index.field(position).unwrap_or_default(),
            };
            (actual == term.value) == term.equal
        })
    }
}

/// Splits at commas that are not escaped.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The field of a term of a selector, whether it is to be equal, and to what.
fn parts<'t>(selector: &str, term: &'t str) -> Result<(&'t str, bool, String), Error> {
    let Some((name, equal, value)) = operator(term) else {
        return Err(Error::Syntax { selector: selector.into(), term: term.into() });
    };
    Ok((name, equal, unescape(value)?))
}

fn operator(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!'])?;
    let (name, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        Some((name, false, value))
    } else if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        Some((name, true, value))
    } else {
        None
    }
}

fn unescape(value: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(Error::Escape(format!("\\{c}"))),
                None => return Err(Error::Escape("\\".into())),
            },
            ',' | '=' => return Err(Error::Escape(c.into())),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: Selectable<'_> = Selectable { fields: &["status.phase"], namespaced: true, custom: false };

    #[test]
    fn all_terms_must_hold() {
        let selector = FieldSelector::parse("metadata.name!=b,status.phase=Running", PODS).unwrap();
        let index = crate::index::encode(&serde_json::json!({}), &["Running".into()]);
        assert!(selector.matches("ns", "a", Index::new(&index)));
        assert!(!selector.matches("ns", "b", Index::new(&index)));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = FieldSelector::parse("spec.foo=1", PODS).unwrap_err();
        assert_eq!(error.to_string(), "field label not supported: spec.foo");
    }

    #[test]
    fn a_plain_kind_says_what_it_knows() {
        let plain = Selectable { fields: &[], namespaced: false, custom: false };
        assert!(FieldSelector::parse("metadata.namespace=a", plain).is_ok());
        let error = FieldSelector::parse("spec.foo=1", plain).unwrap_err();
        assert!(error.to_string().starts_with("\"spec.foo\" is not a known field selector: only"));
        let custom = FieldSelector::parse("spec.foo=1", Selectable { custom: true, ..plain }).unwrap_err();
        assert_eq!(custom.to_string(), "field label not supported: spec.foo");
    }
}
