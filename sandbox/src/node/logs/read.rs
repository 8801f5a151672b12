//! Reading a container's log as the `log` subresource's parameters ask.

use std::{io::SeekFrom, path::Path};

use bytes::Bytes;
use futures::{Stream, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::watch,
};

use super::{Line, Progress};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// What part of a log is asked for, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Go on with what is written later.
    pub follow: bool,
    /// Only so many lines from the end.
    pub tail: Option<usize>,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// At most so many bytes.
    pub limit: Option<usize>,
    /// Each line starts with its time.
    pub timestamps: bool,
    /// The log of the container's run before this one.
    pub previous: bool,
    /// Only one output: `stdout` or `stderr`.
    pub output: Option<String>,
}

impl Options {
    /// Reads the parameters of a request's query; unknown ones are ignored, a bad value is named.
    pub fn parse(query: &str, now: Timestamp) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let flag = || matches!(&*value, "true" | "1" | "t" | "T" | "TRUE" | "True");
            let number = || value.parse::<i64>().map_err(|_| format!("invalid {name}: {value:?}"));
            let count = || number().map(|number| usize::try_from(number).ok());
            match &*name {
                "follow" => options.follow = flag(),
                "previous" => options.previous = flag(),
                "timestamps" => options.timestamps = flag(),
                "tailLines" => options.tail = count()?,
                "limitBytes" => options.limit = count()?,
                "sinceSeconds" => {
                    options.since = now.checked_sub(SignedDuration::from_secs(number()?)).ok();
                }
                "sinceTime" => {
                    let time = value.parse().map_err(|_| format!("invalid {name}: {value:?}"))?;
                    options.since = Some(time);
                }
                "stream" => {
                    options.output = Some(value.to_lowercase()).filter(|output| output != "all");
                }
                _ => {}
            }
        }
        Ok(options)
    }
}

/// The log at `path`. `progress` is that of a log still being written, which can be followed.
pub(crate) async fn open(
    path: &Path,
    options: Options,
    progress: Option<watch::Receiver<Progress>>,
) -> std::io::Result<impl Stream<Item = Bytes> + Send + use<>> {
    let mut file = File::open(path).await?;
    let start = match options.tail {
        Some(lines) => tail_start(&mut file, lines).await?,
        None => 0,
    };
    file.seek(SeekFrom::Start(start)).await?;
    let progress = progress.filter(|_| options.follow);
    let reader = Reader { file, position: start, filter: Filter::new(options), progress };
    Ok(stream::unfold(reader, |mut reader| async move { Some((reader.next().await?, reader)) }))
}

struct Reader {
    file: File,
    position: u64,
    filter: Filter,
    progress: Option<watch::Receiver<Progress>>,
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        let mut chunk = vec![0; CHUNK];
        loop {
            if self.filter.done() {
                return None;
            }
            let seen = self.progress.as_mut().map(|progress| *progress.borrow_and_update());
            let count = self.file.read(&mut chunk).await.ok()?;
            if count > 0 {
                self.position += count as u64;
                let out = self.filter.take(&chunk[..count]);
                if !out.is_empty() {
                    return Some(out.into());
                }
                continue;
            }
            let seen = seen?;
            if seen.length < self.position {
                // The log started over.
                self.file.seek(SeekFrom::Start(0)).await.ok()?;
                self.position = 0;
                continue;
            }
            if seen.closed {
                return None;
            }
            self.progress.as_mut()?.changed().await.ok()?;
        }
    }
}

/// Turns kept lines into the asked form.
pub(super) struct Filter {
    options: Options,
    pending: Vec<u8>,
    sent: usize,
    /// Whether the last line sent was a part, so that its continuation gets no time of its own.
    continues: bool,
}

impl Filter {
    pub(super) fn new(options: Options) -> Self {
        Self { options, pending: Vec::new(), sent: 0, continues: false }
    }

    /// Whether the byte limit is reached.
    fn done(&self) -> bool {
        self.options.limit.is_some_and(|limit| self.sent >= limit)
    }

    /// The asked form of the lines that `bytes` completes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let mut out = Vec::new();
        let mut start = 0;
        while let Some(length) = self.pending[start..].iter().position(|byte| *byte == b'\n') {
            let line = Line::parse(&self.pending[start..start + length]);
            if let Some(line) = line.filter(|line| wanted(&self.options, line)) {
                if self.options.timestamps && !self.continues {
                    out.extend_from_slice(line.time.as_bytes());
                    out.push(b' ');
                }
                out.extend_from_slice(line.text);
                if line.full {
                    out.push(b'\n');
                }
                self.continues = !line.full;
            }
            start += length + 1;
        }
        self.pending.drain(..start);
        if let Some(limit) = self.options.limit {
            out.truncate(limit - self.sent.min(limit));
        }
        self.sent += out.len();
        out
    }
}

fn wanted(options: &Options, line: &Line<'_>) -> bool {
    let since =
        options.since.is_none_or(|since| line.time.parse::<Timestamp>().is_ok_and(|time| time >= since));
    since && options.output.as_deref().is_none_or(|output| output == line.output)
}

/// Where the last `lines` lines start.
async fn tail_start(file: &mut File, lines: usize) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0)).await?;
    // The line end of the last line does not start another one.
    let mut wanted = lines as u64 + 1;
    let mut chunk = vec![0; CHUNK];
    if lines == 0 {
        return Ok(end);
    }
    while end > 0 {
        let size = end.min(CHUNK as u64);
        let start = end - size;
        let chunk = &mut chunk[..size as usize];
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(chunk).await?;
        for (index, byte) in chunk.iter().enumerate().rev() {
            if *byte == b'\n' {
                wanted -= 1;
                if wanted == 0 {
                    return Ok(start + index as u64 + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}
