//! `/metrics` in the OpenMetrics text form.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use http::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::text::encode,
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{body::Response, respond, server::Server};

/// What others in this process count, made anew for each answer.
type Others = Box<dyn Fn() -> Box<dyn Collector> + Send + Sync>;

/// What the server counts about itself.
#[derive(Default)]
pub struct Counters {
    requests: AtomicU64,
    failures: AtomicU64,
    others: RwLock<Vec<Others>>,
}

impl Counters {
    /// Shows what `collector` makes in `/metrics` too: the controllers have no port of their own.
    pub fn expose(&self, collector: impl Fn() -> Box<dyn Collector> + Send + Sync + 'static) {
        self.others.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(collector));
    }

    /// Counts an answered request.
    pub fn answered(&self, code: StatusCode) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if code.is_server_error() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Answers the metrics.
pub fn serve(server: &Server) -> Response {
    let mut registry = Registry::default();
    let load = |counter: &AtomicU64| ConstCounter::new(counter.load(Ordering::Relaxed));
    registry.register("apiserver_request", "Requests answered", load(&server.counters.requests));
    registry.register(
        "apiserver_request_failures",
        "Requests answered with a server error",
        load(&server.counters.failures),
    );
    registry.register(
        "apiserver_store_revision",
        "The newest revision of the store",
        ConstGauge::new(server.store().revision() as i64),
    );
    for other in &*server.counters.others.read().unwrap_or_else(PoisonError::into_inner) {
        registry.register_collector(other());
    }
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            respond::bytes(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
        }
        Err(error) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
