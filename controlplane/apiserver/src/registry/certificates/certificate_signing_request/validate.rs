//! Everything wrong with certificate signing requests, new, approved or signed.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use x509_parser::{
    certificate::X509Certificate, certification_request::X509CertificationRequest, pem::Pem, prelude::FromDer,
};

use crate::field::{Errors, Path, quoted};
use crate::registry::access::{list_at, opt_int, str_at, strs_at};
use crate::validation::names;

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const SHORTEST_SECONDS: i64 = 600;
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Who writes the status, which decides what may change in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An approver, who approves or denies.
    Approval,
    /// A signer, who issues the certificate.
    Status,
}

/// A new request.
pub fn validate(request: &Value) -> Errors {
    let mut errors = Errors::default();
    spec(&mut errors, request);
    conditions(&mut errors, request);
    certificate(&mut errors, request);
    errors
}

/// A changed request; through the request itself neither spec nor status change.
pub fn validate_update(request: &Value, old: &Value, part: Option<Part>) -> Errors {
    let mut errors = Errors::default();
    // What was accepted before the rules became stricter stays acceptable.
    if request["spec"] != old["spec"] {
        spec(&mut errors, request);
    }
    conditions(&mut errors, request);
    if str_at(request, "/status/certificate") != str_at(old, "/status/certificate") {
        certificate(&mut errors, request);
    }
    let path = STATUS.child("conditions");
    let of = |request: &Value, kind: &str| -> Vec<Value> {
        list_at(request, "/status/conditions")
            .iter()
            .filter(|c| str_at(c, "/type") == kind)
            .cloned()
            .collect()
    };
    for kind in [APPROVED, DENIED, FAILED] {
        if of(request, kind).len() < of(old, kind).len() {
            errors.forbidden(&path, &format!("updates may not remove a condition of type {}", quoted(kind)));
        }
    }
    if part != Some(Part::Approval) {
        for kind in [APPROVED, DENIED] {
            let (new, was) = (of(request, kind), of(old, kind));
            if new.len() > was.len() {
                errors.forbidden(&path, &format!("updates may not add a condition of type {}", quoted(kind)));
            } else if new.len() == was.len() && new != was {
                errors.forbidden(
                    &path,
                    &format!("updates may not modify a condition of type {}", quoted(kind)),
                );
            }
        }
    }
    let (new, was) = (str_at(request, "/status/certificate"), str_at(old, "/status/certificate"));
    if new != was {
        let path = STATUS.child("certificate");
        if part != Some(Part::Status) {
            errors.forbidden(&path, "updates may not set certificate content");
        } else if !was.is_empty() {
            errors.forbidden(&path, "updates may not modify existing certificate content");
        }
    }
    errors
}

