//! libFuzzer over the target that `VKUBE_FUZZ` names.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vkube_fuzz::targets::{ALL, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("VKUBE_FUZZ").unwrap_or_default();
    let target = ALL.iter().find(|(known, _)| *known == name);
    target.map(|(_, target)| *target).expect("VKUBE_FUZZ names a target")
});

fuzz_target!(|data: &[u8]| TARGET(data));
