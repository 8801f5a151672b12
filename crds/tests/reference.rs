//! `docs/reference.md` lists every field of the CRDs. `VKUBE_UPDATE=1 cargo test -p vkube-crds` rewrites it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use serde_json::Value;
use vkube_crds::{cluster_api_crds, policy_crd, virtual_cluster_crd};

const HEAD: &str = "\
# Every field

Generated from the CRDs. `[]` stands for the elements of a list, `*` for the keys of a map. Of a `VirtualCluster` only `spec`
is yours; what the operator makes of it is in `status`.
";

#[test]
fn the_reference_is_up_to_date() {
    let mut generated = HEAD.to_owned();
    for crd in [vec![virtual_cluster_crd(), policy_crd()], cluster_api_crds()].concat() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let schema = &schema["openAPIV3Schema"];
        for part in ["spec", "status"].into_iter().filter(|part| schema["properties"].get(part).is_some()) {
            generated += &format!("\n## {} `{part}`\n\n", crd.spec.names.kind);
            generated += "| field | type | meaning |\n|---|---|---|\n";
            fields(&schema["properties"][part], "", &mut generated);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    if std::env::var_os("VKUBE_UPDATE").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "docs/reference.md is stale: run `VKUBE_UPDATE=1 cargo test -p vkube-crds`"
    );
}

fn fields(schema: &Value, path: &str, text: &mut String) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let meaning =
            field["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        text.push_str(&format!("| `{path}` | {} | {meaning} |\n", kind(field)));
        fields(field, &path, text);
        fields(&field["items"], &format!("{path}[]"), text);
        fields(&field["additionalProperties"], &format!("{path}.*"), text);
    }
}

fn kind(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "quantity".into();
    }
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<_> =
            values.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return values.join(", ");
    }
    match field["type"].as_str().unwrap_or("any") {
        "array" => format!("list of {}", kind(&field["items"])),
        "object" if field["additionalProperties"].is_object() => {
            format!("map to {}", kind(&field["additionalProperties"]))
        }
        other => other.to_owned(),
    }
}
