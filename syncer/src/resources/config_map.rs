//! ConfigMaps: those that something on the host refers to. All fields are the virtual side's.

use k8s_openapi::api::core::v1::ConfigMap;

use super::mirror::{is_needed, mirror, mirrored};
use crate::context::{Context, Kind};
use crate::error::Result;
use crate::labels::{ObjectKey, Translator};
use crate::queue::Outcome;

/// Brings one ConfigMap in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let needed = is_needed(cx, Kind::ConfigMap, key);
    let object = if needed { cx.virtual_object::<ConfigMap>(key).await? } else { None };
    let desired = mirrored(cx, Kind::ConfigMap, object, to_host)?;
    mirror(cx, Kind::ConfigMap, key, &cx.host_side.config_maps, desired).await
}

/// `immutable` stays behind: the virtual API server enforces it, and the host copy must be able to follow a
/// virtual ConfigMap that was deleted and made anew.
fn to_host(translator: &Translator, object: ConfigMap) -> ConfigMap {
    ConfigMap {
        metadata: translator.metadata("ConfigMap", &object.metadata),
        data: object.data,
        binary_data: object.binary_data,
        immutable: None,
    }
}
