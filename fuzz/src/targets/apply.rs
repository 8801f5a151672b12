//! Server-side apply: two managers in turn; the second time nothing changes.

use arbitrary::{Result, Unstructured};
use serde_json::Value;
use vkube_apiserver::{
    managed_fields::{self, Request, Reset},
    schema::{
        decode::{self, hollow::Hollow},
        types::Type,
    },
};

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let resource = crate::resource(u)?;
    let ty = Type::builtin(resource.type_name).ok_or(arbitrary::Error::IncorrectFormat)?;
    let api_version = match resource.group {
        "" => resource.version.to_owned(),
        group => format!("{group}/{}", resource.version),
    };
    let mut live = None;
    for manager in ["a", "b", "a"] {
        let mut value = crate::value(u, ty)?;
        crate::without_nulls(&mut value);
        let Ok((mut config, _)) = decode::decode(value, ty) else { return Ok(()) };
        let Some(fields) = config.as_object_mut() else { return Ok(()) };
        fields.insert("apiVersion".into(), api_version.as_str().into());
        fields.insert("kind".into(), resource.kind.into());
        fields.entry("metadata").or_insert_with(|| serde_json::json!({}));
        let request = Request {
            manager,
            api_version: &api_version,
            kind: resource.kind,
            subresource: "",
            ty,
            now: jiff::Timestamp::UNIX_EPOCH,
            reset: &Reset::NONE,
            convert: None,
        };
        // What comes of it is decoded before it is stored: what is null becomes what Go writes for it, and what is
        // empty becomes null.
        let applied = |live: Option<&Value>, force| {
            let object = managed_fields::apply(live, &config, force, &request).ok()?;
            let (mut object, _) = decode::decode(object, ty).ok()?;
            Hollow::out(&mut object, ty);
            Some(object)
        };
        let Some(object) = applied(live.as_ref(), u.arbitrary()?) else { continue };
        // An object of which nobody owns anything is taken for one that was never applied.
        let is_owned = object.pointer("/metadata/managedFields").is_some();
        if let Some(again) = applied(Some(&object), true).filter(|_| is_owned) {
            assert_eq!(again, object, "{config}");
        }
        live = Some(object);
    }
    Ok(())
}

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}
