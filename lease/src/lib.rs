//! Leader election by a Lease, with the rules and defaults of client-go's `leaderelection`.
//!
//! # Contract
//!
//! - At most one replica works at a time, as long as clocks advance at the same pace.
//! - A holder that cannot renew for the renew deadline stops working before others may begin, at the lease's duration.
//! - A holder that ends in order lets go at once.
//! - `leaseTransitions` counts how often the lease went from one holder to another, `acquireTime` is when the holder
//!   got it.

mod timing;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Resource};
use tokio::time::Instant;

pub use timing::{Timing, Unusable};

/// The lease could not be held.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not renewed in time.
    #[error("the lease was not renewed for {}s", .after.as_secs())]
    Expired {
        /// The renew deadline.
        after: Duration,
        /// What the last attempt failed with; nothing if it got no answer.
        source: Option<kube::Error>,
    },
    /// Another replica took it.
    #[error("{0} took the lease")]
    Taken(String),
}

/// A lease and who wants it.
pub struct Election {
    api: Api<Lease>,
    events: Option<(Api<Event>, String)>,
    name: String,
    identity: String,
    timing: Timing,
    observed: Mutex<Option<Observed>>,
}

/// The lease as last read or written.
#[derive(Clone)]
struct Observed {
    lease: Lease,
    /// When it was first seen like this. The holder's clock is not ours: its lease ends when it has been unchanged
    /// for its whole duration.
    since: Instant,
}

impl Observed {
    fn holder(&self) -> &str {
        self.lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
    }

    fn has_ended(&self) -> bool {
        let seconds =
            self.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        self.since.elapsed() >= Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }
}

impl Election {
    /// The lease `name` in `namespace`, wanted by `identity`.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            events: None,
            name: name.to_owned(),
            identity: identity.to_owned(),
            timing: Timing::default(),
            observed: Mutex::new(None),
        }
    }

    /// The same with these times.
    #[must_use]
    pub fn timed(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// The same, telling in the name of `component` who began and who stopped to lead, as events about the lease.
    #[must_use]
    pub fn announced(self, component: &str) -> Self {
        let events =
            Api::namespaced(self.api.clone().into_client(), self.api.namespace().unwrap_or("default"));
        Self { events: Some((events, component.to_owned())), ..self }
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&self) {
        loop {
            match self.attempt().await {
                Ok(true) => {
                    self.announce("became leader").await;
                    return;
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "failed to acquire the lease"),
            }
            // Replicas that started together should not go on asking together.
            tokio::time::sleep(self.timing.retry_period().mul_f64(rand::random_range(1.0..timing::JITTER)))
                .await;
        }
    }

    /// Renews the lease until that fails for good.
    pub async fn hold(&self) -> Error {
        let mut renewed = Instant::now();
        let after = self.timing.renew_deadline();
        loop {
            tokio::time::sleep(self.timing.retry_period()).await;
            let left = after.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return Error::Taken(self.holder()),
                Ok(Err(error)) if renewed.elapsed() >= after => {
                    return Error::Expired { after, source: Some(error) };
                }
                Ok(Err(error)) => tracing::warn!(%error, "failed to renew the lease"),
                Err(_) => return Error::Expired { after, source: None },
            }
        }
    }

    /// Lets go of the lease, if it is ours, so that another need not wait for its end.
    pub async fn release(&self) {
        let outcome = async {
            let mut lease = self.api.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            let now = MicroTime(Timestamp::now());
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(now.clone());
            spec.acquire_time = Some(now);
            self.observe(self.api.replace(&self.name, &PostParams::default(), &lease).await?);
            self.announce("stopped leading").await;
            Ok::<_, kube::Error>(())
        };
        if let Err(error) = outcome.await {
            tracing::debug!(%error, "failed to release the lease");
        }
    }

    /// Takes or renews the lease; `false` if another holds it.
    async fn attempt(&self) -> Result<bool, kube::Error> {
        // A holder needs to read only if somebody else wrote.
        let known =
            self.observed().clone().filter(|known| known.holder() == self.identity && !known.has_ended());
        if let Some(known) = known
            && self.write(known.lease).await?
        {
            return Ok(true);
        }
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.spec(None)) };
            return self.won(self.api.create(&PostParams::default(), &lease).await);
        };
        let known = self.observe(lease);
        if !known.holder().is_empty() && known.holder() != self.identity && !known.has_ended() {
            return Ok(false);
        }
        self.write(known.lease).await
    }

    /// Writes ourselves into the lease. The resource version in it makes this fail if another was faster.
    async fn write(&self, mut lease: Lease) -> Result<bool, kube::Error> {
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        self.won(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// A conflict means that another was faster, which is no error.
    fn won(&self, outcome: kube::Result<Lease>) -> Result<bool, kube::Error> {
        match outcome {
            Ok(lease) => {
                self.observe(lease);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The lease in our name after `old`.
    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = old.filter(|old| old.holder_identity.as_deref() == Some(&self.identity));
        let transitions = old.map_or(0, |old| old.lease_transitions.unwrap_or(0) + i32::from(ours.is_none()));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration().as_secs()).ok(),
            lease_transitions: Some(transitions),
            acquire_time: ours.and_then(|old| old.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            ..old.cloned().unwrap_or_default()
        }
    }

    fn observe(&self, lease: Lease) -> Observed {
        let mut known = self.observed();
        let since = match &*known {
            Some(known) if known.lease.spec == lease.spec => known.since,
            _ => Instant::now(),
        };
        known.insert(Observed { lease, since }).clone()
    }

    fn observed(&self) -> MutexGuard<'_, Option<Observed>> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holder(&self) -> String {
        self.observed().as_ref().map(|known| known.holder().to_owned()).unwrap_or_default()
    }

    /// Tells who does what; nobody depends on it.
    async fn announce(&self, what: &str) {
        let Some((events, component)) = &self.events else { return };
        let lease = self.observed().as_ref().map(|known| known.lease.clone()).unwrap_or_default();
        let now = Timestamp::now();
        let at = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", self.name, now.as_nanosecond())),
                namespace: lease.metadata.namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                resource_version: lease.metadata.resource_version.clone(),
                ..lease.object_ref(&())
            },
            reason: Some("LeaderElection".to_owned()),
            message: Some(format!("{} {what}", self.identity)),
            type_: Some("Normal".to_owned()),
            source: Some(EventSource { component: Some(component.clone()), host: None }),
            reporting_component: Some(component.clone()),
            reporting_instance: Some(String::new()),
            count: Some(1),
            first_timestamp: Some(at.clone()),
            last_timestamp: Some(at),
            ..Event::default()
        };
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, "an event was lost");
        }
    }
}

#[cfg(test)]
mod tests;
