//! What a shell sees of the program.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Stdio};

#[test]
fn a_reader_that_has_read_enough_ends_the_program_quietly() {
    // More than a pipe holds, so that the program still writes when nobody reads.
    let mut vkube = Command::new(env!("CARGO_BIN_EXE_vkube"))
        .arg("manifests")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(vkube.stdout.take());
    let ended = vkube.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert_eq!(ended.status.code(), Some(141));
}
