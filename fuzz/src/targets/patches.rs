//! JSON patches, merge patches and strategic merge patches of any object.

use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};
use vkube_apiserver::patch::{json_patch, merge_patch, strategic};

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

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let ty = crate::ty(u)?;
    let object = crate::value(u, ty)?;
    let mut patched = object.clone();
    match u.int_in_range(0..=2)? {
        0 => {
            let count = u.int_in_range(0..=4)?;
            let operations = (0..count).map(|_| operation(u)).collect::<Result<Vec<_>>>()?;
            let _ = json_patch::apply(&mut patched, &operations.into());
        }
        1 => {
            let _ = merge_patch::apply(&mut patched, crate::value(u, ty)?);
        }
        _ => {
            const DIRECTIVES: &[&str] =
                &["$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/a"];
            let mut patch = crate::value(u, ty)?;
            if let Some(patch) = patch.as_object_mut() {
                let directive = (*u.choose(DIRECTIVES)?).to_owned();
                patch.insert(directive, crate::any(u, 2)?);
            }
            let _ = strategic::apply(&mut patched, patch, ty);
        }
    }
    Ok(())
}

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}
