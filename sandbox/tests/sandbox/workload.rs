//! What the pods of the scenarios run.

use std::{
    ffi::OsString,
    io::{Read, Write},
    net::TcpListener,
    process::ExitCode,
};

/// The subcommand under which this program is a workload.
pub const SUBCOMMAND: &str = "workload";

/// Runs one: `serve ADDRESS FILE…` answers every request with the contents of the files, `exit CODE` ends,
/// `echo WORD…` prints and waits, `cat` copies its input.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", address, files @ ..] => serve(address, files),
        ["exit", code] => {
            eprintln!("ending with {code}");
            ExitCode::from(code.parse::<u8>().unwrap())
        }
        ["echo", words @ ..] => {
            println!("{}", words.join(" "));
            loop {
                std::thread::park();
            }
        }
        _ => ExitCode::FAILURE,
    }
}

fn serve(address: &str, files: &[&str]) -> ExitCode {
    let listener = TcpListener::bind(address).unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let mut request = [0; 2048];
        let Ok(count) = connection.read(&mut request) else { continue };
        if count == 0 {
            continue;
        }
        let parts: Vec<_> = files
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap_or_else(|error| error.to_string()))
            .collect();
        let body = parts.join("|");
        let _ = write!(
            connection,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
    }
    ExitCode::SUCCESS
}
