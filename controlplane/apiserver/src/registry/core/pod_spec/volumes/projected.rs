//! Projected volumes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{validate_item, validate_local_path, validate_mode};
use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, int_at, list_at, opt_str, str_at};
use crate::registry::core::pod_spec::environment::validate_downward_file;
use crate::registry::internal;
use crate::validation::fields::required;
use crate::validation::{formats, labels};

const CONFLICT: &str = "conflicting duplicate paths";

/// A projected volume.
pub fn validate(errors: &mut Errors, path: &Path<'_>, volume: &Value) {
    validate_mode(errors, path, volume, "defaultMode");
    let mut paths = BTreeSet::new();
    for (index, source) in list_at(volume, "/sources").iter().enumerate() {
        let sources = path.child("sources");
        let source_path = sources.index(index);
        let mut count = 0;
        for kind in ["secret", "configMap"] {
            if let Some(projection) = get(source, &format!("/{kind}")) {
                count += 1;
                validate_keys(errors, path, &source_path.child(kind), projection, &mut paths);
            }
        }
        if let Some(projection) = get(source, "/downwardAPI") {
            count += 1;
            for file in list_at(projection, "/items") {
                validate_downward_file(errors, &source_path.child("downwardAPI"), file);
                claim(errors, path, str_at(file, "/path"), &mut paths);
            }
        }
        if let Some(token) = get(source, "/serviceAccountToken") {
            count += 1;
            validate_token(errors, path, &source_path.child("serviceAccountToken"), token);
        }
        if let Some(bundle) = get(source, "/clusterTrustBundle") {
            count += 1;
            let bundle_path = source_path.child("clusterTrustBundle");
            validate_trust_bundle(errors, &bundle_path, bundle);
            required(errors, &bundle_path, bundle, "path");
            validate_local_path(errors, &bundle_path.child("path"), str_at(bundle, "/path"));
            claim(errors, path, str_at(bundle, "/path"), &mut paths);
        }
        if let Some(certificate) = get(source, "/podCertificate") {
            count += 1;
            validate_certificate(errors, path, &source_path.child("podCertificate"), certificate, &mut paths);
        }
        if count > 1 {
            errors.forbidden(&source_path, "may not specify more than 1 volume type per source");
        }
    }
}

fn claim<'a>(errors: &mut Errors, volume: &Path<'_>, path: &'a str, paths: &mut BTreeSet<&'a str>) {
    if !path.is_empty() && !paths.insert(path) {
        errors.invalid_str(volume, path, CONFLICT);
    }
}

fn validate_keys<'a>(
    errors: &mut Errors,
    volume: &Path<'_>,
    path: &Path<'_>,
    projection: &'a Value,
    paths: &mut BTreeSet<&'a str>,
) {
    required(errors, path, projection, "name");
    for (index, item) in list_at(projection, "/items").iter().enumerate() {
        validate_item(errors, &path.child("items").index(index), item);
        let place = str_at(item, "/path");
        if !place.is_empty() && !paths.insert(place) {
            errors.invalid_str(volume, str_at(projection, "/name"), CONFLICT);
        }
    }
}

fn validate_token(errors: &mut Errors, volume: &Path<'_>, path: &Path<'_>, token: &Value) {
    const SHORTEST: i64 = 10 * 60;
    const LONGEST: i64 = 1 << 32;
    let seconds = int_at(token, "/expirationSeconds");
    let seconds_path = path.child("expirationSeconds");
    if seconds < SHORTEST {
        errors.invalid(&seconds_path, &seconds.into(), "may not specify a duration less than 10 minutes");
    }
    if seconds > LONGEST {
        errors.invalid(&seconds_path, &seconds.into(), "may not specify a duration larger than 2^32 seconds");
    }
    if required(errors, volume, token, "path") {
        validate_local_path(errors, &volume.child("path"), str_at(token, "/path"));
    }
}

fn validate_trust_bundle(errors: &mut Errors, path: &Path<'_>, bundle: &Value) {
    match (opt_str(bundle, "/name"), opt_str(bundle, "/signerName")) {
        (Some(_), Some(_)) => {
            let why = "only one of name and signerName may be used";
            internal::invalid(errors, path, "ClusterTrustBundleProjection", bundle, why);
        }
        (Some(name), None) => {
            if name.is_empty() {
                errors.required(&path.child("name"), "must be a valid object name");
            }
            if has(bundle, "/labelSelector") {
                errors.invalid(
                    &path.child("labelSelector"),
                    at(bundle, "/labelSelector"),
                    "labelSelector must be unset if name is specified",
                );
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.required(&path.child("signerName"), "must be a valid signer name");
            }
            validate_signer(errors, &path.child("signerName"), signer);
            labels::selector(errors, &path.child("labelSelector"), at(bundle, "/labelSelector"));
        }
        (None, None) => errors.required(path, "either name or signerName must be specified"),
    }
}

/// A signer's name: a domain and a path below it.
fn validate_signer(errors: &mut Errors, path: &Path<'_>, signer: &str) {
    for (value, why) in formats::domain_prefixed_path(signer) {
        errors.invalid_str(path, &value, &why);
    }
}

fn validate_certificate<'a>(
    errors: &mut Errors,
    volume: &Path<'_>,
    path: &Path<'_>,
    certificate: &'a Value,
    paths: &mut BTreeSet<&'a str>,
) {
    const KEY_TYPES: &[&str] = &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
    validate_signer(errors, &path.child("signerName"), str_at(certificate, "/signerName"));
    let key_type = str_at(certificate, "/keyType");
    if !KEY_TYPES.contains(&key_type) {
        errors.not_supported(&path.child("keyType"), &key_type.into(), KEY_TYPES);
    }
    let mut count = 0;
    for field in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        let place = str_at(certificate, &format!("/{field}"));
        if !place.is_empty() {
            count += 1;
            validate_local_path(errors, &path.child(field), place);
            claim(errors, volume, place, paths);
        }
    }
    if count == 0 {
        errors.required(
            path,
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        );
    }
}
