//! JSON is read by its type, and what was read is written so that reading it again gives the same.

use arbitrary::Unstructured;
use vkube_apiserver::schema::{decode, defaults, json};

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(ty) = crate::ty(&mut u) else { return };
    let Ok((value, _)) = json::parse(u.take_rest(), Some(ty)) else { return };
    let mut written = Vec::new();
    json::write(&value, Some(ty), &mut written);
    let again = json::parse(&written, Some(ty)).expect("what was written can be read");
    assert_eq!(again.0, value);
    if let Ok((mut object, _)) = decode::decode(value, ty) {
        defaults::apply_defaults(&mut object, ty);
    }
}