fn spec(errors: &mut Errors, request: &Value) {
    let packed = str_at(request, "/spec/request");
    if let Err(why) = parse_request(packed) {
        errors.invalid_str(&SPEC.child("request"), packed, &why);
    }
    let usages: Vec<&str> = strs_at(request, "/spec/usages").collect();
    let path = SPEC.child("usages");
    if usages.is_empty() {
        errors.required(&path, "");
    }
    for (at, usage) in usages.iter().enumerate().filter(|(_, usage)| !USAGES.contains(usage)) {
        errors.not_supported(&path.index(at), &(*usage).into(), USAGES);
    }
    for (at, usage) in usages.iter().enumerate().filter(|(at, usage)| usages[..*at].contains(usage)) {
        errors.duplicate(&path.index(at), &(*usage).into());
    }
    let signer = str_at(request, "/spec/signerName");
    let path = SPEC.child("signerName");
    if signer == LEGACY_SIGNER {
        errors.invalid_str(&path, signer, "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(errors, &path, signer);
    }
    if let Some(seconds) = opt_int(request, "/spec/expirationSeconds").filter(|s| *s < SHORTEST_SECONDS) {
        errors.invalid(
            &SPEC.child("expirationSeconds"),
            &seconds.into(),
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
}

/// The name of a signer: `example.com/signer-name`.
pub fn signer_name(errors: &mut Errors, path: &Path<'_>, name: &str) {
    const DOMAIN_MAX: usize = 253;
    const PATH_MAX: usize = 253 + 63 + 1;
    if name.is_empty() {
        return errors.required(path, "");
    }
    let segments: Vec<&str> = name.split('/').collect();
    let [domain, rest] = segments.as_slice() else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid_str(path, name, why);
    };
    if domain.len() > DOMAIN_MAX {
        errors.too_long(path, DOMAIN_MAX);
    }
    let labels = |errors: &mut Errors, segment: &str| {
        for label in segment.split('.') {
            for why in names::dns1123_label(label) {
                errors.invalid_str(path, segment, &format!("validating label {}: {why}", quoted(label)));
            }
        }
    };
    labels(errors, domain);
    if !domain.contains('.') {
        errors.invalid_str(path, domain, "should be a domain with at least two segments separated by dots");
    }
    labels(errors, rest);
    if name.len() > DOMAIN_MAX + PATH_MAX + 1 {
        errors.too_long(path, DOMAIN_MAX + PATH_MAX + 1);
    }
}

fn conditions(errors: &mut Errors, request: &Value) {
    let path = STATUS.child("conditions");
    let mut seen: Vec<&str> = Vec::new();
    for (at, condition) in list_at(request, "/status/conditions").iter().enumerate() {
        let item = path.index(at);
        let (kind, status) = (str_at(condition, "/type"), str_at(condition, "/status"));
        if kind.is_empty() {
            errors.required(&item.child("type"), "");
        }
        let allowed: &[&str] = if matches!(kind, APPROVED | DENIED | FAILED) {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        if status.is_empty() {
            errors.required(&item.child("status"), "");
        } else if !allowed.contains(&status) {
            errors.not_supported(&item.child("status"), &status.into(), allowed);
        }
        let opposite = match kind {
            APPROVED => DENIED,
            DENIED => APPROVED,
            _ => "",
        };
        if !opposite.is_empty() && seen.contains(&opposite) {
            errors.invalid_str(&path, kind, "Approved and Denied conditions are mutually exclusive");
        }
        if seen.contains(&kind) {
            errors.duplicate(&item.child("type"), &kind.into());
        }
        seen.push(kind);
    }
}

fn certificate(errors: &mut Errors, request: &Value) {
    if let Err(why) = parse_certificate(str_at(request, "/status/certificate")) {
        errors.invalid_str(&STATUS.child("certificate"), "<certificate data>", &why);
    }
}

/// The organizations of the subject that is to be signed: the groups of a client.
pub fn organizations(request: &Value) -> Vec<String> {
    let Some(block) = request_block(str_at(request, "/spec/request")) else { return Vec::new() };
    let Ok((_, parsed)) = X509CertificationRequest::from_der(&block.contents) else { return Vec::new() };
    let subject = &parsed.certification_request_info.subject;
    subject.iter_organization().filter_map(|name| Some(name.as_str().ok()?.to_owned())).collect()
}

fn request_block(packed: &str) -> Option<Pem> {
    let bytes = STANDARD.decode(packed).unwrap_or_default();
    let block = Pem::iter_from_buffer(&bytes).next().and_then(Result::ok);
    block.filter(|block| block.label == "CERTIFICATE REQUEST")
}

fn parse_request(packed: &str) -> Result<(), String> {
    let Some(block) = request_block(packed) else {
        return Err("PEM block type must be CERTIFICATE REQUEST".into());
    };
    X509CertificationRequest::from_der(&block.contents).map(|_| ()).map_err(|e| format!("asn1: {e}"))
}

fn parse_certificate(packed: &str) -> Result<(), String> {
    let bytes = STANDARD.decode(packed).unwrap_or_default();
    if bytes.is_empty() {
        return Ok(());
    }
    let blocks: Vec<Pem> = Pem::iter_from_buffer(&bytes).map_while(Result::ok).collect();
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    for block in blocks {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {}", quoted(&block.label)));
        }
        X509Certificate::from_der(&block.contents)
            .map_err(|e| format!("x509: malformed certificate: {e}"))?;
    }
    Ok(())
}
