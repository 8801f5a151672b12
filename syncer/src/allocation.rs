//! Addresses for Services at the moment of their creation.
//!
//! A real API server allocates a Service's cluster IP and node ports before it answers. In a virtual cluster the
//! host allocates them, so its API server asks here while it creates a Service: the host Service is made first,
//! and what the host chose goes into the virtual object. If the virtual create fails after all, the API server
//! calls [`ServiceAllocator::release`]; should it die in between, the leftover is found and removed like any
//! host object without a virtual one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::context::{Context, Kind, MANAGER};
use crate::error::Error;
use crate::labels::ObjectKey;
use crate::resources::{kubernetes_service, refuse_foreign, service, stamp, tuned};
use crate::sanitise::Sanitiser;
use crate::spaces;

/// How long a host Service may wait for its virtual one: longer than any create takes, webhooks included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives Services their addresses; the API server's hook into the host.
#[derive(Clone)]
pub struct ServiceAllocator {
    context: Arc<Context>,
}

/// What the host chose for a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// `spec.clusterIP`; `None` for Services that have none (ExternalName).
    pub cluster_ip: Option<String>,
    /// `spec.clusterIPs`.
    pub cluster_ips: Vec<String>,
    /// `spec.ipFamilies`.
    pub ip_families: Vec<String>,
    /// `spec.ipFamilyPolicy`.
    pub ip_family_policy: Option<String>,
    /// The node port of each of `spec.ports`, in their order.
    pub node_ports: Vec<Option<i32>>,
    /// `spec.healthCheckNodePort`.
    pub health_check_node_port: Option<i32>,
}

/// Why a Service got no addresses, as the tenant may read it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct AllocationError(
    /// The answer to give to the client; free of host names.
    pub Box<Status>,
);

impl Allocation {
    fn of(spec: &ServiceSpec, given: &ServiceSpec) -> Self {
        let adopted = service::adopt(spec, given);
        Self {
            node_ports: adopted.ports.iter().flatten().map(|port| port.node_port).collect(),
            cluster_ip: adopted.cluster_ip,
            cluster_ips: adopted.cluster_ips.unwrap_or_default(),
            ip_families: adopted.ip_families.or_else(|| given.ip_families.clone()).unwrap_or_default(),
            ip_family_policy: adopted.ip_family_policy.or_else(|| given.ip_family_policy.clone()),
            health_check_node_port: adopted.health_check_node_port,
        }
    }

    /// Writes the allocation into a Service document.
    pub fn write_to(&self, service: &mut Value) {
        let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
        if let Some(ip) = &self.cluster_ip {
            spec.insert("clusterIP".into(), json!(ip));
            spec.insert("clusterIPs".into(), json!(self.cluster_ips));
        }
        if !self.ip_families.is_empty() {
            spec.insert("ipFamilies".into(), json!(self.ip_families));
        }
        if let Some(policy) = &self.ip_family_policy {
            spec.insert("ipFamilyPolicy".into(), json!(policy));
        }
        if let Some(port) = self.health_check_node_port {
            spec.insert("healthCheckNodePort".into(), json!(port));
        }
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        for (port, node_port) in ports.into_iter().flatten().zip(&self.node_ports) {
            if let (Some(port), Some(node_port)) = (port.as_object_mut(), node_port) {
                port.insert("nodePort".into(), json!(node_port));
            }
        }
    }
}

