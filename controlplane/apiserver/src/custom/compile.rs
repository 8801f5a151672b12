//! From a CustomResourceDefinition to what the server serves of it.

use std::sync::Arc;

use serde_json::Value;

use super::{CustomResource, ScalePointers, Schema, SelectableField, webhook::Webhook};
use crate::{
    registry::{
        Subresource,
        access::{at, bool_at, has, list_at, opt_str, str_at, strs_at},
    },
    resource::api_version,
};

const VERBS: &[&str] = &["get", "patch", "update"];

/// The served versions of a definition that was made at the revision `since`, given the names that it was
/// accepted with.
pub fn compile(definition: &Value, names: &Value, since: u64) -> Vec<Arc<CustomResource>> {
    let versions = list_at(definition, "/spec/versions");
    let stored = versions.iter().find(|v| bool_at(v, "/storage"));
    let webhook = Webhook::read(at(definition, "/spec/conversion")).map(Arc::new);
    let made = |v, stored| CustomResource {
        since,
        webhook: webhook.clone(),
        ..version(definition, names, v, stored)
    };
    let stored = stored.map(|v| Arc::new(made(v, None)));
    versions
        .iter()
        .filter(|v| bool_at(v, "/served"))
        .filter_map(|v| {
            if bool_at(v, "/storage") {
                return stored.clone();
            }
            Some(Arc::new(made(v, stored.clone())))
        })
        .collect()
}

fn version(
    definition: &Value,
    names: &Value,
    version: &Value,
    stored: Option<Arc<CustomResource>>,
) -> CustomResource {
    let name = str_at(version, "/name");
    let texts = |pointer| strs_at(names, pointer).map(Into::into).collect();
    CustomResource {
        group: str_at(definition, "/spec/group").into(),
        version: name.into(),
        kind: str_at(names, "/kind").into(),
        list_kind: str_at(names, "/listKind").into(),
        plural: str_at(definition, "/spec/names/plural").into(),
        singular: str_at(names, "/singular").into(),
        short_names: texts("/shortNames"),
        categories: texts("/categories"),
        namespaced: str_at(definition, "/spec/scope") == "Namespaced",
        subresources: subresources(version),
        scale: scale(version),
        schema: Schema::new(at(version, "/schema/openAPIV3Schema")),
        selectable_fields: selectable_fields(version),
        columns: super::columns::read(list_at(version, "/additionalPrinterColumns")),
        deprecation: deprecation(definition, version),
        terminating: crate::metadata::is_terminating(definition),
        revised: crate::metadata::generation(definition) > 1
            || list_at(definition, "/spec/versions").len() > 1,
        since: 0,
        stored,
        webhook: None,
    }
}

fn subresources(version: &Value) -> Vec<Subresource> {
    let mut subresources = Vec::new();
    if has(version, "/subresources/status") {
        subresources.push(Subresource { name: "status", group: "", version: "", kind: "", verbs: VERBS });
    }
    if has(version, "/subresources/scale") {
        subresources.push(Subresource {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: VERBS,
        });
    }
    subresources
}

fn scale(version: &Value) -> Option<ScalePointers> {
    let scale = version.pointer("/subresources/scale").filter(|s| s.is_object())?;
    Some(ScalePointers {
        spec_replicas: pointer(str_at(scale, "/specReplicasPath")),
        status_replicas: pointer(str_at(scale, "/statusReplicasPath")),
        selector: opt_str(scale, "/labelSelectorPath").filter(|p| !p.is_empty()).map(pointer),
    })
}

fn selectable_fields(version: &Value) -> Vec<SelectableField> {
    list_at(version, "/selectableFields")
        .iter()
        .map(|field| str_at(field, "/jsonPath"))
        .map(|path| SelectableField { name: path.trim_start_matches('.').into(), pointer: pointer(path) })
        .collect()
}

/// A simple JSON path such as `.spec.replicas` as a JSON pointer.
fn pointer(path: &str) -> String {
    path.replace('.', "/")
}

/// What clients of a deprecated version are warned of.
fn deprecation(definition: &Value, version: &Value) -> Option<String> {
    if !bool_at(version, "/deprecated") {
        return None;
    }
    if let Some(warning) = opt_str(version, "/deprecationWarning") {
        return Some(warning.into());
    }
    let group = str_at(definition, "/spec/group");
    let kind = str_at(definition, "/spec/names/kind");
    let name = str_at(version, "/name");
    let mut warning = format!("{} {kind} is deprecated", api_version(group, name));
    // The best version that is served and not deprecated, if it is a better one.
    let better = list_at(definition, "/spec/versions")
        .iter()
        .filter(|v| bool_at(v, "/served") && !bool_at(v, "/deprecated"))
        .map(|v| str_at(v, "/name"))
        .max_by_key(|name| crate::discovery::version_order(name))
        .filter(|best| crate::discovery::version_order(best) > crate::discovery::version_order(name));
    if let Some(better) = better {
        warning.push_str(&format!("; use {} {kind}", api_version(group, better)));
    }
    Some(warning)
}
