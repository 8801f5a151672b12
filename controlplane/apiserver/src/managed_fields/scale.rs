//! Ownership across the scale subresource: the replicas of an object are the replicas of its scale.

use serde_json::Value;

use super::{
    element::Element,
    managers::{self, Invalid, Owned},
    set::Set,
};

const SCALE_VERSION: &str = "autoscaling/v1";

/// Gives `scale` the entries of `parent` that own replicas, which are at `replicas` in it
/// (dotted, such as `spec.replicas`).
pub fn to_scale(parent: &Value, scale: &mut Value, replicas: &str) -> Result<(), Invalid> {
    let path = path(replicas);
    let mut owners = managers::decode(parent)?;
    owners.retain(|_, owned| owned.set.has(&path));
    for owned in owners.values_mut() {
        owned.set = Set::of_fields(&["spec.replicas"]);
        owned.api_version = SCALE_VERSION.into();
    }
    managers::encode(scale, owners);
    Ok(())
}

/// Brings the ownership of replicas from `scale` back to `parent`, a live object of `api_version`.
pub fn to_parent(
    parent: &mut Value,
    scale: &Value,
    api_version: &str,
    replicas: &str,
) -> Result<(), Invalid> {
    let path = path(replicas);
    let mut of_scale = managers::decode(scale)?;
    of_scale.retain(|_, owned| owned.set.has(&self::path("spec.replicas")));
    let mut owners = managers::decode(parent)?;
    owners.retain(|id, owned| {
        if owned.set.has(&path) && of_scale.remove(id).is_none() {
            owned.set.subtract(&Set::of_fields(&[replicas]));
        }
        !owned.set.is_empty()
    });
    for (mut id, _) in of_scale {
        if !id.api_version.is_empty() {
            id.api_version = api_version.into();
        }
        // As in Kubernetes, the time of a new entry is not carried over.
        let fresh = || Owned { set: Set::default(), api_version: api_version.into(), time: None };
        owners.entry(id).or_insert_with(fresh).set.extend(Set::of_fields(&[replicas]));
    }
    managers::encode(parent, owners);
    Ok(())
}

fn path(dotted: &str) -> Vec<Element> {
    dotted.split('.').map(|name| Element::Field(name.into())).collect()
}
