//! The cluster's certificate authority, and what it signs.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use rand::RngCore;
use rcgen::{KeyPair, SigningKey};
use x509_parser::extensions::ParsedExtension;

use super::der;
use super::request::Asked;
use super::usages::Usages;

/// How long certificates are valid unless asked for less (`--cluster-signing-duration`).
const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);
/// The least that can be asked for.
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);
/// Certificates are valid from a little earlier, as clocks differ.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// Certificates for less than this lose nothing to the backdate.
const SHORT: SignedDuration = SignedDuration::from_hours(8);

/// Why an authority cannot be used, or could not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate cannot be read.
    #[error("failed to read the certificate of the authority")]
    Certificate,
    /// The key cannot be read or used.
    #[error("failed to use the key of the authority")]
    Key(#[from] rcgen::Error),
    /// The key is of a kind that this authority cannot sign with.
    #[error("the key of the authority is neither RSA, ECDSA P-256, ECDSA P-384 nor Ed25519")]
    Algorithm,
    /// The authority's own certificate ends before the new one would begin.
    #[error("the signer has expired: NotAfter={0}")]
    Expired(Timestamp),
}

/// A certificate authority that signs approved requests.
pub struct Authority {
    key: KeyPair,
    algorithm: Vec<u8>,
    subject: Vec<u8>,
    /// The key's identifier, if its certificate has one.
    identifier: Option<Vec<u8>>,
    not_after: Timestamp,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Authority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

fn algorithm(key: &KeyPair) -> Result<Vec<u8>, AuthorityError> {
    let algorithm = key.algorithm();
    let null: &[u8] = &[0x05, 0x00];
    let (arcs, parameters): (&[u32], &[u8]) = if algorithm == &rcgen::PKCS_ECDSA_P256_SHA256 {
        (&[1, 2, 840, 10_045, 4, 3, 2], &[])
    } else if algorithm == &rcgen::PKCS_ECDSA_P384_SHA384 {
        (&[1, 2, 840, 10_045, 4, 3, 3], &[])
    } else if algorithm == &rcgen::PKCS_ED25519 {
        (&[1, 3, 101, 112], &[])
    } else if algorithm == &rcgen::PKCS_RSA_SHA256 {
        (&[1, 2, 840, 113_549, 1, 1, 11], null)
    } else {
        return Err(AuthorityError::Algorithm);
    };
    Ok(der::sequence(&[&der::identifier(arcs), parameters]))
}

impl Authority {
    /// The authority with this certificate and key, both PEM.
    pub fn new(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes())
            .map_err(|_| AuthorityError::Certificate)?;
        let parsed = pem.parse_x509().map_err(|_| AuthorityError::Certificate)?;
        let identifier =
            parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            });
        let key = KeyPair::from_pem(key)?;
        Ok(Self {
            algorithm: algorithm(&key)?,
            subject: parsed.subject().as_raw().to_vec(),
            identifier,
            not_after: Timestamp::from_second(parsed.validity().not_after.timestamp())
                .unwrap_or(Timestamp::MAX),
            key,
        })
    }

    /// Signs what is asked for; the certificate as PEM.
    pub(super) fn sign(
        &self,
        asked: &Asked,
        usages: &Usages,
        expiration_seconds: Option<i32>,
        now: Timestamp,
    ) -> Result<String, AuthorityError> {
        let not_before = now - BACKDATE;
        let wanted = expiration_seconds
            .map_or(LONGEST, |seconds| SignedDuration::from_secs(seconds.into()).clamp(SHORTEST, LONGEST));
        let from = if wanted < SHORT { now } else { not_before };
        let not_after = (from + wanted).min(self.not_after);
        if not_after <= now {
            return Err(AuthorityError::Expired(self.not_after));
        }

        let mut serial = [0; 16];
        rand::rng().fill_bytes(&mut serial);
        let version = der::value(0xa0, &der::integer(&[2]));
        let validity = der::sequence(&[&der::moment(not_before), &der::moment(not_after)]);
        let extensions = self.extensions(asked, usages);
        let body = der::sequence(&[
            &version,
            &der::integer(&serial),
            &self.algorithm,
            &self.subject,
            &validity,
            &asked.subject,
            &asked.public_key,
            &der::value(0xa3, &der::sequence(&[&extensions])),
        ]);
        let signature = self.key.sign(&body)?;
        let certificate = der::sequence(&[&body, &self.algorithm, &der::bits(&signature)]);
        Ok(pem(&certificate))
    }

    fn extensions(&self, asked: &Asked, usages: &Usages) -> Vec<u8> {
        let mut extensions = Vec::new();
        if usages.key != 0 {
            extensions.extend(der::extension(&[2, 5, 29, 15], true, &der::flags(usages.key)));
        }
        if !usages.extended.is_empty() {
            let all: Vec<u8> = usages.extended.iter().flat_map(|arcs| der::identifier(arcs)).collect();
            extensions.extend(der::extension(&[2, 5, 29, 37], false, &der::sequence(&[&all])));
        }
        // What is signed for others is never an authority itself.
        extensions.extend(der::extension(&[2, 5, 29, 19], true, &der::sequence(&[])));
        if let Some(identifier) = &self.identifier {
            let content = der::sequence(&[&der::value(0x80, identifier)]);
            extensions.extend(der::extension(&[2, 5, 29, 35], false, &content));
        }
        if let Some(names) = &asked.alternative_names {
            extensions.extend(der::extension(&[2, 5, 29, 17], false, names));
        }
        extensions
    }
}

