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

use std::{path::PathBuf, sync::Arc};

pub use self::trail::{
    acts_as, annotate, annotate_from, authenticated, is_on, passed_on, refused, request_object,
    request_options, request_patch, response_object,
};
use self::{log::Log, policy::Policy};
use crate::body::{Request, Response};

/// What the flags `--audit-*` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--audit-policy-file`
    pub policy: PathBuf,
    /// `--audit-log-*`
    pub log: log::Options,
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
}

/// What is told of requests, and to whom.
#[derive(Debug)]
pub struct Audit {
    policy: Policy,
    log: Log,
}

impl Audit {
    /// Reads the policy and opens the log.
    pub fn new(options: Options) -> Result<Arc<Self>, Error> {
        let policy = Policy::load(&options.policy)?;
        let path = options.log.path.clone();
        let log = Log::open(options.log).map_err(|source| Error::Log { path, source })?;
        Ok(Arc::new(Self { policy, log }))
    }

    /// Follows a request until it is answered by `answer`.
    pub async fn follow<F>(self: &Arc<Self>, request: Request, answer: impl FnOnce(Request) -> F) -> Response
    where
        F: Future<Output = Response>,
    {
        trail::follow(self.clone(), request, answer).await
    }
}
