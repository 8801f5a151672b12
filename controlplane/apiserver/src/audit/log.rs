//! Where events are written to: a file that is put away when it is large, or standard output.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

use super::event::Event;

const MEGABYTE: u64 = 1 << 20;

/// What `--audit-log-maxsize` is unless it is given, in megabytes.
const MAX_SIZE: u64 = 100;

/// How an event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As a line of JSON.
    #[default]
    Json,
    /// As a line of some of its fields.
    Legacy,
}

/// What the flags `--audit-log-*` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file; `-` is standard output.
    pub path: PathBuf,
    /// How events are written.
    pub format: Format,
    /// After how many days files that were put away are removed; 0 is never.
    pub max_age: u64,
    /// How many files that were put away are kept; 0 is all.
    pub max_backups: usize,
    /// At how many megabytes the file is put away; 0 is 100.
    pub max_size: u64,
}

/// Writes events.
#[derive(Debug)]
pub struct Log {
    options: Options,
    /// The file and how long it is; none for standard output.
    file: Option<Mutex<(File, u64)>>,
}

impl Log {
    /// Opens the file, or makes it.
    pub fn open(options: Options) -> io::Result<Self> {
        let file = if options.path.as_os_str() == "-" {
            None
        } else {
            if let Some(directory) = options.path.parent() {
                fs::create_dir_all(directory)?;
            }
            Some(Mutex::new(open(&options.path)?))
        };
        Ok(Self { options, file })
    }

    /// Writes an event; the request goes on even if that fails.
    pub fn write(&self, event: &Event) {
        let line = match self.options.format {
            Format::Json => serde_json::to_string(event).map_err(io::Error::from),
            Format::Legacy => Ok(event.legacy()),
        };
        if let Err(error) = line.and_then(|line| self.append(&format!("{line}\n"))) {
            tracing::error!(error = &error as &dyn std::error::Error, "an audit event is lost");
        }
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let Some(file) = &self.file else { return io::stdout().lock().write_all(line.as_bytes()) };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let length = line.len() as u64;
        let limit = if self.options.max_size == 0 { MAX_SIZE } else { self.options.max_size } * MEGABYTE;
        if file.1 > 0 && file.1 + length > limit {
            *file = self.rotate()?;
        }
        file.0.write_all(line.as_bytes())?;
        file.1 += length;
        Ok(())
    }

    /// Puts the file away under the time of now, and removes those that are too old or too many.
    fn rotate(&self) -> io::Result<(File, u64)> {
        let path = &self.options.path;
        let now = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S%.3f");
        let (prefix, suffix) = parts(path);
        fs::rename(path, path.with_file_name(format!("{prefix}{now}{suffix}")))?;
        let mut old = self.put_away()?;
        old.sort();
        old.reverse();
        let too_many = if self.options.max_backups == 0 { old.len() } else { self.options.max_backups };
        let age = Duration::from_secs(self.options.max_age * 24 * 60 * 60);
        for (index, file) in old.iter().enumerate() {
            let modified = fs::metadata(file).and_then(|found| found.modified());
            let is_old =
                modified.is_ok_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() > age);
            if index >= too_many || (self.options.max_age > 0 && is_old) {
                fs::remove_file(file)?;
            }
        }
        open(path)
    }

    fn put_away(&self) -> io::Result<Vec<PathBuf>> {
        let (prefix, suffix) = parts(&self.options.path);
        let directory = self.options.path.parent().filter(|path| !path.as_os_str().is_empty());
        let mut found = Vec::new();
        for entry in fs::read_dir(directory.unwrap_or_else(|| Path::new(".")))? {
            let entry = entry?;
            let name = entry.file_name();
            let time = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(&suffix));
            if time.is_some_and(|time| time.starts_with(|c: char| c.is_ascii_digit())) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }
}

/// What stands before and after the time in the names of files that were put away.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned());
    let suffix = text(path.extension()).map_or_else(String::new, |extension| format!(".{extension}"));
    (format!("{}-", text(path.file_stem()).unwrap_or_default()), suffix)
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_put_away_and_only_so_many_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let options =
            Options { path: path.clone(), format: Format::Json, max_age: 0, max_backups: 1, max_size: 1 };
        let log = Log::open(options).unwrap();
        let line = format!("{}\n", "x".repeat(700_000));
        for expected in [0, 1, 1] {
            log.append(&line).unwrap();
            assert_eq!(log.put_away().unwrap().len(), expected);
        }
        assert_eq!(fs::metadata(path).unwrap().len(), line.len() as u64);
    }
}