/// The textual form of a certificate.
fn pem(der: &[u8]) -> String {
    let text = base64(der);
    let mut lines = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        lines.push_str(line);
        lines.push('\n');
        rest = more;
    }
    lines + "-----END CERTIFICATE-----\n"
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa};
    use x509_parser::prelude::X509Certificate;

    use super::*;
    use crate::certificates::request::tests::request;
    use crate::certificates::{CLIENT, request, usages};

    /// An authority, and its certificate.
    pub(in super::super) fn authority() -> (Authority, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        (Authority::new(&certificate, &key.serialize_pem()).unwrap(), certificate)
    }

    fn signed(seconds: Option<i32>, check: impl FnOnce(&X509Certificate<'_>)) {
        let (authority, certificate) = authority();
        let names: Vec<String> =
            ["digital signature", "key encipherment", "client auth"].map(Into::into).into();
        let request = request("r", "dev", "ann", &["ann.example.com"], &[]);
        let asked = request::read(&request).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let pem = authority.sign(&asked, &usages::read(&names).unwrap(), seconds, now).unwrap();
        let (_, issued) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let issued = issued.parse_x509().unwrap();
        let (_, issuer) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).unwrap();
        let issuer = issuer.parse_x509().unwrap();
        issued.verify_signature(Some(issuer.public_key())).unwrap();
        assert_eq!(issued.issuer().as_raw(), issuer.subject().as_raw());
        check(&issued);
    }

    #[test]
    fn a_certificate_has_what_was_asked_for_and_no_more() {
        signed(None, |issued| {
            assert_eq!(issued.subject().to_string(), "O=dev, CN=ann");
            let key = issued.key_usage().unwrap().unwrap().value;
            assert!(key.digital_signature() && key.key_encipherment() && !key.key_cert_sign());
            let extended = issued.extended_key_usage().unwrap().unwrap().value;
            assert!(extended.client_auth && !extended.server_auth);
            let basic = issued.basic_constraints().unwrap().unwrap();
            assert!(basic.critical && !basic.value.ca);
            let names = issued.subject_alternative_name().unwrap().unwrap().value;
            assert_eq!(names.general_names.len(), 1);
        });
    }

    #[test]
    fn a_certificate_is_valid_for_a_year_or_as_long_as_asked_for() {
        let now = 1_800_000_000;
        for (seconds, start, end) in [
            (None, now - 300, now - 300 + 365 * 86_400),
            (Some(3600), now - 300, now + 3600),
            (Some(1), now - 300, now + 600),
        ] {
            signed(seconds, |issued| {
                let validity = issued.validity();
                let shown = (validity.not_before.timestamp(), validity.not_after.timestamp());
                assert_eq!(shown, (start, end), "{seconds:?}");
            });
        }
    }

    #[test]
    fn the_key_of_an_authority_is_not_shown() {
        let (authority, _) = authority();
        assert!(!format!("{authority:?}").contains("key"));
        let _ = CLIENT;
    }
}
