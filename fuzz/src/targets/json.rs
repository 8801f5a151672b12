//! JSON is read by its type, and what was read is written so that reading it again gives the same text.

use arbitrary::Unstructured;
use vkube_apiserver::schema::{decode, defaults, json};

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(ty) = crate::ty(&mut u) else { return };
    let Ok((value, _)) = json::parse(u.take_rest(), Some(ty)) else { return };
    let text = |value| {
        let mut written = Vec::new();
        json::write(value, Some(ty), &mut written);
        written
    };
    let written = text(&value);
    // Numbers without a fraction are written without one, and are integers then, which have no negative zero.
    let (again, _) = json::parse(&written, Some(ty)).expect("what was written can be read");
    if !written.windows(2).any(|pair| pair == b"-0") {
        assert_eq!(text(&again), written);
    }
    if let Ok((mut object, _)) = decode::decode(value, ty) {
        defaults::apply_defaults(&mut object, ty);
    }
}
