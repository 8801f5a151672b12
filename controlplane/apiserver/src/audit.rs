//! Audit: what was done, by whom, and what came of it
//! (<https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/>).
//!
//! A server without a policy has no [`Audit`], and its requests pass none of this. With one, the trail of a
//! request goes with the task that answers it, so that whoever deals with the request can [`annotate`] it.

pub mod event;
mod head;
pub mod log;
pub mod policy;
#[cfg(test)]
mod tests;
mod trail;
pub mod webhook;

use std::{path::PathBuf, sync::Arc};

pub use self::head::{AUDIT_ID, id};
pub use self::trail::{
    acts_as, annotate, annotate_from, authenticated, is_on, passed_on, refused, request_object,
    request_options, request_patch, response_object, settled,
};
use self::{
    event::Event,
    log::Log,
    policy::Policy,
    webhook::{Batches, Kept, Webhook},
};
use crate::{
    body::{Request, Response},
    outbound::kubeconfig,
};

/// What the flags `--audit-*` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--audit-policy-file`
    pub policy: PathBuf,
    /// `--audit-log-*`, if there is a path.
    pub log: Option<log::Options>,
    /// `--audit-webhook-*`, if there is a file.
    pub webhook: Option<webhook::Options>,
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy is refused.
    #[error(transparent)]
    Policy(#[from] policy::Error),
    /// The log cannot be opened.
    #[error("failed to open the audit log {path}")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The webhook cannot be called.
    #[error("failed to set up the audit webhook")]
    Webhook(#[source] kubeconfig::Error),
}

/// What is told of requests, and to whom.
#[derive(Debug)]
pub struct Audit {
    policy: Policy,
    log: Option<Log>,
    webhook: Option<Webhook>,
}

impl Audit {
    /// Reads the policy and opens the log. Batches of a webhook are to be sent by a task.
    pub fn new(options: Options) -> Result<(Arc<Self>, Option<Batches>), Error> {
        let policy = Policy::load(&options.policy)?;
        let open = |log: log::Options| {
            let path = log.path.clone();
            Log::open(log).map_err(|source| Error::Log { path, source })
        };
        let log = options.log.map(open).transpose()?;
        let webhook = options.webhook.map(|webhook| Webhook::new(&webhook).map_err(Error::Webhook));
        let (webhook, batches) = webhook.transpose()?.unzip();
        Ok((Arc::new(Self { policy, log, webhook }), batches.flatten()))
    }

    /// Tells an event everybody who wants to know it; one of them may have to be waited for.
    fn tell(&self, event: &Event) -> Option<Kept> {
        if let Some(log) = &self.log {
            log.write(event);
        }
        self.webhook.as_ref()?.tell(event)
    }

    /// Follows a request until it is answered by `answer`.
    pub async fn follow<F>(self: &Arc<Self>, request: Request, answer: impl FnOnce(Request) -> F) -> Response
    where
        F: Future<Output = Response>,
    {
        trail::follow(self.clone(), request, answer).await
    }
}
