//! Leader election by a Lease.
//!
//! # Contract
//!
//! - At most one replica works at a time, as long as clocks advance at the same pace.
//! - A holder that cannot renew for [`RENEW_DEADLINE`] stops working before others may begin, at [`DURATION`].
//! - A holder that ends in order lets go at once.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::time::Instant;

use crate::error::has_code;

/// Others may take the lease when it was not renewed for so long.
const DURATION: Duration = Duration::from_secs(15);
/// The holder gives up when it could not renew for so long.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between attempts.
const PERIOD: Duration = Duration::from_secs(2);

/// The lease could not be held.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not renewed in time.
    #[error("the lease was not renewed for {}s", RENEW_DEADLINE.as_secs())]
    Expired(#[source] Option<kube::Error>),
    /// Another replica took it.
    #[error("{0} took the lease")]
    Taken(String),
}

/// A lease and who wants it.
#[derive(Clone)]
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
}

impl Election {
    /// The lease `name` in `namespace`, wanted by `identity`.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), identity: identity.to_owned() }
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&self) {
        // The holder's clock is not ours: its lease ends when we have seen it unchanged for its whole duration.
        let mut seen: Option<(String, Instant)> = None;
        loop {
            match self.attempt(&mut seen).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "failed to acquire the lease"),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Renews the lease until that fails for good.
    pub async fn hold(&self) -> Error {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(PERIOD).await;
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            let outcome = tokio::time::timeout(left, self.renew()).await;
            match outcome {
                Ok(Ok(None)) => renewed = Instant::now(),
                Ok(Ok(Some(holder))) => return Error::Taken(holder),
                Ok(Err(error)) if renewed.elapsed() >= RENEW_DEADLINE => return Error::Expired(Some(error)),
                Ok(Err(error)) => tracing::warn!(%error, "failed to renew the lease"),
                Err(_) => return Error::Expired(None),
            }
        }
    }

    /// Lets go of the lease, if it is ours.
    pub async fn release(&self) {
        let outcome = async {
            let mut lease = self.api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Err(error) = outcome.await {
            tracing::debug!(%error, "failed to release the lease");
        }
    }

    /// Takes the lease if it is free, ours or ended; `false` if another holds it.
    async fn attempt(&self, seen: &mut Option<(String, Instant)>) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            return won(self.api.create(&PostParams::default(), &self.lease(1)).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let version = lease.resource_version().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let since = match seen {
                Some((known, since)) if *known == version => *since,
                _ => {
                    *seen = Some((version, Instant::now()));
                    return Ok(false);
                }
            };
            let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
            if since.elapsed() < Duration::from_secs(duration) {
                return Ok(false);
            }
        }
        let transitions = spec.lease_transitions.unwrap_or_default() + i32::from(holder != self.identity);
        lease.spec = self.lease(transitions).spec;
        // The resource version in it makes this fail if another was faster.
        won(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// Renews; returns the holder if it is another.
    async fn renew(&self) -> Result<Option<String>, kube::Error> {
        let mut lease = self.api.get(&self.name).await?;
        let spec = lease.spec.get_or_insert_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder != self.identity {
            return Ok(Some(holder));
        }
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.api.replace(&self.name, &PostParams::default(), &lease).await.map(|_| None)
    }

    fn lease(&self, transitions: i32) -> Lease {
        let now = MicroTime(Timestamp::now());
        Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                lease_transitions: Some(transitions),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// A conflict means that another was faster, which is no error.
fn won(outcome: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match outcome {
        Ok(_) => Ok(true),
        Err(error) if has_code(&error, 409) => Ok(false),
        Err(error) => Err(error),
    }
}
