//! What can go wrong between the two sides.

use kube::core::Status;

use crate::rules::patch::PatchError;

/// A failed piece of synchronisation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The virtual API server refused or could not be reached.
    #[error("virtual cluster: {0}")]
    Virtual(#[source] kube::Error),

    /// The host API server refused or could not be reached.
    #[error("host cluster: {0}")]
    Host(#[source] kube::Error),

    /// Something this work needs is not there yet; the watch that brings it tries again.
    #[error("waiting for {0}")]
    Waiting(&'static str),

    /// An object of the name is there that is somebody else's.
    #[error("{0:?} exists already and belongs to somebody else")]
    Foreign(String),

    /// The object cannot be represented on the host.
    #[error("{0}")]
    Unsupported(String),
}

impl From<PatchError> for Error {
    fn from(error: PatchError) -> Self {
        Self::Unsupported(error.to_string())
    }
}

impl Error {
    /// The API status behind the error, if a server answered.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Virtual(kube::Error::Api(status)) | Self::Host(kube::Error::Api(status)) => Some(status),
            _ => None,
        }
    }

    /// Whether it is part of normal life: a race that the next attempt wins.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Waiting(_) => true,
            Self::Virtual(_) | Self::Host(_) => match self.status() {
                Some(status) => matches!(status.code, 409 | 429 | 500..),
                None => true,
            },
            Self::Unsupported(_) | Self::Foreign(_) => false,
        }
    }
}

/// Whether a server answered "not found".
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether a server answered "conflict" or "already exists".
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Whether a server answered "invalid".
pub(crate) fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

/// Result of this crate's I/O.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
