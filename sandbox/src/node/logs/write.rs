//! Writing a container's log.

use std::{fs, io, path::Path, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncSeekExt, AsyncWriteExt, BufReader},
    sync::{Mutex, watch},
};

use super::{Line, Output, Progress};

/// Longer lines are kept in parts of this size.
const MOST_LINE: usize = 16 * 1024;
/// A log that grows beyond this starts over: the sandbox must not fill the disk.
const MOST_BYTES: u64 = 20 * 1024 * 1024;

/// The log of one run of one container; clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    path: Arc<Path>,
    file: Arc<Mutex<tokio::fs::File>>,
    progress: Arc<watch::Sender<Progress>>,
}

impl Log {
    /// Starts a log; the one before it, if any, becomes the previous one.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::rename(&path, previous(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = fs::File::options().create(true).truncate(true).write(true).open(&path)?;
        Ok(Self {
            path: path.into(),
            file: Arc::new(Mutex::new(file.into())),
            progress: Arc::new(watch::Sender::new(Progress::default())),
        })
    }

    /// Where the log is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Learns of every line written.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Writes one line of the node's own making.
    pub async fn note(&self, text: &str) {
        let mut kept = Vec::new();
        let time = Timestamp::now().to_string();
        Line { time: &time, output: "stdout", full: true, text: text.as_bytes() }.append(&mut kept);
        self.append(&kept).await;
    }

    /// Keeps everything that `source` gives, until its end.
    pub async fn keep(&self, output: Output, source: impl AsyncRead + Unpin) {
        let mut source = BufReader::with_capacity(MOST_LINE, source);
        let mut pending = Vec::new();
        while let Ok(bytes) = source.fill_buf().await {
            if bytes.is_empty() {
                break;
            }
            let taken = bytes.len();
            pending.extend_from_slice(bytes);
            source.consume(taken);
            let kept = frame(&mut pending, output, false);
            self.append(&kept).await;
        }
        let kept = frame(&mut pending, output, true);
        self.append(&kept).await;
    }

    /// Says that nothing more comes, which ends those who follow.
    pub fn close(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
    }

    async fn append(&self, kept: &[u8]) {
        if kept.is_empty() {
            return;
        }
        let mut file = self.file.lock().await;
        let written = async {
            if self.progress.borrow().length > MOST_BYTES {
                file.set_len(0).await?;
                file.rewind().await?;
                self.progress.send_modify(|progress| progress.length = 0);
            }
            file.write_all(kept).await?;
            file.flush().await
        };
        match written.await {
            Ok(()) => self.progress.send_modify(|progress| progress.length += kept.len() as u64),
            Err(error) => tracing::warn!(%error, path = %self.path.display(), "log line lost"),
        }
    }
}

/// The path of the log before this one.
pub(crate) fn previous(path: &Path) -> PathBuf {
    path.with_extension("previous.log")
}

/// Takes the complete lines out of `pending` in their kept form; at the end, also the rest.
pub(super) fn frame(pending: &mut Vec<u8>, output: Output, end: bool) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut start = 0;
    let time = Timestamp::now().to_string();
    let mut line = |full, text: &[u8]| {
        Line { time: &time, output: output.name(), full, text }.append(&mut kept);
    };
    while let Some(length) = pending[start..].iter().position(|byte| *byte == b'\n') {
        line(true, &pending[start..start + length]);
        start += length + 1;
    }
    while pending.len() - start >= MOST_LINE {
        line(false, &pending[start..start + MOST_LINE]);
        start += MOST_LINE;
    }
    if end && start < pending.len() {
        line(true, &pending[start..]);
        start = pending.len();
    }
    pending.drain(..start);
    kept
}
