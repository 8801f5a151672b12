//! Short stable names for the content of templates.

use serde::Serialize;

/// Letters and digits that spell no words, as in all generated Kubernetes names.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of `content`, made different by `collisions`.
pub(crate) fn of(content: &impl Serialize, collisions: Option<i32>) -> String {
    // k8s-openapi's types always serialize; their maps are sorted, so equal content has equal bytes.
    let bytes = serde_json::to_vec(content).unwrap_or_default();
    let tail = collisions.map(i32::to_le_bytes);
    let sum = bytes
        .iter()
        .chain(tail.iter().flatten())
        .fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    safe(&sum.to_string())
}

/// `text` in the safe alphabet.
fn safe(text: &str) -> String {
    text.bytes()
        .filter_map(|byte| ALPHABET.get(usize::from(byte) % ALPHABET.len()))
        .copied()
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_has_one_hash_and_a_collision_another() {
        assert_eq!(of(&[1, 2], None), of(&[1, 2], None));
        assert_ne!(of(&[1, 2], None), of(&[2, 1], None));
        assert_ne!(of(&[1, 2], None), of(&[1, 2], Some(1)));
    }

    #[test]
    fn a_hash_can_be_part_of_a_name() {
        let hash = of(&"template", Some(3));
        assert!(!hash.is_empty() && hash.len() <= 10);
        assert!(hash.bytes().all(|byte| ALPHABET.contains(&byte)));
    }
}
