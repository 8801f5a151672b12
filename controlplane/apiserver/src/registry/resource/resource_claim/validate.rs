//! Everything wrong with resource claims: what they ask for, and what they were given.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, has, int_at, list_at, opt_str, str_at};
use crate::registry::core::pod_spec::validate_node_selector;
use crate::registry::internal::Internal;
use crate::registry::resource::validate::{
    MOST, Requests, binding_conditions, configuration, driver_name, each, each_once, full_name, pool_name,
    raw_object, selectors, tolerations,
};
use crate::validation::fields::{self, dns_label, dns_subdomain, one_of, required};
use crate::validation::{conditions, ip};

const FIRST_AVAILABLE_MAX: usize = 8;
const RESERVED_MAX: usize = 256;
const EITHER: &str = "exactly one of `exactly` or `firstAvailable` is required";

/// The spec of a claim, or of the template of one.
pub fn validate_spec(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let path = path.child("devices");
    let devices = at(spec, "/devices");
    let requests = Requests::of(devices);
    let name = |request: &Value| str_at(request, "/name").to_owned();
    each_once(errors, &path.child("requests"), list_at(devices, "/requests"), MOST, name, validate_request);
    each(
        errors,
        &path.child("constraints"),
        list_at(devices, "/constraints"),
        MOST,
        |errors, path, constraint| {
            validate_constraint(errors, path, constraint, &requests);
        },
    );
    each(errors, &path.child("config"), list_at(devices, "/config"), MOST, |errors, path, config| {
        requests.validate_references(errors, &path.child("requests"), list_at(config, "/requests"));
        configuration(errors, path, config);
    });
}

/// Demands that the spec stays.
pub fn validate_kept(errors: &mut Errors, claim: &Value, old: &Value) {
    let spec = at(claim, "/spec");
    if spec != at(old, "/spec") {
        let shown = Internal::new("ResourceClaimSpec", spec).compact();
        let why = format!("Invalid value: {shown}: {}", fields::IMMUTABLE);
        errors.push(&Path::new("spec"), Reason::Invalid, why);
    }
}

fn validate_request(errors: &mut Errors, path: &Path<'_>, request: &Value) {
    dns_label(errors, &path.child("name"), str_at(request, "/name"));
    let alternatives = list_at(request, "/firstAvailable");
    match (has(request, "/exactly"), !alternatives.is_empty()) {
        (false, false) => errors.required(path, EITHER),
        (true, true) => errors.invalid(path, &Value::Null, &format!("{EITHER}, but multiple fields are set")),
        (true, false) => validate_devices(errors, &path.child("exactly"), at(request, "/exactly")),
        (false, true) => {
            let name = |request: &Value| str_at(request, "/name").to_owned();
            let path = path.child("firstAvailable");
            each_once(errors, &path, alternatives, FIRST_AVAILABLE_MAX, name, |errors, path, request| {
                dns_label(errors, &path.child("name"), str_at(request, "/name"));
                validate_devices(errors, path, request);
            });
        }
    }
}

fn validate_devices(errors: &mut Errors, path: &Path<'_>, request: &Value) {
    if required(errors, path, request, "deviceClassName") {
        dns_subdomain(errors, &path.child("deviceClassName"), str_at(request, "/deviceClassName"));
    }
    selectors(errors, &path.child("selectors"), list_at(request, "/selectors"));
    let count = int_at(request, "/count");
    match str_at(request, "/allocationMode") {
        "All" if count != 0 => errors.invalid(
            &path.child("count"),
            &count.into(),
            "must not be specified when allocationMode is 'All'",
        ),
        "ExactCount" if count <= 0 => {
            errors.invalid(&path.child("count"), &count.into(), "must be greater than zero");
        }
        "All" | "ExactCount" => {}
        other => errors.not_supported(&path.child("allocationMode"), &other.into(), &["All", "ExactCount"]),
    }
    tolerations(errors, &path.child("tolerations"), list_at(request, "/tolerations"));
}

fn validate_constraint(errors: &mut Errors, path: &Path<'_>, constraint: &Value, requests: &Requests<'_>) {
    requests.validate_references(errors, &path.child("requests"), list_at(constraint, "/requests"));
    match (opt_str(constraint, "/matchAttribute"), opt_str(constraint, "/distinctAttribute")) {
        (Some(name), _) => full_name(errors, &path.child("matchAttribute"), name),
        (None, Some(name)) => full_name(errors, &path.child("distinctAttribute"), name),
        (None, None) => errors.required(
            path,
            "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
        ),
    }
}

/// A changed status.
pub fn validate_status(claim: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let status = Path::new("status");
    let reserved = list_at(claim, "/status/reservedFor");
    let path = status.child("reservedFor");
    let uid = |consumer: &Value| str_at(consumer, "/uid").to_owned();
    each_once(&mut errors, &path, reserved, RESERVED_MAX, uid, |errors, path, consumer| {
        for field in ["resource", "name", "uid"] {
            required(errors, path, consumer, field);
        }
    });
    let (given, before) = (at(claim, "/status/allocation"), at(old, "/status/allocation"));
    validate_device_statuses(&mut errors, claim);
    if !reserved.is_empty() {
        let known = list_at(old, "/status/reservedFor");
        if given.is_null() {
            errors.forbidden(&path, "may not be specified when `allocated` is not set");
        } else if crate::metadata::is_terminating(claim) && reserved.iter().any(|r| !known.contains(r)) {
            let why =
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.forbidden(&path, why);
        }
    }
    let path = status.child("allocation");
    if !given.is_null() && !before.is_null() {
        if given != before {
            let shown = Internal::new("AllocationResult", given).compact();
            let why = format!("Invalid value: {shown}: {}", fields::IMMUTABLE);
            errors.push(&path, Reason::Invalid, why);
        }
    } else if !given.is_null() {
        validate_allocation(&mut errors, &path, given, &Requests::of(at(claim, "/spec/devices")));
    }
    errors
}

