//! A program of a client stack, and what it asks of the test.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use crate::World;

/// No program takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(5);

/// How a program begins the line that has a line of shell run while it is cut off.
const CUT_OFF: &str = "@while-cut-off ";

/// Runs a program to its end. It must succeed.
pub fn run(world: &World, command: &mut Command) {
    let mut child = command
        .env("KUBECONFIG", &world.steady.shell.kubeconfig)
        .env("FORGETFUL_KUBECONFIG", world.forgetful.kubeconfig_by(&world.network.address))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let (sender, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut stderr = child.stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut text = String::new();
        // What was read before an error is worth showing.
        let _ = stderr.read_to_string(&mut text);
        text
    });

    let deadline = Instant::now() + PATIENCE;
    let mut said = String::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix(CUT_OFF) {
                Some(line) => {
                    world.while_cut_off(line);
                    // A program that has ended meanwhile says why.
                    let _ = stdin.write_all(b"reachable\n");
                }
                None => said += &(line + "\n"),
            },
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                said += "it did not end\n";
                break;
            }
        }
    }
    let status = child.wait().unwrap();
    let errors = errors.join().unwrap();
    assert!(status.success(), "{command:?}: {status}\n{said}{errors}");
}
