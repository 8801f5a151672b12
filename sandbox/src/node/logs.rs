//! Container logs: lines with a time and a stream in a file, read back as `kubectl logs` asks.

pub(crate) mod read;
pub(crate) mod write;

/// Which of a process's outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The bytes written so far.
    pub length: u64,
    /// Whether nothing more will be written.
    pub closed: bool,
}

/// One line as it is kept: `2026-01-02T03:04:05.123456789Z stdout F text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// When it was written.
    pub time: &'a str,
    /// Where it came from: `stdout` or `stderr`.
    pub output: &'a str,
    /// Whether the line ends here; a long line is kept in parts.
    pub full: bool,
    /// The text without its line end.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a kept line, without its line end.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = bytes.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let output = std::str::from_utf8(parts.next()?).ok()?;
        let full = parts.next()? == b"F";
        Some(Self { time, output, full, text: parts.next()? })
    }

    /// Appends the kept form, with its line end.
    pub fn append(&self, out: &mut Vec<u8>) {
        let tag = if self.full { "F" } else { "P" };
        for part in [self.time, self.output, tag] {
            out.extend_from_slice(part.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(self.text);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests;
