//! `/metrics` in the OpenMetrics text form.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{body::Response, respond, server::Server};

/// What the server counts about itself.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
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
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            respond::bytes(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
        }
        Err(error) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
