//! What the virtual API server asks of its host: addresses for Services, and streams to pods.
//!
//! The syncer answers both, but it needs the server to start; so the link is made first and tied later.

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use http::StatusCode;
use serde_json::Value;
use vkube_apiserver::{
    body::{Request, Response},
    connect::{Connector, MetricsOf, Target},
    metadata,
    service_allocation::Allocator,
    status::{ApiError, Cause, Details},
};
use vkube_syncer::{Hypervisor, MetricsError, ServiceAllocator, StreamTarget, Syncer};

/// The link to the host.
#[derive(Default)]
pub struct HostLink {
    allocator: OnceLock<ServiceAllocator>,
    hypervisor: OnceLock<Arc<Hypervisor>>,
}

impl HostLink {
    /// Ties the link to the syncer that answers it.
    pub fn tie(&self, syncer: &Syncer) {
        let _ = self.allocator.set(syncer.allocator());
        let _ = self.hypervisor.set(Arc::new(syncer.hypervisor()));
    }
}

fn not_yet() -> ApiError {
    ApiError::unavailable("the virtual cluster is still starting")
}

impl Connector for HostLink {
    fn connect(&self, target: Target, request: Request) -> BoxFuture<'static, Result<Response, ApiError>> {
        let hypervisor = self.hypervisor.get().cloned();
        Box::pin(async move {
            let hypervisor = hypervisor.ok_or_else(not_yet)?;
            let target = StreamTarget {
                resource: target.resource,
                namespace: target.namespace,
                name: target.name,
                subresource: target.subresource,
                rest: target.rest,
            };
            Ok(hypervisor.connect(&target, request).await)
        })
    }

    fn metrics(&self, of: MetricsOf) -> BoxFuture<'static, Result<Vec<Value>, ApiError>> {
        let hypervisor = self.hypervisor.get().cloned();
        Box::pin(async move {
            let hypervisor = hypervisor.ok_or_else(not_yet)?;
            let measured = match of {
                MetricsOf::Pods { namespace } => hypervisor.pod_metrics(&namespace).await,
                MetricsOf::Nodes => hypervisor.node_metrics().await,
            };
            measured.map_err(|error| {
                if let MetricsError::Host(why) = &error {
                    tracing::warn!(error = %why, "the host gives no metrics");
                }
                ApiError::unavailable(error.to_string())
            })
        })
    }
}

/// What of a Service the host allocates by. Other changes reach the host by the syncer.
fn allocated(service: &Value) -> [Option<&Value>; 6] {
    ["type", "ports", "clusterIP", "externalTrafficPolicy", "allocateLoadBalancerNodePorts", "ipFamilyPolicy"]
        .map(|field| service.get("spec").and_then(|spec| spec.get(field)))
}

impl Allocator for HostLink {
    fn allocate<'a>(
        &'a self,
        service: &'a mut Value,
        old: Option<&'a Value>,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if old.is_some_and(|old| allocated(old) == allocated(service)) {
                return Ok(());
            }
            let allocator = self.allocator.get().ok_or_else(not_yet)?;
            let allocation = allocator.allocate(service, dry_run).await.map_err(|e| refusal(&e.0))?;
            allocation.write_to(service);
            Ok(())
        })
    }

    fn release<'a>(&'a self, service: &'a Value, kept: Option<&'a Value>) -> BoxFuture<'a, ()> {
        // A Service that stays keeps its host object, which the syncer brings in line.
        if let (Some(allocator), None) = (self.allocator.get(), kept) {
            allocator.release(metadata::namespace(service), metadata::name(service));
        }
        Box::pin(std::future::ready(()))
    }
}

/// The host's refusal, as the answer to the tenant.
fn refusal(status: &kube::core::Status) -> ApiError {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut error = ApiError::new(code, "", status.message.clone());
    error.reason = status.reason.clone().into();
    error.details = status.details.as_ref().map(|details| {
        let causes = details.causes.iter().map(|cause| Cause {
            reason: cause.reason.clone().into(),
            message: cause.message.clone(),
            field: cause.field.clone(),
        });
        Box::new(Details {
            name: details.name.clone(),
            group: details.group.clone(),
            kind: details.kind.clone(),
            causes: causes.collect(),
            ..Details::default()
        })
    });
    error
}