fn validate_device_statuses(errors: &mut Errors, claim: &Value) {
    let id = |device: &Value| {
        ["driver", "pool", "device", "shareID"].map(|field| str_at(device, &format!("/{field}")).to_owned())
    };
    let results = list_at(claim, "/status/allocation/devices/results");
    let allocated: BTreeSet<_> = results.iter().map(id).collect();
    let status = Path::new("status");
    let path = status.child("devices");
    let mut seen = BTreeSet::new();
    for (at, device) in list_at(claim, "/status/devices").iter().enumerate() {
        let path = path.index(at);
        driver_name(errors, &path.child("driver"), str_at(device, "/driver"));
        pool_name(errors, &path.child("pool"), str_at(device, "/pool"));
        dns_label(errors, &path.child("device"), str_at(device, "/device"));
        share(errors, &path, device);
        let id = id(device);
        let shown = format!("{}/{}/{}", id[0], id[1], id[2]);
        if !allocated.contains(&id) {
            errors.invalid_str(&path, &shown, "must be an allocated device in the claim");
        }
        validate_device_status(errors, &path, device);
        if !seen.insert(id) {
            errors.duplicate(&path, &shown.into());
        }
    }
}

/// What a driver tells of an allocated device.
fn validate_device_status(errors: &mut Errors, path: &Path<'_>, device: &Value) {
    const CONDITIONS_MAX: usize = 8;
    const NAME_MAX: usize = 256;
    const HARDWARE_ADDRESS_MAX: usize = 128;
    const ADDRESSES_MAX: usize = 16;
    let (conditions, count) = (path.child("conditions"), list_at(device, "/conditions").len());
    if count > CONDITIONS_MAX {
        errors.too_many(&conditions, count, CONDITIONS_MAX);
    }
    conditions::validate(errors, &conditions, device);
    if !at(device, "/data").is_null() {
        raw_object(errors, &path.child("data"), at(device, "/data"));
    }
    let path = path.child("networkData");
    let network = at(device, "/networkData");
    for (field, most) in [("interfaceName", NAME_MAX), ("hardwareAddress", HARDWARE_ADDRESS_MAX)] {
        if str_at(network, &format!("/{field}")).len() > most {
            errors.too_long(&path.child(field), most);
        }
    }
    let text = |address: &Value| address.as_str().unwrap_or_default().to_owned();
    each_once(
        errors,
        &path.child("ips"),
        list_at(network, "/ips"),
        ADDRESSES_MAX,
        text,
        |errors, path, address| {
            ip::interface_address(errors, path, address.as_str().unwrap_or_default());
        },
    );
}

/// The share of a device, by its uid.
fn share(errors: &mut Errors, path: &Path<'_>, owner: &Value) {
    const LENGTH: usize = 36;
    let Some(uid) = opt_str(owner, "/shareID") else { return };
    let path = path.child("shareID");
    match uuid::Uuid::parse_str(uid) {
        Err(_) => {
            // Bare, plain, in braces, and as a URN.
            let why = match uid.len() {
                32 | LENGTH | 38 | 45 => "invalid UUID format".to_owned(),
                other => format!("invalid UUID length: {other}"),
            };
            errors.invalid_str(&path, uid, &format!("error validating uid: {why}"));
        }
        Ok(_) if uid.len() == LENGTH && !uid.contains(|c: char| c.is_ascii_uppercase()) => {}
        Ok(_) => {
            let why = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
            errors.invalid_str(&path, uid, why);
        }
    }
}

fn validate_allocation(errors: &mut Errors, path: &Path<'_>, allocation: &Value, requests: &Requests<'_>) {
    let devices = path.child("devices");
    each(
        errors,
        &devices.child("results"),
        list_at(allocation, "/devices/results"),
        MOST,
        |errors, path, result| {
            requests.validate_reference(errors, &path.child("request"), str_at(result, "/request"));
            driver_name(errors, &path.child("driver"), str_at(result, "/driver"));
            pool_name(errors, &path.child("pool"), str_at(result, "/pool"));
            dns_label(errors, &path.child("device"), str_at(result, "/device"));
            binding_conditions(errors, path, result);
            share(errors, path, result);
        },
    );
    let configs = list_at(allocation, "/devices/config");
    each(errors, &devices.child("config"), configs, 2 * MOST, |errors, path, config| {
        if required(errors, path, config, "source") {
            one_of(errors, path, config, "source", &["FromClaim", "FromClass"]);
        }
        requests.validate_references(errors, &path.child("requests"), list_at(config, "/requests"));
        configuration(errors, path, config);
    });
    if has(allocation, "/nodeSelector") {
        validate_node_selector(errors, &path.child("nodeSelector"), at(allocation, "/nodeSelector"));
    }
}
