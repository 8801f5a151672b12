//! Gives Services of type LoadBalancer an address.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::node::address::{Lease, Pool};
use vkube_watch::feed::{self, Key};

/// The addresses given to Services.
pub(crate) struct Balancer {
    client: Client,
    pool: Pool,
    leases: BTreeMap<Key, Lease>,
    writes: JoinSet<()>,
}

impl Balancer {
    /// A balancer that gives out addresses of `pool`.
    pub fn new(client: Client, pool: Pool) -> Self {
        Self { client, pool, leases: BTreeMap::new(), writes: JoinSet::new() }
    }

    /// Gives the Service an address or takes it back, whatever its type demands. With `known_only` set it
    /// merely remembers the address that the Service has: until all Services are known, a new address
    /// could be another's.
    pub fn observe(&mut self, service: &Arc<Service>, known_only: bool) {
        let key = feed::key(&**service);
        let spec = service.spec.as_ref();
        let wants = spec.is_some_and(|spec| {
            spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none()
        });
        let current = current(service);
        if !wants {
            if self.leases.remove(&key).is_some() && current.is_some() && !known_only {
                self.write(service, None);
            }
            return;
        }
        if !self.leases.contains_key(&key) {
            let kept = current.and_then(|address| self.pool.lease_exactly(address));
            let lease = match kept {
                Some(lease) => lease,
                None if known_only => return,
                None => {
                    let Some(lease) = self.pool.lease() else {
                        tracing::error!(service = service.name_any(), "no load balancer address left");
                        return;
                    };
                    lease
                }
            };
            self.leases.insert(key.clone(), lease);
        }
        let address = self.leases.get(&key).map(Lease::address);
        if address != current && !known_only {
            self.write(service, address);
        }
    }

    /// Takes back the address of a deleted Service.
    pub fn forget(&mut self, key: &Key) {
        self.leases.remove(key);
    }

    /// Waits for a write to end; never returns while there is none.
    pub async fn written(&mut self) {
        if self.writes.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    fn write(&mut self, service: &Service, address: Option<IpAddr>) {
        let api: Api<Service> =
            Api::namespaced(self.client.clone(), &service.namespace().unwrap_or_default());
        let (name, uid) = (service.name_any(), service.uid());
        let ingress: Vec<_> =
            address.iter().map(|address| json!({"ip": address.to_string(), "ipMode": "VIP"})).collect();
        let patch = Patch::Merge(json!({
            "metadata": {"uid": uid},
            "status": {"loadBalancer": {"ingress": ingress}},
        }));
        self.writes.spawn(async move {
            if let Err(error) = api.patch_status(&name, &PatchParams::default(), &patch).await {
                tracing::debug!(%error, name, "load balancer status not written");
            }
        });
    }
}

fn current(service: &Service) -> Option<IpAddr> {
    let balancer = service.status.as_ref()?.load_balancer.as_ref()?;
    balancer.ingress.as_ref()?.first()?.ip.as_ref()?.parse().ok()
}
