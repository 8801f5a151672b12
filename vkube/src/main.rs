//! The `vkube` binary.
fn main() {}
