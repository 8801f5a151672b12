//! Pod templates.

use jiff::Timestamp;
use serde_json::Value;

use super::pod_spec::{default_template, template_warnings, validate_template};
use crate::field::{Errors, Path};
use crate::registry::access::at;
use crate::registry::kind::{Column, Kind};
use crate::table::{NAME, column, containers, labels, name};

/// The rules of pod templates.
pub struct PodTemplate;

impl Kind for PodTemplate {
    fn default(&self, template: &mut Value) {
        default_template(template, "/template");
    }

    fn warnings(&self, template: &Value, old: Option<&Value>) -> Vec<String> {
        template_warnings(template, old, "template")
    }

    fn validate(&self, template: &Value) -> Errors {
        let mut errors = Errors::default();
        validate_template(&mut errors, &Path::new("template"), at(template, "/template"));
        errors
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["template"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, template: &Value, _now: Timestamp) -> Vec<Value> {
        let [names, images] = containers(template, "/template/spec/containers");
        vec![name(template), names, images, labels(template, "/template/metadata/labels")]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Containers", "string", "Names of each container in the template."),
    column("Images", "string", "Images referenced by each container in the template."),
    column("Pod Labels", "string", "The labels for the pod template."),
];
