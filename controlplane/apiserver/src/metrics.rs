//! `/metrics`, under the names that kube-apiserver gives them
//! (<https://kubernetes.io/docs/reference/instrumentation/metrics/>).

mod inflight;
mod objects;
mod requests;
#[cfg(test)]
mod tests;
mod text;

use std::sync::{PoisonError, RwLock};

use http::{HeaderMap, StatusCode};
use prometheus_client::{
    collector::Collector,
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

pub use self::{
    inflight::Inflight,
    requests::{Asked, Requests},
};
use crate::{body::Response, respond, server::Server};

/// What others in this process count, made anew for each answer.
type Others = Box<dyn Fn() -> Box<dyn Collector> + Send + Sync>;

/// What the server counts about itself.
#[derive(Default)]
pub struct Counters {
    /// Requests that were answered, or are being answered for long.
    pub requests: Requests,
    /// Requests that are being answered.
    pub inflight: Inflight,
    others: RwLock<Vec<Others>>,
}

impl Counters {
    /// Shows what `collector` makes in `/metrics` too: the controllers have no port of their own.
    pub fn expose(&self, collector: impl Fn() -> Box<dyn Collector> + Send + Sync + 'static) {
        self.others.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(collector));
    }
}

/// Answers the metrics.
pub async fn serve(server: &Server, headers: &HeaderMap) -> Response {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(server.counters.requests.collect()));
    registry.register_collector(Box::new(server.counters.inflight.collect()));
    registry.register_collector(Box::new(objects::count(server).await));
    flow_control(server, &mut registry);
    for other in &*server.counters.others.read().unwrap_or_else(PoisonError::into_inner) {
        registry.register_collector(other());
    }
    let mut shown = String::new();
    if let Err(error) = encode(&mut shown, &registry) {
        return respond::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    }
    if text::is_open_metrics(headers) {
        respond::bytes(StatusCode::OK, text::OPEN_METRICS, shown)
    } else {
        respond::bytes(StatusCode::OK, text::PLAIN, text::plain(&shown))
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
