//! Ingress classes.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::access::{get, has, opt_str, set_default, str_at};
use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of ingress classes.
pub struct IngressClass;

impl Kind for IngressClass {
    fn default(&self, class: &mut Value) {
        if has(class, "/spec/parameters") {
            set_default(class, "/spec/parameters/scope", "Cluster");
        }
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

const COLUMNS: &[Column] = &[
    NAME,
    column("Controller", "string", "Controller that is responsible for handling this class"),
    column("Parameters", "string", "A reference to a resource with additional parameters"),
    AGE,
];
