//! JSON paths of printer columns and selectable fields.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use vkube_apiserver::custom::json_path::JsonPath;

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let Ok(document) = vkube_fuzz::any(&mut u, 4) else { return };
    let Ok(text) = std::str::from_utf8(u.take_rest()) else { return };
    if let Ok(path) = JsonPath::parse(text) {
        path.find(&document);
        path.names();
    }
});
