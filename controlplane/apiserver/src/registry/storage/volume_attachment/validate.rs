//! Everything wrong with volume attachments.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, entries, get, opt_int, opt_str, str_at};
use crate::registry::core::persistent_volume::validate_inline;
use crate::registry::core::pod_spec::validate_csi_driver_name;
use crate::registry::internal;
use crate::validation::fields::{IMMUTABLE, dns_subdomain, required};
use crate::validation::formats;

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
const MAX_METADATA: usize = 256 * 1024;
const MAX_MESSAGE: usize = 1024;

/// A new attachment.
pub fn validate_create(attachment: &Value) -> Errors {
    let mut errors = Errors::default();
    validate(&mut errors, attachment);
    validate_csi_driver_name(&mut errors, &SPEC.child("attacher"), str_at(attachment, "/spec/attacher"));
    let source = SPEC.child("source");
    if let Some(volume) = opt_str(attachment, "/spec/source/persistentVolumeName") {
        dns_subdomain(&mut errors, &source.child("persistentVolumeName"), volume);
    }
    errors
}

/// A changed attachment or status. The real server checks both twice.
pub fn validate_update(attachment: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    validate(&mut errors, attachment);
    errors.extend(errors.clone());
    if at(attachment, "/spec") != at(old, "/spec") {
        internal::invalid(&mut errors, &SPEC, "VolumeAttachmentSpec", at(attachment, "/spec"), IMMUTABLE);
    }
    errors
}

fn validate(errors: &mut Errors, attachment: &Value) {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let spec = at(attachment, "/spec");
    required(errors, &SPEC, spec, "attacher");
    let path = SPEC.child("source");
    match (get(spec, "/source/inlineVolumeSpec"), opt_str(spec, "/source/persistentVolumeName")) {
        (None, None) => errors.required(&path, ONE),
        (Some(_), Some(_)) => errors.forbidden(&path, ONE),
        (None, Some("")) => {
            errors
                .required(&path.child("persistentVolumeName"), "must specify non empty persistentVolumeName");
        }
        (None, Some(_)) => {}
        (Some(volume), None) => validate_inline(errors, &path.child("inlineVolumeSpec"), volume),
    }
    dns_subdomain(errors, &SPEC.child("nodeName"), str_at(spec, "/nodeName"));
    validate_status(errors, at(attachment, "/status"));
}

fn validate_status(errors: &mut Errors, status: &Value) {
    let path = STATUS.child("attachmentMetadata");
    let mut size = 0;
    for (key, value) in entries(status, "/attachmentMetadata") {
        if key.is_empty() {
            errors.invalid_str(&path, key, "field can not be empty.");
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_METADATA {
        errors.too_long(&path, MAX_METADATA);
    }
    for field in ["attachError", "detachError"] {
        let path = STATUS.child(field);
        if str_at(status, &format!("/{field}/message")).len() > MAX_MESSAGE {
            // The real server names the limit of the metadata.
            errors.too_long(&path.child("message"), MAX_METADATA);
        }
        if let Some(code) = opt_int(status, &format!("/{field}/errorCode")).filter(|code| *code < 0) {
            let why = formats::range(0, i64::from(i32::MAX));
            errors.invalid(&path.child("errorCode"), &code.into(), &why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_of_volumes_are_short_and_have_codes_above_zero() {
        let mut errors = Errors::default();
        let error = json!({"message": "x".repeat(MAX_MESSAGE + 1), "errorCode": -1});
        validate_status(&mut errors, &json!({"attachError": error}));
        let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "status.attachError.message: Too long: may not be more than 262144 bytes",
                "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ]
        );
    }
}
