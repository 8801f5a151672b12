//! Ingress classes.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, opt_str, set_default, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::{
    dns_label, dns_subdomain, immutable_field, required, required_one_of, required_segment,
};
use crate::validation::formats;

/// The rules of ingress classes.
pub struct IngressClass;

impl Kind for IngressClass {
    fn default(&self, class: &mut Value) {
        if has(class, "/spec/parameters") {
            set_default(class, "/spec/parameters/scope", "Cluster");
        }
    }

    fn validate(&self, class: &Value) -> Errors {
        let mut errors = Errors::default();
        let spec = at(class, "/spec");
        if required(&mut errors, &SPEC, spec, "controller") {
            let controller = str_at(spec, "/controller");
            if controller.len() > MAX_CONTROLLER {
                errors.too_long(&SPEC.child("controller"), MAX_CONTROLLER);
            }
            for (shown, why) in formats::domain_prefixed_path(controller) {
                errors.invalid_str(&SPEC.child("controller"), &shown, &why);
            }
        }
        if let Some(parameters) = get(spec, "/parameters") {
            validate_parameters(&mut errors, &SPEC.child("parameters"), parameters);
        }
        errors
    }

    fn validate_update(&self, class: &Value, old: &Value) -> Errors {
        let mut errors = Errors::default();
        immutable_field(&mut errors, &SPEC, at(class, "/spec"), at(old, "/spec"), "controller");
        errors.extend(self.validate(class));
        errors
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        let parameters = match get(class, "/spec/parameters") {
            None => "<none>".into(),
            Some(parameters) => {
                let group =
                    opt_str(parameters, "/apiGroup").map(|group| format!(".{group}")).unwrap_or_default();
                format!("{}{group}/{}", str_at(parameters, "/kind"), str_at(parameters, "/name"))
            }
        };
        vec![name(class), str_at(class, "/spec/controller").into(), parameters.into(), age(class, now)]
    }
}

const SPEC: Path<'static> = Path::new("spec");
const MAX_CONTROLLER: usize = 250;

fn validate_parameters(errors: &mut Errors, path: &Path<'_>, parameters: &Value) {
    if let Some(group) = opt_str(parameters, "/apiGroup") {
        dns_subdomain(errors, &path.child("apiGroup"), group);
    }
    required_segment(errors, path, parameters, "kind");
    required_segment(errors, path, parameters, "name");
    required_one_of(errors, path, parameters, "scope", &["Cluster", "Namespace"]);
    let namespace = opt_str(parameters, "/namespace");
    let namespace_path = path.child("namespace");
    match (str_at(parameters, "/scope"), namespace) {
        ("Namespace", None) => errors.required(&namespace_path, "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", Some(namespace)) => dns_label(errors, &namespace_path, namespace),
        ("Cluster", Some(_)) => errors.forbidden(&namespace_path, "`parameters.scope` is set to 'Cluster'"),
        _ => {}
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Controller", "string", "Controller that is responsible for handling this class"),
    column("Parameters", "string", "A reference to a resource with additional parameters"),
    AGE,
];
