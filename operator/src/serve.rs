//! `/livez`, `/readyz` and `/metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::runtime::reflector::Store;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vkube_crds::Phase;

use crate::context::Cluster;
use crate::error::Error;
use crate::metrics::Metrics;

/// What the endpoints report.
#[derive(Clone)]
pub struct Report {
    /// Whether caches are filled, or the replica waits for the lease.
    pub ready: Arc<AtomicBool>,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether every cluster has series of its own.
    pub per_cluster: bool,
    /// All clusters, for their phases.
    pub clusters: Store<Cluster>,
}

impl Report {
    fn answer(&self, path: &str) -> (StatusCode, String) {
        match path {
            "/livez" => (StatusCode::OK, "ok".into()),
            "/readyz" if self.ready.load(Ordering::Relaxed) => (StatusCode::OK, "ok".into()),
            "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "caches are being filled".into()),
            "/metrics" => {
                let phases: Vec<_> = self.clusters.state().iter().map(|cluster| phase(cluster)).collect();
                self.metrics.phases(|phase| phases.iter().filter(|other| **other == phase).count());
                let all = self.clusters.state();
                let single = all.iter().filter_map(|cluster| cluster.0.as_ref().ok());
                let single = single.filter(|_| self.per_cluster);
                (StatusCode::OK, self.metrics.encode(single))
            }
            _ => (StatusCode::NOT_FOUND, "not found".into()),
        }
    }
}

fn phase(cluster: &Cluster) -> Phase {
    let status = cluster.0.as_ref().ok().and_then(|cluster| cluster.status.as_ref());
    status.and_then(|status| status.phase).unwrap_or(Phase::Pending)
}

/// Serves until `shutdown`. Returns once the address is bound; the future in the result is the server.
pub async fn serve(
    address: SocketAddr,
    report: Report,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = ()> + Send, Error> {
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    Ok(async move {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let report = report.clone();
            connections.spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (status, body) = report.answer(request.uri().path());
                    std::future::ready(Ok::<_, Infallible>(response(status, body)))
                });
                // A connection that breaks concerns only its client.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

fn response(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;

    use super::*;

    #[test]
    fn a_replica_lives_at_once_and_is_ready_once_it_knows_all_clusters() {
        let (clusters, _writer) = reflector::store::<Cluster>();
        let ready = Arc::new(AtomicBool::new(false));
        let report = Report { ready: ready.clone(), metrics: Metrics::new(), per_cluster: true, clusters };
        assert_eq!(report.answer("/livez").0, StatusCode::OK);
        assert_eq!(report.answer("/readyz").0, StatusCode::SERVICE_UNAVAILABLE);
        ready.store(true, Ordering::Relaxed);
        assert_eq!(report.answer("/readyz").0, StatusCode::OK);
        let (status, metrics) = report.answer("/metrics");
        assert_eq!(status, StatusCode::OK);
        assert!(metrics.contains("vkube_build_info"), "{metrics}");
        assert_eq!(report.answer("/else").0, StatusCode::NOT_FOUND);
    }
}
