//! JSON paths of printer columns and selectable fields.

use arbitrary::Unstructured;
use vkube_apiserver::custom::json_path::JsonPath;

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(document) = crate::any(&mut u, 4) else { return };
    let Ok(text) = std::str::from_utf8(u.take_rest()) else { return };
    if let Ok(path) = JsonPath::parse(text) {
        path.find(&document);
        path.names();
    }
}
