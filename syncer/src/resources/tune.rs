//! What the settings change on the way of an object: whether it is synchronised, and patches.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::DynamicObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::context::{Context, Kind};
use crate::error::{Error, Result};
use crate::labels::is_ours;
use crate::rules::Patch;
use crate::rules::patch;
use crate::rules::selector::chooses;

/// Whether the settings choose an object of a kind with code of its own.
pub(super) fn is_chosen(cx: &Context, kind: Kind, metadata: &ObjectMeta) -> bool {
    let config = &cx.translator.config;
    let tuning = config.rules.tuning(kind);
    config.syncs(kind) && tuning.is_none_or(|tuning| chooses(&tuning.selector, metadata.labels.as_ref()))
}

/// `desired`, the host form of `source`, as the settings change it.
pub(crate) fn tuned<K>(cx: &Context, kind: Kind, source: &K, desired: K) -> Result<K>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    let patches = cx.translator.config.rules.tuning(kind).map_or(&[][..], |tuning| &tuning.patches);
    if patches.is_empty() {
        return Ok(desired);
    }
    let unreadable = |error: serde_json::Error| {
        Error::Unsupported(format!("after its patches it is no {} any more: {error}", kind.name()))
    };
    let source = serde_json::to_value(source).map_err(unreadable)?;
    let mut object = serde_json::to_value(&desired).map_err(unreadable)?;
    patched(patches, &source, &mut object)?;
    serde_json::from_value(object).map_err(unreadable)
}

/// Like [`tuned`], by the patches of a rule.
pub(super) fn tuned_by_rule(
    patches: &[Patch],
    source: &Value,
    desired: DynamicObject,
) -> Result<DynamicObject> {
    if patches.is_empty() {
        return Ok(desired);
    }
    let unreadable = |error: serde_json::Error| Error::Unsupported(error.to_string());
    let mut object = serde_json::to_value(&desired).map_err(unreadable)?;
    patched(patches, source, &mut object)?;
    serde_json::from_value(object).map_err(unreadable)
}

/// Applies the expressions among `patches`. Whose an object is, and by what name, they cannot change.
fn patched(patches: &[Patch], source: &Value, object: &mut Value) -> Result<()> {
    let before = object.get("metadata").cloned().unwrap_or_default();
    patch::apply(patches, source, object)?;
    let Some(object) = object.as_object_mut() else { return Ok(()) };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let after = std::mem::take(metadata);
    *metadata = before;
    for field in ["labels", "annotations"] {
        let kept = metadata.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
        let wanted = after.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
        let ours = kept.into_iter().filter(|(key, _)| is_ours(key));
        let theirs = wanted.into_iter().filter(|(key, value)| !is_ours(key) && value.is_string());
        metadata[field] = Value::Object(ours.chain(theirs).collect());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::Expression;
    use crate::rules::path::Path;

    fn set(path: &str, value: Value) -> Patch {
        let expression = Expression::new(move |_| Ok(value.clone()));
        Patch::Set { path: Path::parse(path).unwrap(), text: path.into(), expression }
    }

    #[test]
    fn patches_cannot_change_whose_an_object_is() {
        let object = json!({ "metadata": {
            "name": "a", "namespace": "host",
            "labels": { "vkube.dev/virtual-cluster": "demo", "app": "web" },
            "annotations": { "vkube.dev/object-uid": "u" },
        }});
        let patches = [
            set("metadata.name", json!("b")),
            set("metadata.labels['vkube.dev/virtual-cluster']", json!("other")),
            set("metadata.labels.app", json!("api")),
            set("metadata.labels['vkube.dev/forged']", json!("x")),
            set("metadata.annotations", json!({ "note": "hi" })),
            set("metadata.ownerReferences", json!([{ "uid": "x" }])),
        ];
        let mut patched_object = object.clone();
        patched(&patches, &object, &mut patched_object).unwrap();
        assert_eq!(
            patched_object["metadata"],
            json!({
                "name": "a", "namespace": "host",
                "labels": { "vkube.dev/virtual-cluster": "demo", "app": "api" },
                "annotations": { "vkube.dev/object-uid": "u", "note": "hi" },
            })
        );
    }
}
