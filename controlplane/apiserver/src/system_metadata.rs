//! The metadata that only the server writes.

use jiff::Timestamp;
use rand::Rng;
use serde_json::Value;

use crate::{metadata, resource::Definition};

/// Letters of generated names; without vowels, so that they spell nothing.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const MAX_GENERATED: usize = 63;

/// Removes what a creator cannot say, before anybody comes to own it.
pub fn wipe(object: &mut Value) {
    for field in ["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata::remove(object, field);
    }
}

/// Removes repeated owner references; the answer is the warning about them.
pub fn dedup_owners(object: &mut Value) -> Option<String> {
    let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut)?;
    let (mut kept, mut repeated): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            repeated.push(owner.get("uid").and_then(Value::as_str).unwrap_or_default().into());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    (!repeated.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            repeated.join(", ")
        )
    })
}

/// Fills in what a new object gets: uid, creation time, name and generation; clears what it cannot have.
pub fn prepare_create(object: &mut Value, definition: &Definition, now: Timestamp) {
    wipe(object);
    metadata::remove(object, "resourceVersion");
    metadata::set(object, "uid", uuid::Uuid::new_v4().to_string());
    metadata::set(object, "creationTimestamp", metadata::time(now));
    if metadata::name(object).is_empty() {
        let prefix = metadata::text(object, "generateName").to_owned();
        if !prefix.is_empty() {
            metadata::set(object, "name", generated_name(&prefix));
        }
    }
    if has_generation(definition) {
        metadata::set(object, "generation", 1);
    }
    if definition.has_status() && !definition.rules().status_on_create() {
        metadata::set_top(object, "status", None);
    }
}

fn has_generation(definition: &Definition) -> bool {
    matches!(definition, Definition::Custom(_)) || !definition.rules().generation_fields().is_empty()
}

/// A name that starts with this prefix.
pub fn generated_name(prefix: &str) -> String {
    let mut end = prefix.len().min(MAX_GENERATED - SUFFIX_LENGTH);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_owned();
    let mut rng = rand::rng();
    name.extend((0..SUFFIX_LENGTH).map(|_| char::from(SUFFIX[rng.random_range(0..SUFFIX.len())])));
    name
}

/// Restores what an updater cannot change; with a subresource, everything that is not its part.
pub fn prepare_update(object: &mut Value, old: &Value, definition: &Definition, subresource: &str) {
    if subresource == "status" {
        let status = object.get("status").cloned();
        if matches!(definition, Definition::Custom(_)) {
            let managed = metadata::get(object, "managedFields").cloned();
            *object = old.clone();
            match managed {
                Some(managed) => metadata::set(object, "managedFields", managed),
                None => {
                    metadata::remove(object, "managedFields");
                }
            }
        } else {
            let new_metadata = object.get("metadata").cloned();
            *object = old.clone();
            metadata::set_top(object, "metadata", new_metadata);
        }
        metadata::set_top(object, "status", status);
    } else if definition.has_status() && subresource.is_empty() {
        metadata::set_top(object, "status", old.get("status").cloned());
    }
    if metadata::text(object, "uid").is_empty() {
        metadata::restore(object, "uid", old);
    }
    for field in ["creationTimestamp", "generation", "selfLink"] {
        metadata::restore(object, field, old);
    }
    // Of a deletion, nothing can be taken back. What is added or changed is left for validation to refuse.
    if metadata::is_terminating(old) {
        metadata::restore(object, "deletionTimestamp", old);
    }
    if metadata::get(object, "deletionGracePeriodSeconds").is_none() {
        metadata::restore(object, "deletionGracePeriodSeconds", old);
    }
}

/// Counts a change of what the kind's generation counts.
pub fn bump_generation(object: &mut Value, old: &Value, definition: &Definition) {
    let changed = match definition {
        Definition::Custom(_) => {
            let without = |o: &Value| {
                let mut map = o.as_object().cloned().unwrap_or_default();
                map.remove("metadata");
                if definition.has_status() {
                    map.remove("status");
                }
                map
            };
            without(object) != without(old)
        }
        Definition::Builtin(_) => {
            definition.rules().generation_fields().iter().any(|field| object.get(*field) != old.get(*field))
        }
    };
    if changed {
        metadata::set(object, "generation", metadata::generation(old) + 1);
    }
}
