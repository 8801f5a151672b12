//! Label and field selectors.

use arbitrary::Unstructured;
use vkube_apiserver::selectors::{
    fields::{FieldSelector, Selectable},
    labels::LabelSelector,
};

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(spec) = crate::any(&mut u, 4) else { return };
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
}
