//! Whom outgoing connections trust: the authorities of their configuration, or those of the machine.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{PemObject, SectionKind},
    },
    server::ParsedCertificate,
};

/// Why TLS cannot be set up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no certificate in the bundle.
    #[error("unable to load root certificates: unable to parse bytes as PEM block")]
    NoBundle,
    /// There is nobody to trust.
    #[error("no root certificates: {0}")]
    NoRoots(String),
    /// The provider of cryptography is of no use.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// What the server shows of itself: a certificate and its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// Why nobody can be trusted by a bundle of certificates, in the words of the real server; an empty one is fine.
pub fn unusable(bundle: &[u8]) -> Option<String> {
    if bundle.is_empty() {
        return None;
    }
    let why = |why: &str| Some(format!("unable to load root certificates: {why}"));
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(bundle).filter_map(Result::ok).peekable();
    if sections.peek().is_none() {
        return why("unable to parse bytes as PEM block");
    }
    let mut certificates = sections.filter(|(kind, _)| *kind == SectionKind::Certificate).peekable();
    if certificates.peek().is_none() {
        return why("no valid certificate authority data seen");
    }
    if certificates.any(|(_, der)| x509_parser::parse_x509_certificate(&der).is_ok()) {
        return None;
    }
    why("failed to parse certificate: x509: malformed certificate")
}

/// The configuration of TLS for a bundle of certificates; an empty one means those of the machine.
pub fn config(bundle: &[u8], identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let given: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).collect();
    if !bundle.is_empty() && given.is_empty() {
        return Err(Error::NoBundle);
    }
    let mut roots = RootCertStore::empty();
    if bundle.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        roots.add_parsable_certificates(given.iter().cloned());
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| Error::NoRoots(error.to_string()))?;
    finish(Some(Trusted { given, verifier }), provider, identity)
}

/// The configuration of TLS that trusts everybody.
pub fn insecure(identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    finish(None, provider, identity)
}

fn finish(
    trusted: Option<Trusted>,
    provider: Arc<CryptoProvider>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, Error> {
    let verifier = Arc::new(Verifier { trusted, algorithms: provider.signature_verification_algorithms });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match identity {
        Some(Identity { certificate, key }) => {
            builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key())?
        }
        None => builder.with_no_client_auth(),
    })
}

/// Trusts what the authorities have signed, and certificates that are in the bundle themselves: many
/// webhooks serve with the very certificate that is their bundle, whether it is one of an authority or not.
#[derive(Debug)]
struct Trusted {
    given: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// Without anybody to trust it takes whatever certificate is shown; that its key is there is always checked.
#[derive(Debug)]
struct Verifier {
    trusted: Option<Trusted>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(Trusted { given, verifier }) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        if !given.iter().any(|given| **given == **end_entity) {
            return verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        let parsed = x509_parser::parse_x509_certificate(end_entity);
        let (_, parsed) = parsed.map_err(|_| CertificateError::BadEncoding)?;
        let validity = parsed.validity();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Why a connection is not trusted, in the words of Go.
pub fn shown(error: &std::io::Error) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return error.to_string();
    };
    let rustls::Error::InvalidCertificate(why) = tls else { return format!("remote error: tls: {tls}") };
    let why = match why {
        // Another authority of the same name is as unknown as one of another name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented: Vec<&str> = presented.iter().map(|name| plain_name(name)).collect();
            format!("certificate is valid for {}, not {}", presented.join(", "), expected.to_str())
        }
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

/// `DnsName("a.b")` without what says of what sort it is.
fn plain_name(shown: &str) -> &str {
    shown.split('"').nth(1).unwrap_or(shown)
}
