//! Writing a document's own revision into its bytes.

use crate::{Document, Revision};

impl Document {
    /// Its bytes as they are stored at this revision. An offset beyond the end appends the digits.
    pub fn at(&self, revision: Revision) -> Vec<u8> {
        match self.revision_at {
            None => self.bytes.to_vec(),
            Some(at) => splice(&self.bytes, at, 0, revision),
        }
    }
}

/// Stored bytes with the digits of `old`, which they carry at `revision_at`, replaced by those of `new`.
pub(crate) fn replace(value: &[u8], revision_at: Option<u32>, old: Revision, new: Revision) -> Vec<u8> {
    match revision_at {
        None => value.to_vec(),
        Some(at) => splice(value, at, old.to_string().len(), new),
    }
}

fn splice(bytes: &[u8], at: u32, skip: usize, revision: Revision) -> Vec<u8> {
    let digits = revision.to_string();
    let (head, tail) = bytes.split_at((at as usize).min(bytes.len()));
    let tail = tail.get(skip..).unwrap_or_default();

    let mut spliced = Vec::with_capacity(head.len() + digits.len() + tail.len());
    spliced.extend_from_slice(head);
    spliced.extend_from_slice(digits.as_bytes());
    spliced.extend_from_slice(tail);
    spliced
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn document(bytes: &'static str, revision_at: Option<u32>) -> Document {
        Document { bytes: Bytes::from_static(bytes.as_bytes()), revision_at, index: Bytes::new() }
    }

    #[test]
    fn inserts_the_digits_at_the_offset() {
        assert_eq!(document(r#"{"rv":""}"#, Some(7)).at(42), br#"{"rv":"42"}"#);
    }

    #[test]
    fn leaves_a_document_without_offset_alone() {
        assert_eq!(document("{}", None).at(42), b"{}");
        assert_eq!(replace(b"{}", None, 42, 43), b"{}");
    }

    #[test]
    fn replaces_digits_of_another_length() {
        assert_eq!(replace(br#"{"rv":"9"}"#, Some(7), 9, 10), br#"{"rv":"10"}"#);
    }

    #[test]
    fn appends_beyond_the_end() {
        assert_eq!(document("rv", Some(9)).at(7), b"rv7");
    }
}
