//! The certificates of a server that is started without any: a CA and what it signs.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::listener::TlsFiles;

/// Why certificates could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A file could not be read or written.
    #[error("failed to access {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A certificate authority.
pub struct Authority {
    /// Its certificate, as PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The CA in `directory` (`ca.crt`, `ca.key`), made if it is not there.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let (certificate_path, key_path) = (directory.join("ca.crt"), directory.join("ca.key"));
        if certificate_path.exists() && key_path.exists() {
            let certificate = read(&certificate_path)?;
            let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&read(&key_path)?)?)?;
            return Ok(Self { certificate, issuer });
        }
        let (authority, key) = Self::generate("kubernetes-ca")?;
        fs::create_dir_all(directory).map_err(|source| Error::File { path: directory.to_owned(), source })?;
        write(&certificate_path, &authority.certificate)?;
        write(&key_path, &key)?;
        Ok(authority)
    }

    /// A new authority of this name, with its certificate and key as one PEM text.
    pub fn make(name: &str) -> Result<(Self, String), Error> {
        let (authority, key) = Self::generate(name)?;
        let pem = format!("{}{key}", authority.certificate);
        Ok((authority, pem))
    }

    /// The authority of a text that [`Self::make`] has made.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE KEY").unwrap_or(pem.len()));
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Self { certificate: certificate.into(), issuer })
    }

    fn generate(name: &str) -> Result<(Self, String), Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let (certificate, pem) = (params.self_signed(&key)?.pem(), key.serialize_pem());
        Ok((Self { certificate, issuer: Issuer::new(params, key) }, pem))
    }

    /// A serving certificate for these names and addresses.
    pub fn serving(&self, names: &[String], addresses: &[IpAddr]) -> Result<TlsFiles, Error> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.subject_alt_names.extend(addresses.iter().map(|a| SanType::IpAddress(*a)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, key) = self.sign(&params)?;
        Ok(TlsFiles { certificate, key, client_ca: self.certificate.clone() })
    }

    /// A client certificate and its key, as PEM, for a user in these groups.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<(String, String), Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<(String, String), Error> {
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Writes a file that only its owner can read.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::File { path: path.to_owned(), source })
}
