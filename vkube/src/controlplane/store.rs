//! The flags of a store that several control planes serve: a schema of a PostgreSQL database.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use futures::future::{BoxFuture, FutureExt as _};
use vkube_operator::Login;
use vkube_store::{
    PostgresStore,
    postgres::{Address, AddressError, Pem},
};

/// Where the store is, if not in a file of the data directory.
#[derive(Clone, Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Store")]
pub struct Flags {
    /// A PostgreSQL database that keeps the store, so that several control planes can share it, with --leader-elect:
    /// `postgres://USER@HOST/DATABASE`. Without, the store is a file in --data-dir.
    #[arg(long, value_name = "ADDRESS", env = "VKUBE_STORE", hide_env_values = true)]
    store: Option<String>,
    /// What is secret of the database, each in a file of this directory if there is one: its address in `uri`, `password`,
    /// the authorities that vouch for it in `ca.crt`, and the certificate that it is shown in `tls.crt` and `tls.key`.
    #[arg(long, value_name = "DIR")]
    store_dir: Option<PathBuf>,
    /// The schema of the database; it is made if need be.
    #[arg(long, value_name = "NAME", default_value = "vkube")]
    store_schema: String,
    /// Whom the schema belongs to, such as the UID of a cluster: it is marked so unless it is marked otherwise, which is
    /// refused. Without, no mark is made or looked at.
    #[arg(long, value_name = "OWNER")]
    store_owner: Option<String>,
}

/// Why there is no address of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("failed to read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory does not say where the database is.
    #[error("there is no address of the database: neither --store nor {0}")]
    NoAddress(PathBuf),
    /// It cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl Flags {
    /// The database, if one is to be used.
    pub fn address(&self) -> Result<Option<Address>, Error> {
        let directory = self.store_dir.as_deref();
        let file = |name: &str| match directory {
            Some(directory) => read(&directory.join(name)),
            None => Ok(None),
        };
        let text = match (&self.store, directory) {
            (Some(text), _) => text.clone(),
            (None, None) => return Ok(None),
            (None, Some(directory)) => {
                line(file("uri")?).ok_or_else(|| Error::NoAddress(directory.join("uri")))?
            }
        };
        let password = line(file("password")?);
        let pem = Pem { authorities: file("ca.crt")?, identity: file("tls.crt")?.zip(file("tls.key")?) };
        Ok(Some(
            Address::parse(&text, password.as_deref(), &pem, &self.store_schema)?
                .of(self.store_owner.clone()),
        ))
    }
}

/// Removes the schema of a cluster that goes.
pub fn drop_schema(login: Login) -> BoxFuture<'static, Result<(), String>> {
    async move { PostgresStore::remove(&way(login)?).await.map_err(|error| told(&error)) }.boxed()
}

/// Marks the schema as the cluster's; says whose it is if it is another's.
pub fn claim_schema(login: Login) -> BoxFuture<'static, Result<Option<String>, String>> {
    async move {
        let owner = login.owner.clone();
        PostgresStore::claim(&way(login)?, &owner).await.map_err(|error| told(&error))
    }
    .boxed()
}

/// Takes the cluster's mark off the schema.
pub fn release_schema(login: Login) -> BoxFuture<'static, Result<(), String>> {
    async move {
        let owner = login.owner.clone();
        PostgresStore::release(&way(login)?, &owner).await.map_err(|error| told(&error))
    }
    .boxed()
}

fn way(mut login: Login) -> Result<Address, String> {
    let mut file = |name: &str| login.files.remove(name);
    let (uri, password) = (line(file("uri")).unwrap_or_default(), line(file("password")));
    let pem = Pem { authorities: file("ca.crt"), identity: file("tls.crt").zip(file("tls.key")) };
    Address::parse(&uri, password.as_deref(), &pem, &login.schema).map_err(|error| error.to_string())
}

/// An error and its causes in one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A file's content, if there is one.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path: path.to_owned(), source }),
    }
}

/// Text without the end of the line that editors add.
fn line(bytes: Option<Vec<u8>>) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes?).into_owned();
    Some(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }

    fn address(flags: &[&str]) -> Result<Option<Address>, Error> {
        Command::try_parse_from([&["test"], flags].concat()).unwrap().flags.address()
    }

    #[test]
    fn without_a_flag_there_is_no_database() {
        assert!(address(&[]).unwrap().is_none());
    }

    #[test]
    fn what_is_secret_comes_from_files() {
        let directory = std::env::temp_dir().join(format!("vkube-store-flags-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let dir = directory.display().to_string();
        assert!(matches!(address(&["--store-dir", &dir]), Err(Error::NoAddress(_))));
        fs::write(directory.join("uri"), "postgres://u@localhost/d\n").unwrap();
        fs::write(directory.join("password"), "hunter2\n").unwrap();
        let found = address(&["--store-dir", &dir, "--store-schema", "s1"]).unwrap().unwrap();
        assert!(!format!("{found:?}").contains("hunter2"));
        fs::write(directory.join("ca.crt"), "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----")
            .unwrap();
        assert!(matches!(address(&["--store-dir", &dir]), Err(Error::Address(_))));
        fs::remove_dir_all(&directory).unwrap();
        let wrong = address(&["--store", "postgres://u@localhost/d", "--store-schema", "A"]);
        assert!(matches!(wrong, Err(Error::Address(_))));
    }
}
