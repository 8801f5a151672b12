//! Label and field selectors.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use vkube_apiserver::selectors::{
    fields::{FieldSelector, Selectable},
    labels::LabelSelector,
};

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let Ok(spec) = vkube_fuzz::any(&mut u, 4) else { return };
    LabelSelector::from_spec(&spec).matches(|key| spec.get(key).and_then(|value| value.as_str()));
    let Ok(text) = std::str::from_utf8(u.take_rest()) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        selector.matches_object(&spec);
    }
    for (fields, namespaced, custom) in
        [(&["spec.nodeName"][..], true, false), (&[], false, false), (&[], true, true)]
    {
        let _ = FieldSelector::parse(text, Selectable { fields, namespaced, custom });
    }
});