impl ServiceAllocator {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Reserves on the host what a Service about to be created (or changed) needs.
    ///
    /// `document` is complete: named, in its namespace, defaulted and validated. Idempotent. With `dry_run`
    /// nothing is kept.
    pub async fn allocate(&self, document: &Value, dry_run: bool) -> Result<Allocation, AllocationError> {
        let cx = &*self.context;
        let service: Service = serde_json::from_value(document.clone())
            .map_err(|error| refuse(400, "BadRequest", &format!("the Service cannot be read: {error}")))?;
        let key = ObjectKey::of(&service.metadata);
        let spec = service.spec.clone().unwrap_or_default();
        if service::is_hosts(&key) {
            let addresses = kubernetes_service::addresses(cx, &key);
            let addresses =
                addresses.map_err(|error| refuse(503, "ServiceUnavailable", &error.to_string()))?;
            return Ok(Allocation {
                cluster_ip: addresses.first().cloned(),
                cluster_ips: addresses,
                node_ports: vec![None; spec.ports.iter().flatten().count()],
                ..Allocation::default()
            });
        }
        if service::is_external_name(&service) {
            return Ok(Allocation {
                node_ports: vec![None; spec.ports.iter().flatten().count()],
                ..Allocation::default()
            });
        }

        spaces::opened(cx, &key.namespace).await.map_err(|error| self.refused(&key, error))?;
        // A create of a name that is taken is about to fail; it must not touch the other Service's host object.
        let holder = cx.virtual_side.services.get(&key);
        if let Some(holder) = holder.filter(|holder| holder.metadata.uid != service.metadata.uid) {
            return Ok(Allocation::of(&spec, &holder.spec.clone().unwrap_or_default()));
        }

        let guard = (!dry_run).then(|| cx.pending.hold(&key));
        if cx.host_side.services.get(&cx.host_key(&key)).is_none() {
            let free = refuse_foreign::<Service>(cx, Kind::Service, &key).await;
            free.map_err(|error| self.refused(&key, error))?;
        }
        let host = service::to_host(&cx.translator, &service);
        let host = tuned(cx, Kind::Service, &service, host);
        let mut host = host.map_err(|error| self.refused(&key, error))?;
        stamp(&mut host);
        let name = host.metadata.name.clone().unwrap_or_default();
        let params = PatchParams { dry_run, ..PatchParams::apply(MANAGER).force() };
        let written = cx
            .host_api::<Service>(&key.namespace)
            .patch(&name, &params, &Patch::Apply(&host))
            .await
            .map_err(|error| self.explain(&key, error))?;
        if let Some(guard) = guard {
            guard.keep();
        }
        Ok(Allocation::of(&spec, &written.spec.unwrap_or_default()))
    }

    /// Gives back what [`ServiceAllocator::allocate`] reserved for a Service whose creation failed.
    pub fn release(&self, namespace: &str, name: &str) {
        let cx = &*self.context;
        let key = ObjectKey::new(namespace, name);
        cx.pending.forget(&key);
        // The reconciler decides: it looks for the virtual Service and removes the host's only without one.
        cx.enqueue(Kind::Service, key);
    }

    /// Why the syncer did not ask the host, in the tenant's terms.
    fn refused(&self, key: &ObjectKey, error: Error) -> AllocationError {
        match error {
            Error::Host(error) => self.explain(key, error),
            Error::Waiting(_) => refuse(503, "ServiceUnavailable", &error.to_string()),
            error => {
                let sanitiser = Sanitiser::new(&self.context.translator, &key.namespace).knows(&key.name);
                refuse(409, "Conflict", &sanitiser.clean(&error.to_string()))
            }
        }
    }

    /// The host's refusal in the tenant's terms.
    fn explain(&self, key: &ObjectKey, error: kube::Error) -> AllocationError {
        let kube::Error::Api(mut status) = error else {
            tracing::warn!(service = %key, %error, "cannot reach the host for a service's addresses");
            return refuse(503, "ServiceUnavailable", "the host cluster cannot be reached");
        };
        let sanitiser = Sanitiser::new(&self.context.translator, &key.namespace).knows(&key.name);
        status.message = sanitiser.clean(&status.message);
        if let Some(details) = &mut status.details {
            details.name.clone_from(&key.name);
            for cause in &mut details.causes {
                cause.message = sanitiser.clean(&cause.message);
            }
        }
        AllocationError(status)
    }
}

fn refuse(code: u16, reason: &str, message: &str) -> AllocationError {
    AllocationError(Box::new(Status::failure(message, reason).with_code(code)))
}

/// Services whose host object is ahead of the virtual one.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    since: Mutex<HashMap<ObjectKey, Instant>>,
}

impl Pending {
    /// Protects the host Service of `key` until the guard goes, or longer if it is kept.
    pub fn hold(&self, key: &ObjectKey) -> Hold<'_> {
        let mut since = self.lock();
        since.retain(|_, started| started.elapsed() < PATIENCE);
        since.insert(key.clone(), Instant::now());
        Hold { pending: self, key: Some(key.clone()) }
    }

    /// How much longer the host Service of `key` is protected.
    pub fn remaining(&self, key: &ObjectKey) -> Option<Duration> {
        let started = *self.lock().get(key)?;
        PATIENCE.checked_sub(started.elapsed())
    }

    /// Ends the protection.
    pub fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a protection when dropped, so that a cancelled request leaves none behind.
pub(crate) struct Hold<'a> {
    pending: &'a Pending,
    key: Option<ObjectKey>,
}

impl Hold<'_> {
    /// Leaves the protection in place until the virtual Service shows up or time is over.
    pub fn keep(mut self) {
        self.key = None;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.pending.forget(key);
        }
    }
}
