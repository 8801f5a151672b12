//! What a request asks for, and whether a signer gives that.

use std::collections::BTreeSet;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, Pem};

use super::{CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY};

/// The PKCS #10 part of a request, its signature checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The subject, as encoded in the request: every part of it counts, in order.
    pub subject: Vec<u8>,
    /// The key, as encoded in the request.
    pub public_key: Vec<u8>,
    /// The subject alternative names, as encoded in the request.
    pub alternative_names: Option<Vec<u8>>,
    pub common_name: String,
    pub organizations: Vec<String>,
    names: Names,
}

/// How many names of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Names {
    dns: usize,
    ip: usize,
    email: usize,
    uri: usize,
}

/// Why a request cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is no PEM block of a certificate request.
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Pem,
    /// It is no certificate request.
    #[error("failed to read the certificate request")]
    Malformed,
    /// It is not signed with the key it is for.
    #[error("the certificate request is not signed with its own key")]
    Signature,
}

/// Why a signer refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Nodes are a group.
    #[error("subject organization is not system:nodes")]
    Organization,
    /// Nodes have names of their own.
    #[error("subject common name does not begin with system:node:")]
    CommonName,
    /// A server needs a name.
    #[error("DNS or IP subjectAltName is required")]
    NoName,
    /// A name of the wrong kind.
    #[error("{0} subjectAltNames are not allowed")]
    Name(&'static str),
    /// The usages are not those of the signer.
    #[error("usages did not match [{0}]")]
    Usages(String),
    /// A usage that clients do not have.
    #[error("invalid usage for client certificate: {0}")]
    ClientUsage(String),
    /// Clients are clients.
    #[error("missing required usage for client certificate: client auth")]
    NoClientUsage,
}

/// Reads the request.
pub(super) fn read(request: &CertificateSigningRequest) -> Result<Asked, Unreadable> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(&request.spec.request.0).map_err(|_| Unreadable::Pem)?;
    if pem.label != "CERTIFICATE REQUEST" {
        return Err(Unreadable::Pem);
    }
    parse(&pem)
}

fn parse(pem: &Pem) -> Result<Asked, Unreadable> {
    let (_, parsed) = X509CertificationRequest::from_der(&pem.contents).map_err(|_| Unreadable::Malformed)?;
    parsed.verify_signature().map_err(|_| Unreadable::Signature)?;
    let info = &parsed.certification_request_info;
    let text = |part: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        part.as_str().map(ToOwned::to_owned).unwrap_or_default()
    };
    let mut asked = Asked {
        subject: info.subject.as_raw().to_vec(),
        public_key: info.subject_pki.raw.to_vec(),
        alternative_names: None,
        common_name: info.subject.iter_common_name().next().map(text).unwrap_or_default(),
        organizations: info.subject.iter_organization().map(text).collect(),
        names: Names::default(),
    };
    for attribute in info.iter_attributes() {
        let x509_parser::prelude::ParsedCriAttribute::ExtensionRequest(wanted) = attribute.parsed_attribute()
        else {
            continue;
        };
        for extension in &wanted.extensions {
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
                continue;
            };
            asked.alternative_names = Some(extension.value.to_vec());
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(_) => asked.names.dns += 1,
                    GeneralName::IPAddress(_) => asked.names.ip += 1,
                    GeneralName::RFC822Name(_) => asked.names.email += 1,
                    GeneralName::URI(_) => asked.names.uri += 1,
                    _ => {}
                }
            }
        }
    }
    Ok(asked)
}

fn is_exactly(usages: &[String], wanted: &[&str]) -> bool {
    let usages: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    usages == wanted.iter().copied().collect()
}

/// Whether a kubelet's own kind of usage is asked for; keys that are not RSA do not encipher.
fn kubelet_usages(usages: &[String], kind: &'static str) -> Result<(), Refusal> {
    let full = [kind, "digital signature", "key encipherment"];
    if is_exactly(usages, &full) || is_exactly(usages, &[kind, "digital signature"]) {
        return Ok(());
    }
    let mut shown = full;
    shown.sort_unstable();
    Err(Refusal::Usages(shown.join(" ")))
}

fn is_of_nodes(asked: &Asked) -> Result<(), Refusal> {
    if asked.organizations == ["system:nodes"] { Ok(()) } else { Err(Refusal::Organization) }
}

fn is_node(asked: &Asked) -> Result<(), Refusal> {
    if asked.common_name.starts_with("system:node:") { Ok(()) } else { Err(Refusal::CommonName) }
}

fn none(count: usize, kind: &'static str) -> Result<(), Refusal> {
    if count == 0 { Ok(()) } else { Err(Refusal::Name(kind)) }
}

/// Whether it is the client certificate of a kubelet.
pub(super) fn check_kubelet_client(asked: &Asked, usages: &[String]) -> Result<(), Refusal> {
    is_of_nodes(asked)?;
    none(asked.names.dns, "DNS")?;
    none(asked.names.email, "Email")?;
    none(asked.names.ip, "IP")?;
    none(asked.names.uri, "URI")?;
    is_node(asked)?;
    kubelet_usages(usages, "client auth")
}

