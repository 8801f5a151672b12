//! The charts of `config/` as Helm renders them with their default values, for the few constructs that they use: Helm is
//! not at hand where the tests run.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// All objects of the chart in a folder, its CRDs first, released into `namespace`.
pub fn render(folder: &Path, namespace: &str) -> String {
    let values = fs::read_to_string(folder.join("values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    let mut documents = Vec::new();
    for part in ["crds", "templates"] {
        let Ok(files) = fs::read_dir(folder.join(part)) else { continue };
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files {
            documents.push(fill(&fs::read_to_string(file).unwrap(), namespace, &values));
        }
    }
    documents.retain(|document| !document.trim().is_empty());
    documents.join("---\n")
}

fn fill(template: &str, namespace: &str, values: &Value) -> String {
    let mut text = String::new();
    let mut left_out = false;
    for line in template.lines() {
        if let Some(value) = line.strip_prefix("{{- if .Values.").and_then(|rest| rest.strip_suffix(" }}")) {
            left_out = values[value] != true;
        } else if line == "{{- end }}" {
            left_out = false;
        } else if !left_out {
            text.push_str(line);
            text.push('\n');
        }
    }
    text = text.replace("{{ .Release.Namespace }}", namespace);
    for (name, value) in values.as_object().unwrap() {
        let plain = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        text = text.replace(&format!("{{{{ .Values.{name} }}}}"), &plain);
        text = text.replace(&format!("{{{{ toJson .Values.{name} }}}}"), &value.to_string());
    }
    assert!(!text.contains("{{"), "a construct that Helm knows and this does not: {text}");
    text
}
