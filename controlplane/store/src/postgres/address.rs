//! Where the database is, and how to get into it.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::tls::Tls;

/// How long an attempt to connect to one host may take.
const CONNECT: Duration = Duration::from_secs(5);
/// After how long a connection that does not answer is taken for dead.
const DEAD: Duration = Duration::from_secs(15);
/// PostgreSQL cuts longer names off, and two of them could then be the same.
const LONGEST_SCHEMA: usize = 63;

/// Certificates for TLS, as PEM.
#[derive(Clone, Debug, Default)]
pub struct Pem {
    /// The authorities that vouch for the server; by default those of the system.
    pub authorities: Option<Vec<u8>>,
    /// The certificate and its key that show who we are, if the server asks for them.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not the address of a PostgreSQL database. What it is stays unsaid, for the password in it.
    #[error("the address of the database is not one: expected postgres://USER@HOST/DATABASE")]
    Url(#[source] tokio_postgres::Error),
    /// The schema's name cannot be one.
    #[error(
        "{0:?} cannot be the name of a schema: lower-case letters, digits and _, at most 63, no digit first"
    )]
    Schema(String),
    /// The certificates cannot be used.
    #[error("the certificates for the database cannot be used")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// TLS cannot be set up with them.
    #[error("the certificates for the database cannot be used")]
    Tls(#[from] rustls::Error),
}

/// A schema of a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct Address {
    pub(super) config: Config,
    pub(super) tls: Tls,
    pub(super) schema: String,
    pub(super) owner: Option<String>,
}

impl Address {
    /// Reads `postgres://USER@HOST:PORT/DATABASE`, or the form `host=… user=…`, as libpq has it; with several hosts, the
    /// first that can be written to is taken. A password given apart goes before one in the address.
    ///
    /// Unless `sslmode` says otherwise, a connection that leaves the machine has to use TLS. All modes that do, check the
    /// server's certificate and its name, as `verify-full` does.
    pub fn parse(text: &str, password: Option<&str>, pem: &Pem, schema: &str) -> Result<Self, AddressError> {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if schema.is_empty()
            || schema.len() > LONGEST_SCHEMA
            || schema.starts_with(|c: char| c.is_ascii_digit())
            || schema.starts_with("pg_")
            || !schema.chars().all(is_name)
        {
            return Err(AddressError::Schema(schema.to_owned()));
        }
        let known = text
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let mut config: Config = known.parse().map_err(AddressError::Url)?;
        if let Some(password) = password {
            config.password(password);
        }
        let leaves = |host: &Host| match host {
            Host::Tcp(name) => {
                name != "localhost" && !name.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback())
            }
            Host::Unix(_) => false,
        };
        if !text.contains("sslmode") && config.get_hosts().iter().any(leaves) {
            config.ssl_mode(SslMode::Require);
        }
        if config.get_application_name().is_none() {
            config.application_name("vkube");
        }
        config.connect_timeout(CONNECT).tcp_user_timeout(DEAD).keepalives_idle(DEAD);
        config.keepalives_interval(DEAD / 3).keepalives_retries(3);
        config.target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite);
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => Tls::none(),
            _ => Tls::with(client(pem)?),
        };
        Ok(Self { config, tls, schema: schema.to_owned(), owner: None })
    }

    /// The same for an owner whom the schema has to belong to, or will if it is nobody's.
    #[must_use]
    pub fn of(self, owner: Option<String>) -> Self {
        Self { owner, ..self }
    }

    /// What is written before the name of a table.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.schema)
    }

    /// On which channel of `NOTIFY` the schema's replicas tell each other of writes.
    pub(super) fn channel(&self) -> String {
        let whole = format!("vkube_{}", self.schema);
        whole.chars().take(LONGEST_SCHEMA).collect()
    }
}

fn client(pem: &Pem) -> Result<ClientConfig, AddressError> {
    let mut roots = RootCertStore::empty();
    match &pem.authorities {
        Some(authorities) => {
            for certificate in CertificateDer::pem_slice_iter(authorities) {
                roots.add(certificate?)?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match &pem.identity {
        None => builder.with_no_client_auth(),
        Some((certificates, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?
        }
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, AddressError> {
        Address::parse(text, Some("secret"), &Pem::default(), "tenant_1")
    }

    #[test]
    fn a_connection_that_leaves_the_machine_uses_tls_unless_told_otherwise() {
        for (text, mode) in [
            ("postgres://u@db.example/d", SslMode::Require),
            ("postgres://u@db.example/d?sslmode=verify-full", SslMode::Require),
            ("postgres://u@db.example/d?sslmode=disable", SslMode::Disable),
            ("postgres://u@127.0.0.1/d", SslMode::Prefer),
            ("host=/run/postgresql user=u", SslMode::Prefer),
        ] {
            assert_eq!(parse(text).unwrap().config.get_ssl_mode(), mode, "{text}");
        }
    }

    #[test]
    fn no_error_and_no_debug_output_tells_the_password() {
        let address = parse("postgres://u:hunter2@db.example/d").unwrap();
        assert_eq!(address.config.get_password(), Some(&b"secret"[..]));
        assert!(!format!("{address:?}").contains("secret"));
        let error = parse("postgres://u:hunter2@db.example:port/d").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }

    #[test]
    fn a_schema_has_a_name_that_needs_no_care() {
        for name in ["", "Upper", "1st", "a-b", "a\"b", "pg_catalog", &"x".repeat(64)] {
            let refused = Address::parse("postgres://u@localhost/d", None, &Pem::default(), name);
            assert!(matches!(refused, Err(AddressError::Schema(_))), "{name}");
        }
    }
}
