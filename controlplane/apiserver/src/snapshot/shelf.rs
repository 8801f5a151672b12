//! The snapshots that are kept: a file each, in a directory beside the store.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Mutex,
};

use crate::{
    body::{self, Body, BoxError},
    status::ApiError,
};

const SUFFIX: &str = ".snapshot.gz";
/// How much of a file is read at once.
const CHUNK: usize = 64 << 10;

/// The snapshots that are kept.
#[derive(Debug)]
pub struct Shelf {
    directory: PathBuf,
    /// One is taken at a time.
    taking: Mutex<()>,
}

/// A snapshot that is kept.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    name: String,
    /// When it was complete.
    taken: Timestamp,
    /// In bytes.
    size: u64,
}

/// Those that are kept, the oldest first.
#[derive(Debug, Serialize)]
pub(super) struct List {
    items: Vec<Kept>,
}

impl Shelf {
    /// In this directory, which is made when it is needed.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, taking: Mutex::default() }
    }

    pub(super) async fn list(&self) -> Result<List, ApiError> {
        let mut items = Vec::new();
        let mut files = match fs::read_dir(&self.directory).await {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(List { items }),
            Err(error) => return Err(ApiError::internal(error)),
        };
        while let Some(file) = files.next_entry().await.map_err(ApiError::internal)? {
            let name = file.file_name().to_string_lossy().into_owned();
            // One that is just being taken has another suffix.
            if let Some(name) = name.strip_suffix(SUFFIX) {
                items.push(kept(name, &file.path()).await?);
            }
        }
        items.sort_by(|a, b| (a.taken, &a.name).cmp(&(b.taken, &b.name)));
        Ok(List { items })
    }

    /// Writes one to disk; it has its name once it is complete and durable.
    pub(super) async fn take(
        &self,
        name: &str,
        chunks: impl Stream<Item = Result<Bytes, BoxError>>,
    ) -> Result<Kept, ApiError> {
        let path = self.path(name)?;
        let _turn = self.taking.lock().await;
        if fs::try_exists(&path).await.map_err(ApiError::internal)? {
            let message = format!("snapshot {name:?} already exists");
            return Err(ApiError::new(StatusCode::CONFLICT, "AlreadyExists", message));
        }
        let unfinished = self.directory.join(format!("{name}.part"));
        let written = self.write(&unfinished, &path, chunks).await;
        if let Err(error) = written {
            let _ = fs::remove_file(&unfinished).await;
            return Err(ApiError::internal(format!("failed to write snapshot {name}: {error}")));
        }
        kept(name, &path).await
    }

    async fn write(
        &self,
        unfinished: &Path,
        path: &Path,
        chunks: impl Stream<Item = Result<Bytes, BoxError>>,
    ) -> Result<(), BoxError> {
        fs::create_dir_all(&self.directory).await?;
        let mut file = File::create(unfinished).await?;
        let mut chunks = std::pin::pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            file.write_all(&chunk?).await?;
        }
        file.sync_all().await?;
        fs::rename(unfinished, path).await?;
        Ok(File::open(&self.directory).await?.sync_all().await?)
    }

    /// Its bytes.
    pub(super) async fn open(&self, name: &str) -> Result<Body, ApiError> {
        let file = File::open(self.path(name)?).await.map_err(|error| amiss(name, &error))?;
        Ok(body::stream(stream::try_unfold(file, |mut file| async move {
            let mut chunk = Vec::with_capacity(CHUNK);
            file.read_buf(&mut chunk).await?;
            Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), file)))
        })))
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), ApiError> {
        fs::remove_file(self.path(name)?).await.map_err(|error| amiss(name, &error))
    }

    /// Its file. Names are labels of DNS, so that none leads out of the directory.
    fn path(&self, name: &str) -> Result<PathBuf, ApiError> {
        let is_sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 63 || !name.chars().all(is_sound) {
            let message = format!("{name:?} is no name of a snapshot: at most 63 of a-z, 0-9 and -");
            return Err(ApiError::bad_request(message));
        }
        Ok(self.directory.join(format!("{name}{SUFFIX}")))
    }
}

fn amiss(name: &str, error: &std::io::Error) -> ApiError {
    if error.kind() == ErrorKind::NotFound {
        return ApiError::new(StatusCode::NOT_FOUND, "NotFound", format!("no snapshot {name:?}"));
    }
    ApiError::internal(error)
}

async fn kept(name: &str, path: &Path) -> Result<Kept, ApiError> {
    let found = fs::metadata(path).await.map_err(|error| amiss(name, &error))?;
    let taken = found.modified().map_err(ApiError::internal)?;
    let taken = Timestamp::try_from(taken).map_err(ApiError::internal)?;
    // To the second, as times are in the API.
    let taken = Timestamp::from_second(taken.as_second()).map_err(ApiError::internal)?;
    Ok(Kept { name: name.to_owned(), taken, size: found.len() })
}
