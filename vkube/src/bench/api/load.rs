//! Requests by many connections at once, and what they cost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{Failure, process};

/// A server under load.
pub struct Target {
    /// One connection each.
    pub clients: Vec<Client>,
    /// The server's process, if it runs on this machine.
    pub pid: Option<u32>,
}

/// What a sort of requests cost.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// What was asked.
    pub request: String,
    /// How often.
    pub count: usize,
    per_second: f64,
    median_milliseconds: f64,
    p99_milliseconds: f64,
    /// CPU of the server for one; absent if its process is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_milliseconds: Option<f64>,
    /// How many times better that is than what is known of the real server, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    times_better: Option<f64>,
}

/// What the real server with etcd takes on a quiet machine of two cores, asked by 16 connections.
#[derive(Clone, Copy)]
enum Real {
    /// CPU of both for one request, in milliseconds.
    Cpu(f64),
    /// How long one request takes, in milliseconds.
    Takes(f64),
    /// How many there are in a second, for which it has all CPU.
    PerSecond(f64),
}

const REAL: &[(&str, Real)] = &[
    ("create", Real::Cpu(0.81 + 0.32)),
    ("get", Real::PerSecond(2_300.0)),
    ("apply", Real::Cpu(1.5)),
    ("list", Real::Takes(60.0)),
    ("list as Table", Real::Takes(45.0)),
    ("list metadata", Real::Takes(26.0)),
    ("list in pages of 500", Real::Takes(120.0)),
    ("deliver to 100 watches", Real::PerSecond(22_000.0)),
];

/// The size at which that is known.
const REAL_OBJECTS: usize = 5_000;

impl Cost {
    /// Compares it with the real server, if so many objects are those that it had.
    pub fn compare(&mut self, objects: usize) {
        let known = REAL.iter().find(|(request, _)| *request == self.request && objects == REAL_OBJECTS);
        self.times_better = known.and_then(|(_, real)| match real {
            Real::Cpu(real) => self.cpu_milliseconds.map(|cpu| real / cpu),
            Real::Takes(real) => Some(real / self.median_milliseconds),
            Real::PerSecond(real) => Some(self.per_second / real),
        });
    }

    /// The row of a table.
    pub fn row(&self) -> [String; 7] {
        [
            self.request.clone(),
            self.count.to_string(),
            format!("{:.0}", self.per_second),
            format!("{:.2}", self.median_milliseconds),
            format!("{:.2}", self.p99_milliseconds),
            self.cpu_milliseconds.map_or_else(|| "-".into(), |cpu| format!("{cpu:.3}")),
            self.times_better.map_or_else(|| "-".into(), |times| format!("{times:.1}x")),
        ]
    }
}

/// Asks and drops the answer as it comes, so that what is measured is the server and not the client's memory.
async fn ask(client: &Client, request: Request<Vec<u8>>) -> Result<(), Failure> {
    let response = client.send(request.map(Body::from)).await?;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let answer = body.collect().await?.to_bytes();
        return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into());
    }
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

/// The header of such a table.
pub const HEADER: [&str; 7] =
    ["REQUEST", "COUNT", "PER SECOND", "MEDIAN MS", "P99 MS", "CPU MS EACH", "REAL SERVER"];

impl Target {
    /// The CPU time that the server has used.
    pub fn cpu(&self) -> Option<Duration> {
        Some(process::read(self.pid?)?.cpu)
    }

    /// Sends what `make` makes of the numbers below `count`, by all connections.
    pub async fn run<F>(&self, request: &str, count: usize, make: F) -> Result<Cost, Failure>
    where
        F: Fn(usize) -> http::Result<Request<Vec<u8>>> + Clone + Send + 'static,
    {
        let next = Arc::new(AtomicUsize::new(0));
        let (before, began) = (self.cpu(), Instant::now());
        let mut workers = JoinSet::new();
        for client in &self.clients {
            let (client, next, make) = (client.clone(), next.clone(), make.clone());
            workers.spawn(async move {
                let mut took = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return Ok::<_, Failure>(took);
                    }
                    let (request, began) = (make(index)?, Instant::now());
                    ask(&client, request).await?;
                    took.push(began.elapsed());
                }
            });
        }
        let mut took = Vec::with_capacity(count);
        while let Some(worker) = workers.join_next().await {
            took.append(&mut worker??);
        }
        Ok(self.cost(request, took, began.elapsed(), before))
    }

    /// What so many requests or deliveries cost since `before`.
    pub fn cost(
        &self,
        request: &str,
        mut took: Vec<Duration>,
        elapsed: Duration,
        before: Option<Duration>,
    ) -> Cost {
        took.sort_unstable();
        let milliseconds = |part: usize| {
            let place = (took.len() * part / 100).min(took.len().saturating_sub(1));
            took.get(place).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        let count = took.len();
        let used = before.zip(self.cpu()).map(|(before, after)| after.saturating_sub(before));
        Cost {
            request: request.to_owned(),
            count,
            per_second: count as f64 / elapsed.as_secs_f64(),
            median_milliseconds: milliseconds(50),
            p99_milliseconds: milliseconds(99),
            cpu_milliseconds: used.map(|used| used.as_secs_f64() * 1000.0 / count.max(1) as f64),
            times_better: None,
        }
    }
}
