//! Everything wrong with CSI drivers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, list_at, opt_int, opt_str, str_at};
use crate::registry::core::pod_spec::validate_csi_driver_name;
use crate::validation::fields::immutable;

const SPEC: Path<'static> = Path::new("spec");
const POLICIES: &[&str] = &["File", "None", "ReadWriteOnceWithFSType"];
const MODES: &[&str] = &["Persistent", "Ephemeral"];
const MIN_LIFETIME: i64 = 600;
const MIN_PERIOD: i64 = 10;

/// A new driver.
pub fn validate_create(driver: &Value) -> Errors {
    let mut errors = Errors::default();
    validate_csi_driver_name(&mut errors, &Path::new("name"), str_at(driver, "/metadata/name"));
    validate_spec(&mut errors, at(driver, "/spec"));
    errors
}

/// A changed driver.
pub fn validate_update(driver: &Value, old: &Value) -> Errors {
    let mut errors = validate_create(driver);
    for (field, shown) in
        [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
    {
        let pointer = format!("/spec/{field}");
        immutable(&mut errors, &SPEC.child(shown), at(driver, &pointer), at(old, &pointer));
    }
    errors
}

fn validate_spec(errors: &mut Errors, spec: &Value) {
    if let Some(policy) = opt_str(spec, "/fsGroupPolicy").filter(|policy| !POLICIES.contains(policy)) {
        errors.not_supported(&SPEC.child("fsGroupPolicy"), &policy.into(), POLICIES);
    }
    let path = SPEC.child("tokenRequests");
    let mut audiences = BTreeSet::new();
    for (index, request) in list_at(spec, "/tokenRequests").iter().enumerate() {
        let path = path.index(index);
        let audience = str_at(request, "/audience");
        if !audiences.insert(audience) {
            errors.duplicate(&path.child("audience"), &audience.into());
            continue;
        }
        let lifetime = path.child("expirationSeconds");
        match opt_int(request, "/expirationSeconds") {
            Some(seconds) if seconds < MIN_LIFETIME => {
                errors.invalid(&lifetime, &seconds.into(), "may not specify a duration less than 10 minutes");
            }
            Some(seconds) if seconds > 1 << 32 => {
                errors.invalid(
                    &lifetime,
                    &seconds.into(),
                    "may not specify a duration larger than 2^32 seconds",
                );
            }
            _ => {}
        }
    }
    for mode in list_at(spec, "/volumeLifecycleModes") {
        if !MODES.iter().any(|known| mode == known) {
            errors.not_supported(&SPEC.child("volumeLifecycleModes"), mode, MODES);
        }
    }
    let period = opt_int(spec, "/nodeAllocatableUpdatePeriodSeconds");
    if let Some(seconds) = period.filter(|seconds| *seconds < MIN_PERIOD) {
        errors.invalid(
            &SPEC.child("nodeAllocatableUpdatePeriodSeconds"),
            &seconds.into(),
            "must be greater than or equal to 10 seconds",
        );
    }
    if let Some(in_secrets) = get(spec, "/serviceAccountTokenInSecrets")
        && list_at(spec, "/tokenRequests").is_empty()
    {
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(&SPEC.child("serviceAccountTokenInSecrets"), in_secrets, why);
    }
}
