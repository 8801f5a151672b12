//! What the kernel says about a process (`proc(5)`).

use std::{fs, time::Duration};

/// A reading of a process.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Resident memory, in KiB, shared pages included.
    pub resident: u64,
    /// Resident memory that no other process shares, in KiB.
    pub private: u64,
    /// Resident memory that is no file's, in KiB: what the process wrote, whatever the size of the program.
    pub anonymous: u64,
    /// CPU time used since the start.
    pub cpu: Duration,
    /// Threads.
    pub threads: u64,
}

/// Reads a process; `None` if it is gone.
pub fn read(pid: u32) -> Option<Reading> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let number = |text: &str, field: &str| -> u64 {
        text.lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    Some(Reading {
        resident: number(&status, "VmRSS"),
        private: number(&rollup, "Private_Clean") + number(&rollup, "Private_Dirty"),
        anonymous: number(&status, "RssAnon"),
        cpu: cpu(pid)?,
        threads: number(&status, "Threads"),
    })
}

/// Nanoseconds on a CPU, of all threads.
fn cpu(pid: u32) -> Option<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanos += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Some(Duration::from_nanos(nanos))
}

/// The process whose arguments contain all of these words.
pub fn find(words: &[&str]) -> Option<u32> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let arguments: Vec<&[u8]> = line.split(|b| *b == 0).collect();
        if words.iter().all(|word| arguments.contains(&word.as_bytes())) {
            return Some(pid);
        }
    }
    None
}
