//! How many requests there were, how long they took, and how many are not over yet.
//!
//! Only requests that a handler of a known resource answers are counted, so clients cannot make up series. A
//! request of a known series takes two short locks and no memory.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Instant,
};

use http::{HeaderMap, Method, header};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::{
    body::Response, options::Query, request_info::RequestInfo, resource::Definition, status::ApiError,
};

/// The upper bounds of durations in seconds, as kube-apiserver has them.
const BOUNDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];

/// How many series there are at most: those of some hundred definitions of custom resources that came and
/// went.
const MAX_SERIES: usize = 16_384;

/// What was asked for, and how.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The resource that the path names.
    pub definition: &'a Definition,
    /// How HTTP says it.
    pub method: &'a Method,
    /// With these headers.
    pub headers: &'a HeaderMap,
    /// With these options.
    pub query: &'a Query,
    /// What the path means.
    pub info: &'a RequestInfo,
}

/// What requests of one series have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Labels<'a> {
    verb: &'static str,
    dry_run: &'static str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    scope: &'static str,
}

impl<'a> Labels<'a> {
    fn of(asked: Asked<'a>) -> Self {
        let (scope, info) = (scope(asked.info), asked.info);
        Self {
            verb: verb(asked, scope),
            dry_run: match asked.query.all("dryRun") {
                [] => "",
                all if all.iter().all(|value| value == "All") => "All",
                _ => "invalid",
            },
            group: &info.group,
            version: &info.version,
            resource: &info.resource,
            subresource: &info.subresource,
            scope,
        }
    }

