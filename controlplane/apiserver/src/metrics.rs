//! `/metrics` in the OpenMetrics text form.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use http::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::text::encode,
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
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
    flow_control(server, &mut registry);
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

type Labels = Vec<(&'static str, String)>;

/// What priority levels do, under the names that Kubernetes gives it
/// (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#metrics>).
fn flow_control(server: &Server, registry: &mut Registry) {
    let registry = registry.sub_registry_with_prefix("apiserver_flowcontrol");
    let (executing, waiting, seats): (Family<Labels, Gauge>, Family<Labels, Gauge>, Family<Labels, Gauge>) =
        Default::default();
    server.parts.flow_control.each_level(|level, figures| {
        let labels = vec![("priority_level", level.to_owned())];
        executing.get_or_create(&labels).set(figures.executing as i64);
        waiting.get_or_create(&labels).set(figures.waiting as i64);
        seats.get_or_create(&labels).set(figures.seats as i64);
    });
    let refused = Family::<Labels, Counter>::default();
    server.parts.flow_control.each_refusal(|schema, level, reason, count| {
        let [schema, level, reason] = [schema, level, reason].map(str::to_owned);
        let labels = vec![("flow_schema", schema), ("priority_level", level), ("reason", reason)];
        refused.get_or_create(&labels).inc_by(count);
    });
    registry.register("current_executing_requests", "Requests that run", executing);
    registry.register("current_inqueue_requests", "Requests that wait", waiting);
    registry.register("nominal_limit_seats", "Seats that a level has of its own", seats);
    registry.register("rejected_requests", "Requests refused", refused);
}
