//! JSON patches, merge patches and strategic merge patches of any object.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use serde_json::{Value, json};
use vkube_apiserver::{
    handlers::patch::{self, Form, Sent},
    options::FieldValidation,
    patch::{json_patch, merge_patch, strategic},
};

fn operation(u: &mut Unstructured<'_>) -> Result<Value> {
    const OPERATIONS: &[&str] = &["add", "remove", "replace", "move", "copy", "test", "x"];
    const STEPS: &[&str] =
        &["metadata", "name", "labels", "spec", "containers", "0", "-", "1", "a", "~0", "~1", ""];
    let mut path = || {
        let count = u.int_in_range(0..=4)?;
        (0..count).map(|_| Ok(format!("/{}", u.choose(STEPS)?))).collect::<Result<String>>()
    };
    let (path, from) = (path()?, path()?);
    let mut operation = json!({"op": u.choose(OPERATIONS)?, "path": path, "from": from});
    operation["value"] = crate::any(u, 3)?;
    Ok(operation)
}

/// Puts directives into a strategic patch, at any depth.
fn direct(u: &mut Unstructured<'_>, patch: &mut Value) -> Result<()> {
    match patch {
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            fields.values_mut().try_for_each(|value| direct(u, value))?;
            if !u.ratio(1, 3)? {
                return Ok(());
            }
            let name = names.first().map_or("a", String::as_str);
            let (directive, value) = match u.int_in_range(0..=4)? {
                0 => ("$patch".into(), json!(u.choose(&["delete", "replace", "merge", "x"])?)),
                1 => ("$retainKeys".into(), json!(names)),
                2 => (format!("$setElementOrder/{name}"), json!([{"name": "b"}, {"name": "a"}, "x"])),
                3 => (format!("$deleteFromPrimitiveList/{name}"), json!(["a", 1])),
                _ => (format!("${name}"), crate::any(u, 2)?),
            };
            fields.insert(directive, value);
        }
        Value::Array(items) => {
            items.iter_mut().try_for_each(|item| direct(u, item))?;
            if u.ratio(1, 6)? {
                items.push(json!({"$patch": u.choose(&["replace", "delete"])?, "name": "a"}));
            }
        }
        _ => {}
    }
    Ok(())
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let ty = crate::ty(u)?;
    let object = crate::value(u, ty)?;
    let mut patched = object.clone();
    match u.int_in_range(0..=3)? {
        0 => {
            let count = u.int_in_range(0..=4)?;
            let operations = (0..count).map(|_| operation(u)).collect::<Result<Vec<_>>>()?;
            let _ = json_patch::apply(&mut patched, &operations.into());
        }
        1 => {
            let _ = merge_patch::apply(&mut patched, crate::value(u, ty)?);
        }
        2 => {
            let mut patch = crate::value(u, ty)?;
            direct(u, &mut patch)?;
            let _ = strategic::apply(&mut patched, patch, ty);
        }
        _ => {
            let form = *u.choose(&[Form::Json, Form::Merge, Form::Strategic])?;
            let text = Bytes::copy_from_slice(u.bytes(u.len())?);
            let validation = *u.choose(&[FieldValidation::Ignore, FieldValidation::Strict])?;
            let _ = patch::patched(&mut patched, Sent { form, body: &text, validation }, ty);
        }
    }
    Ok(())
}

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}