    /// What all metrics of requests show; durations and counts also have `dry_run`.
    fn shown(&self) -> [(&'static str, &'a str); 8] {
        [
            ("component", "apiserver"),
            ("dry_run", self.dry_run),
            ("group", self.group),
            ("resource", self.resource),
            ("scope", self.scope),
            ("subresource", self.subresource),
            ("verb", self.verb),
            ("version", self.version),
        ]
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    if !info.name.is_empty() || info.verb == "create" {
        "resource"
    } else if info.namespace.is_empty() {
        "cluster"
    } else {
        "namespace"
    }
}

/// The verb in capital letters, which is that of HTTP but for some.
fn verb(asked: Asked<'_>, scope: &str) -> &'static str {
    let Asked { method, headers, query, info, .. } = asked;
    if matches!(info.subresource.as_str(), "log" | "exec" | "portforward" | "attach" | "proxy") {
        return "CONNECT";
    }
    let is_apply =
        || headers.get(header::CONTENT_TYPE).is_some_and(|ty| ty == "application/apply-patch+yaml");
    match *method {
        Method::GET | Method::HEAD if info.verb == "watch" || query.flag("watch") => "WATCH",
        Method::GET | Method::HEAD if scope == "resource" => "GET",
        Method::GET | Method::HEAD => "LIST",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH if is_apply() => "APPLY",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[derive(Debug, Default)]
struct Figures {
    /// By status code.
    codes: Vec<(u16, u64)>,
    /// By duration; the last is for those beyond the last bound.
    durations: [u64; BOUNDS.len() + 1],
    seconds: f64,
    /// Requests that last, and are not over.
    running: u64,
}

#[derive(Debug)]
struct Series {
    verb: &'static str,
    dry_run: &'static str,
    scope: &'static str,
    /// Group, version, resource and subresource.
    place: [Box<str>; 4],
    figures: Mutex<Figures>,
}

impl Series {
    fn new(labels: &Labels<'_>) -> Self {
        let place = [labels.group, labels.version, labels.resource, labels.subresource];
        Self {
            verb: labels.verb,
            dry_run: labels.dry_run,
            scope: labels.scope,
            place: place.map(Into::into),
            figures: Mutex::default(),
        }
    }

    fn labels(&self) -> Labels<'_> {
        let [group, version, resource, subresource] = &self.place;
        let Self { verb, dry_run, scope, .. } = *self;
        Labels { verb, dry_run, group, version, resource, subresource, scope }
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, code: u16) {
        let mut figures = self.lock();
        match figures.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => figures.codes.push((code, 1)),
        }
    }

    fn measure(&self, seconds: f64) {
        let mut figures = self.lock();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        figures.durations[place] += 1;
        figures.seconds += seconds;
    }
}

/// The requests of all series.
#[derive(Debug, Default)]
pub struct Requests {
    hasher: RandomState,
    /// By the hash of their labels, or the next free number.
    series: RwLock<HashMap<u64, Arc<Series>>>,
}

impl Requests {
    /// Begins to measure a request for a resource, if there may be a handler for it.
    pub fn begin(&self, asked: Asked<'_>) -> Option<Measured> {
        let series = self.of(asked)?;
        let lasts = asked.info.is_lasting();
        if lasts {
            series.lock().running += 1;
        }
        Some(Measured { series, began: Instant::now(), lasts })
    }

    /// Counts a request for a resource that was refused because there are too many.
    pub fn refused(&self, asked: Asked<'_>) {
        if let Some(series) = self.of(asked) {
            series.count(429);
        }
    }

    fn of(&self, asked: Asked<'_>) -> Option<Arc<Series>> {
        let part = &asked.info.subresource;
        let is_known = part.is_empty() || asked.definition.subresource(part).is_some();
        is_known.then(|| Labels::of(asked)).and_then(|labels| self.find(&labels))
    }

    fn find(&self, labels: &Labels<'_>) -> Option<Arc<Series>> {
        let hash = self.hasher.hash_one(labels);
        let known = |all: &HashMap<u64, Arc<Series>>| {
            let mut key = hash;
            while let Some(series) = all.get(&key) {
                if series.labels() == *labels {
                    return Ok(series.clone());
                }
                key = key.wrapping_add(1);
            }
            Err(key)
        };
        let found = known(&self.series.read().unwrap_or_else(PoisonError::into_inner));
        found.ok().or_else(|| {
            let mut all = self.series.write().unwrap_or_else(PoisonError::into_inner);
            match known(&all) {
                Ok(series) => Some(series),
                Err(_) if all.len() >= MAX_SERIES => None,
                Err(free) => Some(all.entry(free).or_insert_with(|| Arc::new(Series::new(labels))).clone()),
            }
        })
    }

    /// All series as they are now, in the order of their labels.
    pub fn collect(&self) -> Collected {
        let all = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let mut series: Vec<_> = all.values().cloned().collect();
        series.sort_by(|a, b| a.labels().shown().cmp(&b.labels().shown()));
        Collected(series)
    }
}

/// A request that is being measured until this is dropped.
#[derive(Debug)]
pub struct Measured {
    series: Arc<Series>,
    began: Instant,
    lasts: bool,
}

impl Measured {
    /// Counts the answer. One that lasts is measured until its body has ended.
    pub fn answered(self, answer: Result<Response, ApiError>) -> Result<Response, ApiError> {
        let code = answer.as_ref().map_or_else(|error| error.code, Response::status);
        self.series.count(code.as_u16());
        match answer {
            Ok(response) if self.lasts => Ok(response.map(|body| crate::body::with(body, self))),
            answer => answer,
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.series.measure(self.began.elapsed().as_secs_f64());
        if self.lasts {
            self.series.lock().running -= 1;
        }
    }
}

/// Series to be shown.
#[derive(Debug)]
pub struct Collected(Vec<Arc<Series>>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut counts = encoder.encode_descriptor(
            "apiserver_request",
            "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
            None,
            MetricType::Counter,
        )?;
        for series in &self.0 {
            for (code, count) in &series.lock().codes {
                let code = code.to_string();
                let labels = (series.labels().shown(), [("code", code.as_str())]);
                counts.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(count, None)?;
            }
        }
        let mut durations = encoder.encode_descriptor(
            "apiserver_request_duration_seconds",
            "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.",
            None,
            MetricType::Histogram,
        )?;
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        for series in &self.0 {
            let figures = series.lock();
            let total = figures.durations.iter().sum();
            let buckets: Vec<_> = bounds.clone().zip(figures.durations).collect();
            let labels = series.labels();
            durations.encode_family(&labels.shown())?.encode_histogram::<NoLabelSet>(
                figures.seconds,
                total,
                &buckets,
                None,
            )?;
        }
        let mut running = encoder.encode_descriptor(
            "apiserver_longrunning_requests",
            "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.",
            None,
            MetricType::Gauge,
        )?;
        let lasting = |series: &&Arc<Series>| matches!(series.verb, "WATCH" | "CONNECT");
        for series in self.0.iter().filter(lasting) {
            let labels = series.labels();
            let [component, _, group, resource, scope, subresource, verb, version] = labels.shown();
            let labels = [component, group, resource, scope, subresource, verb, version];
            running
                .encode_family(&labels)?
                .encode_gauge(&i64::try_from(series.lock().running).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}
