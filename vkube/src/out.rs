//! Standard output. Whoever reads it may have read enough: `vkube list | head -1` ends quietly, as Unix tools do.

use std::{
    fmt::Arguments,
    io::{ErrorKind, Write},
};

/// The status that a shell sees of a program that `SIGPIPE` ended, which Rust programs ignore: 128 and the signal's number.
const BROKEN_PIPE: i32 = 141;

/// Prints as the standard library's macro does; this one takes its place in the whole program.
macro_rules! print {
    ($($part:tt)*) => { $crate::out::write(::std::format_args!($($part)*)) };
}

/// Prints a line.
macro_rules! println {
    () => { $crate::out::write(::std::format_args!("\n")) };
    ($($part:tt)*) => { $crate::out::write(::std::format_args!("{}\n", ::std::format_args!($($part)*))) };
}

/// Writes to standard output. Ends the program if that is no longer possible.
pub fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_fmt(text) {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(BROKEN_PIPE);
        }
        eprintln!("error: failed to write to standard output: {error}");
        std::process::exit(1);
    }
}
