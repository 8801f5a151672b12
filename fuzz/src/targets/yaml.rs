//! YAML is read, and what was read is written so that reading it again gives the same.

use vkube_apiserver::codec::yaml;

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let Ok((value, _)) = yaml::read(data) else { return };
    let written = yaml::write(&value);
    let again = yaml::read(written.as_bytes()).expect("what was written can be read");
    assert_eq!(again.0, value, "{written}");
}
