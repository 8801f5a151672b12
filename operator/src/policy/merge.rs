//! What a cluster asks for, once its policy has had its say.
//!
//! Merging works on JSON, so that a new field takes part without a line here: maps merge, everything else replaces.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vkube_crds::{EnforcedField, PolicySettings, Quantity, VirtualClusterPolicy, VirtualClusterSpec};

/// A spec after defaults and enforcement.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The spec to build.
    pub spec: VirtualClusterSpec,
    /// Where the policy overruled the cluster.
    pub enforced: Vec<EnforcedField>,
}

/// Merges the policy's defaults below and its enforced settings above what the cluster asks for, and bounds its quota. It
/// asks by `config`, sections of a spec, and over that by its spec.
pub fn merge(
    spec: &VirtualClusterSpec,
    config: Map<String, Value>,
    policy: Option<&VirtualClusterPolicy>,
) -> Result<Effective, serde_json::Error> {
    if config.is_empty() && policy.is_none() {
        return Ok(Effective { spec: spec.clone(), enforced: Vec::new() });
    }
    let mut requested = Value::Object(config);
    overlay(&mut requested, &serde_json::to_value(spec)?);
    let Some(policy) = policy else {
        return Ok(Effective { spec: serde_json::from_value(requested)?, enforced: Vec::new() });
    };
    let mut effective = settings(policy.spec.defaults.as_ref())?;
    overlay(&mut effective, &requested);
    let mut enforced = Vec::new();
    if let Some(above) = &policy.spec.enforced {
        let above = serde_json::to_value(above)?;
        overruled(&requested, &above, "", &mut enforced);
        overlay(&mut effective, &above);
    }
    let mut spec: VirtualClusterSpec = serde_json::from_value(effective)?;
    if let Some(constraints) = &policy.spec.constraints {
        enforced.extend(constraints.max_lifetime.as_ref().and_then(|most| shortened(&mut spec, most)));
        enforced.extend(bounded(&spec, &constraints.max_resource_quota));
    }
    Ok(Effective { spec, enforced })
}

fn settings(settings: Option<&PolicySettings>) -> Result<Value, serde_json::Error> {
    settings.map_or_else(|| Ok(Value::Object(Map::new())), serde_json::to_value)
}

/// Lays `above` over `below`: maps merge, everything else replaces.
pub fn overlay(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                overlay(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}

/// Lists each leaf of `enforced` for which `requested` asks something else.
fn overruled(requested: &Value, enforced: &Value, path: &str, found: &mut Vec<EnforcedField>) {
    match (requested, enforced) {
        (Value::Object(requested), Value::Object(enforced)) => {
            for (key, value) in enforced {
                let Some(asked) = requested.get(key) else { continue };
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                overruled(asked, value, &path, found);
            }
        }
        (requested, enforced) if requested != enforced => found.push(EnforcedField {
            path: path.to_owned(),
            requested: display(requested),
            effective: display(enforced),
        }),
        _ => {}
    }
}

/// Strings without quotes, anything else as JSON.
fn display(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Bounds the cluster's lifetime. What cannot be read as a duration is left to be complained about.
fn shortened(spec: &mut VirtualClusterSpec, most: &str) -> Option<EnforcedField> {
    let read = |text: &str| text.parse::<kube::core::Duration>().ok().map(std::time::Duration::from);
    let bound = read(most)?;
    let asked =
        &mut spec.lifecycle.get_or_insert_default().delete_after.get_or_insert_default().since_creation;
    if asked.as_deref().is_some_and(|asked| read(asked).is_none_or(|asked| asked <= bound)) {
        return None;
    }
    let requested = asked.replace(most.to_owned())?;
    let path = "lifecycle.deleteAfter.sinceCreation".into();
    Some(EnforcedField { path, requested, effective: most.to_owned() })
}

/// Where the policy's bounds are below what the spec asks of its quota. The bounds themselves are applied with the
/// built-in totals, by [`crate::settings`].
fn bounded(spec: &VirtualClusterSpec, bounds: &BTreeMap<String, Quantity>) -> Vec<EnforcedField> {
    let Some(quota) = spec.isolation.as_ref().and_then(|isolation| isolation.resource_quota.as_ref()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if quota.enabled == Some(false) && !bounds.is_empty() {
        found.push(EnforcedField {
            path: "isolation.resourceQuota.enabled".into(),
            requested: "false".into(),
            effective: "true".into(),
        });
    }
    for (name, bound) in bounds {
        let asked = quota.hard.get(name).filter(|asked| asked.compare(bound).is_some_and(Ordering::is_gt));
        found.extend(asked.map(|asked| EnforcedField {
            path: format!("isolation.resourceQuota.hard.{name}"),
            requested: asked.0.clone(),
            effective: bound.0.clone(),
        }));
    }
    found
}