fn check_kubelet_serving(asked: &Asked, usages: &[String]) -> Result<(), Refusal> {
    is_of_nodes(asked)?;
    if asked.names.dns == 0 && asked.names.ip == 0 {
        return Err(Refusal::NoName);
    }
    none(asked.names.email, "Email")?;
    none(asked.names.uri, "URI")?;
    kubelet_usages(usages, "server auth")?;
    is_node(asked)
}

fn check_client(usages: &[String]) -> Result<(), Refusal> {
    let foreign =
        |usage: &&String| !matches!(usage.as_str(), "digital signature" | "key encipherment" | "client auth");
    if let Some(usage) = usages.iter().find(foreign) {
        return Err(Refusal::ClientUsage(usage.clone()));
    }
    if usages.iter().any(|usage| usage == "client auth") { Ok(()) } else { Err(Refusal::NoClientUsage) }
}

/// Whether the named signer is one of ours, and if so, whether it signs this.
pub(super) fn check(signer: &str, asked: &Asked, usages: &[String]) -> Option<Result<(), Refusal>> {
    Some(match signer {
        CLIENT => check_client(usages),
        KUBELET_CLIENT => check_kubelet_client(asked, usages),
        KUBELET_SERVING => check_kubelet_serving(asked, usages),
        LEGACY => Ok(()),
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};
    use serde_json::json;

    use super::*;

    /// A request for a subject `O=<organization>, CN=<name>`, with DNS names.
    pub(in super::super) fn request(
        signer: &str,
        organization: &str,
        name: &str,
        dns: &[&str],
        usages: &[&str],
    ) -> CertificateSigningRequest {
        let dns: Vec<String> = dns.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(dns).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let mut request: CertificateSigningRequest = serde_json::from_value(json!({
            "metadata": {"name": "r"},
            "spec": {"request": "", "signerName": signer, "usages": usages},
        }))
        .unwrap();
        request.spec.request.0 = pem.into_bytes();
        request
    }

    fn checked(request: &CertificateSigningRequest) -> Option<Result<(), String>> {
        let asked = read(request).unwrap();
        let usages = request.spec.usages.clone().unwrap_or_default();
        check(&request.spec.signer_name, &asked, &usages)
            .map(|outcome| outcome.map_err(|refusal| refusal.to_string()))
    }

    #[test]
    fn a_request_tells_its_subject_and_names() {
        let asked = read(&request(CLIENT, "dev", "ann", &["a.example.com"], &[])).unwrap();
        assert_eq!((asked.common_name.as_str(), asked.organizations), ("ann", vec!["dev".to_owned()]));
        assert_eq!(asked.names.dns, 1);
        assert!(asked.alternative_names.is_some());
    }

    #[test]
    fn a_request_that_is_none_cannot_be_read() {
        let mut request = request(CLIENT, "dev", "ann", &[], &[]);
        request.spec.request.0 = b"nonsense".to_vec();
        assert!(matches!(read(&request), Err(Unreadable::Pem)));
    }

    #[test]
    fn signers_sign_only_what_they_are_for() {
        let node = |signer: &str, dns: &[&str], usages: &[&str]| {
            checked(&request(signer, "system:nodes", "system:node:n1", dns, usages))
        };
        let client = ["digital signature", "key encipherment", "client auth"];
        let server = ["digital signature", "server auth"];
        assert_eq!(node(KUBELET_CLIENT, &[], &client), Some(Ok(())));
        assert_eq!(node(KUBELET_SERVING, &["n1"], &server), Some(Ok(())));
        assert_eq!(
            node(KUBELET_CLIENT, &["n1"], &client),
            Some(Err("DNS subjectAltNames are not allowed".into()))
        );
        assert_eq!(
            node(KUBELET_SERVING, &[], &server),
            Some(Err("DNS or IP subjectAltName is required".into()))
        );
        assert_eq!(
            node(KUBELET_CLIENT, &[], &server),
            Some(Err("usages did not match [client auth digital signature key encipherment]".into()))
        );
        let user = |usages: &[&str]| checked(&request(CLIENT, "dev", "ann", &[], usages));
        assert_eq!(user(&client), Some(Ok(())));
        assert_eq!(
            user(&["server auth"]),
            Some(Err("invalid usage for client certificate: server auth".into()))
        );
        assert_eq!(
            user(&["digital signature"]),
            Some(Err("missing required usage for client certificate: client auth".into()))
        );
        let dev = request(KUBELET_CLIENT, "dev", "ann", &[], &client);
        assert_eq!(checked(&dev), Some(Err("subject organization is not system:nodes".into())));
        assert_eq!(checked(&request("example.com/own", "dev", "ann", &[], &client)), None);
    }
}
