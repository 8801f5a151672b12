//! The issuers of a configuration, which is read again when its file has changed.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::Authenticator;
use crate::{
    authentication::{configuration, configuration::Configuration, jwt},
    file,
    outbound::trust,
    user::User,
};

/// Why there are no issuers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] file::Error),
    /// It makes no sense.
    #[error("{path} is refused")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: configuration::Error,
    },
    /// An issuer cannot be reached over TLS.
    #[error(transparent)]
    Tls(#[from] trust::Error),
}

/// What Google may call itself (OpenID Connect Core 1.0, section 15.6.2).
const OLD_GOOGLE: &str = "accounts.google.com";

type Authenticators = Arc<[Authenticator]>;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    node: u64,
    length: u64,
}

#[derive(Debug)]
struct Current {
    stamp: Option<Stamp>,
    authenticators: Authenticators,
}

/// The issuers whose tokens are good.
#[derive(Debug)]
pub struct Issuers {
    /// Where they are configured, if in a file.
    file: Option<PathBuf>,
    /// The server's own issuer.
    own: String,
    current: Mutex<Current>,
}

impl Issuers {
    /// Those of a configuration without a file.
    pub fn fixed(configuration: Configuration, own: &str) -> Result<Self, Error> {
        let current = Mutex::new(Current { stamp: None, authenticators: build(configuration)? });
        Ok(Self { file: None, own: own.into(), current })
    }

    /// Those of a file, with what it says when it is first read.
    pub fn of_file(path: &Path, own: &str) -> Result<(Self, Configuration), Error> {
        let stamp = stamp(path);
        let configuration = read(path, own)?;
        let current = Mutex::new(Current { stamp, authenticators: build(configuration.clone())? });
        Ok((Self { file: Some(path.into()), own: own.into(), current }, configuration))
    }

    /// The user of a token, if it is from one of them; or why it is a bad one.
    pub async fn verify(&self, token: &str) -> Result<Option<User>, String> {
        let Some(mut issuer) = jwt::issuer(token) else { return Ok(None) };
        if issuer == OLD_GOOGLE {
            issuer = format!("https://{OLD_GOOGLE}");
        }
        let authenticators = self.current();
        match authenticators.iter().find(|authenticator| authenticator.issuer() == issuer) {
            Some(authenticator) => authenticator.verify(token).await.map(Some),
            None => Ok(None),
        }
    }

    /// The present issuers. A file that has become unreadable or wrong changes nothing.
    fn current(&self) -> Authenticators {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.file
            && let Some(now) = stamp(path)
            && current.stamp != Some(now)
        {
            current.stamp = Some(now);
            match read(path, &self.own).and_then(build) {
                Ok(authenticators) => current.authenticators = authenticators,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the configuration of authentication stays as it was");
                }
            }
        }
        current.authenticators.clone()
    }
}

fn build(configuration: Configuration) -> Result<Authenticators, Error> {
    configuration.jwt.into_iter().map(|jwt| Ok(Authenticator::new(jwt)?)).collect()
}

fn read(path: &Path, own: &str) -> Result<Configuration, Error> {
    let text = file::read(path)?;
    Configuration::read(&text, own).map_err(|source| Error::Configuration { path: path.into(), source })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    Some(Stamp { modified, node: metadata.ino(), length: metadata.len() })
}
