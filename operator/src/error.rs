//! What can go wrong while reconciling.

use crate::{pki, reason::Reason};

/// A failed attempt; all are retried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A read from the host failed.
    #[error("failed to read {what}")]
    Read {
        /// Kind and name.
        what: String,
        /// The host's answer.
        source: kube::Error,
    },
    /// A write to the host failed.
    #[error("failed to apply {what}")]
    Apply {
        /// Kind and name.
        what: String,
        /// The host's answer.
        source: kube::Error,
    },
    /// A deletion on the host failed.
    #[error("failed to delete {what}")]
    Delete {
        /// Kind and name.
        what: String,
        /// The host's answer.
        source: kube::Error,
    },
    /// Certificates could not be issued.
    #[error("failed to issue certificates")]
    Certificates(#[from] pki::Error),
    /// Others kept writing the object.
    #[error("others keep writing {what}")]
    Conflict {
        /// Kind and name.
        what: String,
    },
    /// Reconciling took too long.
    #[error("gave up after {0} s")]
    TimedOut(u64),
    /// The lease could not be held.
    #[error("failed to hold the lease")]
    Lease(#[from] vkube_lease::Error),
    /// The HTTP endpoint could not be served.
    #[error("failed to serve probes and metrics on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The operator could not listen for the clients of a sleeping cluster.
    #[error("failed to listen for clients of {name}")]
    Door {
        /// The cluster.
        name: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A task of the operator ended by itself.
    #[error("the {0} stopped unexpectedly")]
    Stopped(&'static str),
}

impl Error {
    /// The word for conditions, events and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Read { source, .. } | Self::Apply { source, .. } | Self::Delete { source, .. }
                if is_forbidden(source) =>
            {
                Reason::Forbidden
            }
            Self::Read { .. } => Reason::ReadFailed,
            Self::Apply { .. } | Self::Conflict { .. } => Reason::ApplyFailed,
            Self::Delete { .. } => Reason::DeleteFailed,
            Self::Certificates(_) => Reason::CertificateFailed,
            Self::TimedOut(_) => Reason::TimedOut,
            Self::Lease(_) | Self::Listen { .. } | Self::Door { .. } | Self::Stopped(_) => {
                Reason::ProgressingWithRetry
            }
        }
    }

    /// The error and its causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            // The client's own wrapper prints its cause twice; the status's message says it once.
            let cause_text = match cause.downcast_ref::<kube::Error>() {
                Some(kube::Error::Api(status)) => {
                    text.push_str(": ");
                    text.push_str(&status.message);
                    break;
                }
                _ => cause.to_string(),
            };
            text.push_str(": ");
            text.push_str(&cause_text);
            source = cause.source();
        }
        text
    }
}

/// Whether the host refused for lack of rights.
pub(crate) fn is_forbidden(error: &kube::Error) -> bool {
    has_code(error, 403)
}

/// Whether the host answered with this HTTP status.
pub(crate) fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Whether a write was refused because its namespace is going away.
pub(crate) fn is_terminating(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if (status.code == 403 || status.code == 409) && status.message.contains("being terminated"))
}
