//! API services: which server answers for which group and version.

use jiff::Timestamp;
use serde_json::Value;

use crate::aggregation::registration;
use crate::field::{Errors, Path};
use crate::registry::access::{at, bool_at, has, int_at, list_at, make_map, of_type, set_default, str_at};
use crate::registry::core::config_map::decoded_size;
use crate::registry::kind::{Column, Kind, NameRule, Writer};
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::{dns_subdomain, required};
use crate::validation::{formats, names};

/// The rules of API services.
pub struct ApiService;

impl Kind for ApiService {
    fn default(&self, service: &mut Value) {
        if has(service, "/spec/service") {
            set_default(service, "/spec/service/port", 443);
        }
        make_map(service, "/status");
    }

    fn prepare_create(&self, service: &mut Value, _writer: &Writer<'_>) {
        make_map(service, "/status");
        if !has(service, "/spec/service") {
            registration::set_available(service, Timestamp::now());
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    /// `validate` demands a certain name.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn validate(&self, service: &Value) -> Errors {
        let mut errors = Errors::default();
        let (spec, path) = (at(service, "/spec"), Path::new("spec"));
        validate_identity(&mut errors, service);
        for (field, max) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
            let priority = int_at(spec, &format!("/{field}"));
            if !(1..=max).contains(&priority) {
                let why = format!("must be positive and less than {max}");
                errors.invalid(&path.child(field), &priority.into(), &why);
            }
        }
        let (bundle, insecure) =
            (decoded_size(at(spec, "/caBundle")), bool_at(spec, "/insecureSkipTLSVerify"));
        let insecure_path = path.child("insecureSkipTLSVerify");
        if !has(spec, "/service") {
            if bundle != 0 {
                let shown = format!("{bundle} bytes");
                errors.invalid_str(
                    &path.child("caBundle"),
                    &shown,
                    "local APIServices may not have a caBundle",
                );
            }
            if insecure {
                let why = "local APIServices may not have insecureSkipTLSVerify";
                errors.invalid(&insecure_path, &true.into(), why);
            }
            return errors;
        }
        let (target, path) = (at(spec, "/service"), path.child("service"));
        required(&mut errors, &path, target, "namespace");
        required(&mut errors, &path, target, "name");
        let port = int_at(target, "/port");
        let wrong = formats::port_number(port);
        if !wrong.is_empty() {
            let why = format!("port is not valid: {}", wrong.join(", "));
            errors.invalid(&path.child("port"), &port.into(), &why);
        }
        if insecure && bundle != 0 {
            errors.invalid(&insecure_path, &true.into(), "may not be true if caBundle is present");
        }
        errors
    }

    fn validate_status_update(&self, service: &Value, _old: &Value) -> Errors {
        let mut errors = Errors::default();
        let status = Path::new("status");
        let path = status.child("conditions");
        for (index, condition) in list_at(service, "/status/conditions").iter().enumerate() {
            let known = ["True", "False", "Unknown"];
            let status = at(condition, "/status");
            if !known.iter().any(|known| status == known) {
                errors.not_supported(&path.index(index).child("status"), status, &known);
            }
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, service: &Value, now: Timestamp) -> Vec<Value> {
        let provider = if has(service, "/spec/service") {
            format!(
                "{}/{}",
                str_at(service, "/spec/service/namespace"),
                str_at(service, "/spec/service/name")
            )
        } else {
            "Local".into()
        };
        let available = match of_type(list_at(service, "/status/conditions"), "Available") {
            None => "Unknown".into(),
            Some(condition) => match (str_at(condition, "/status"), str_at(condition, "/reason")) {
                ("True", _) => "True".into(),
                (status, reason) => format!("{status} ({reason})"),
            },
        };
        vec![name(service), provider.into(), available.into(), age(service, now)]
    }
}

/// The name says group and version.
fn validate_identity(errors: &mut Errors, service: &Value) {
    let (group, version) = (str_at(service, "/spec/group"), str_at(service, "/spec/version"));
    let (metadata, spec) = (Path::new("metadata"), Path::new("spec"));
    let (name, named) = (str_at(service, "/metadata/name"), format!("{version}.{group}"));
    if names::path_segment(name).is_empty() && name != named {
        let why = format!("must be `spec.version+\".\"+spec.group`: {named:?}");
        errors.invalid_str(&metadata.child("name"), name, &why);
    }
    if !group.is_empty() {
        dns_subdomain(errors, &spec.child("group"), group);
    } else if version != "v1" {
        let why = "only v1 may have an empty group and it better be legacy kube";
        errors.required(&spec.child("group"), why);
    }
    for why in names::dns1035_label(version) {
        errors.invalid_str(&spec.child("version"), version, &why);
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Service", "string", "The reference to the service that hosts this API endpoint."),
    column("Available", "string", "Whether this service is available."),
    AGE,
];
