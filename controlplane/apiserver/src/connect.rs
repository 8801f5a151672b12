//! Streams to pods, nodes and services, served by whoever runs them.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::{
    body::{Request, Response},
    status::ApiError,
    user::User,
};

/// To what a stream is opened.
#[derive(Clone, Debug)]
pub struct Target {
    /// `pods`, `nodes` or `services`.
    pub resource: String,
    /// The namespace; empty for nodes.
    pub namespace: String,
    /// The object's name; services may carry `scheme:name:port`.
    pub name: String,
    /// `log`, `exec`, `attach`, `portforward` or `proxy`.
    pub subresource: String,
    /// The path below `proxy`.
    pub rest: String,
    /// Who asks.
    pub user: Arc<User>,
    /// The object as stored, where it exists (services and nodes are looked up by their plain name).
    pub object: Value,
}

/// Whose resource usage is asked for (`metrics.k8s.io`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsOf {
    /// Pods of a namespace, or (empty) of all.
    Pods {
        /// The namespace.
        namespace: String,
    },
    /// Nodes.
    Nodes,
}

/// Answers requests for streams. The request is handed over whole, its upgrade included
/// (`hyper::upgrade::on` works on it).
pub trait Connector: Send + Sync + 'static {
    /// Opens the stream.
    fn connect(&self, target: Target, request: Request) -> BoxFuture<'static, Result<Response, ApiError>>;

    /// The `PodMetrics` or `NodeMetrics` of what runs, for those who measure it.
    fn metrics(&self, of: MetricsOf) -> BoxFuture<'static, Result<Vec<Value>, ApiError>> {
        let why = ApiError::unavailable(format!("nobody measures {of:?} of this cluster"));
        Box::pin(std::future::ready(Err(why)))
    }
}
