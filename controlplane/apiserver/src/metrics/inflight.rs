//! How many requests are being answered at once.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use crate::request_info::RequestInfo;

/// How many requests run now, and ran at most in the last second.
#[derive(Debug)]
pub struct Inflight {
    began: Instant,
    changing: Level,
    reading: Level,
}

impl Default for Inflight {
    fn default() -> Self {
        Self { began: Instant::now(), changing: Level::default(), reading: Level::default() }
    }
}

#[derive(Debug, Default)]
struct Level {
    now: AtomicU64,
    /// The second of the highest level in the upper half, and the level in the lower half.
    highest: AtomicU64,
}

/// A request that runs until this is dropped.
#[derive(Debug)]
pub struct Running<'i>(&'i AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inflight {
    /// Counts a request that runs; those that last are not meant.
    pub fn enter(&self, info: &RequestInfo) -> Option<Running<'_>> {
        if info.is_lasting() {
            return None;
        }
        let reads = matches!(info.verb.as_str(), "get" | "list");
        let level = if reads { &self.reading } else { &self.changing };
        level.rise(self.second());
        Some(Running(&level.now))
    }

    fn second(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// The highest levels of the last second.
    pub fn collect(&self) -> Highest {
        let second = self.second();
        Highest { changing: self.changing.highest(second), reading: self.reading.highest(second) }
    }
}

impl Level {
    fn rise(&self, second: u64) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        let higher = |highest: u64| {
            let mark = (second << 32) | now;
            (highest >> 32 != second || highest < mark).then_some(mark)
        };
        // Nothing is to be done where the mark is high enough.
        let _ = self.highest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, higher);
    }

    fn highest(&self, second: u64) -> u64 {
        let (highest, now) = (self.highest.load(Ordering::Relaxed), self.now.load(Ordering::Relaxed));
        let is_recent = highest >> 32 >= second.saturating_sub(1);
        if is_recent { now.max(highest & u64::from(u32::MAX)) } else { now }
    }
}

/// The highest levels of the last second.
#[derive(Debug)]
pub struct Highest {
    changing: u64,
    reading: u64,
}

impl Collector for Highest {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = encoder.encode_descriptor(
            "apiserver_current_inflight_requests",
            "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
            None,
            MetricType::Gauge,
        )?;
        for (kind, level) in [("mutating", self.changing), ("readOnly", self.reading)] {
            let level = i64::try_from(level).unwrap_or(i64::MAX);
            gauge.encode_family(&[("request_kind", kind)])?.encode_gauge(&level)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_level_is_remembered_for_a_second() {
        let level = Level::default();
        level.rise(7);
        level.rise(7);
        level.now.fetch_sub(2, Ordering::Relaxed);
        assert_eq!((level.highest(7), level.highest(8), level.highest(9)), (2, 2, 0));
        level.rise(9);
        assert_eq!(level.highest(9), 1);
    }
}
