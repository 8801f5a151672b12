//! CEL: parsing, checking and evaluating within a budget.

use arbitrary::Unstructured;
use vkube_apiserver::cel::{Budget, Program, Scope, Type, Value, Variables, value::Object};

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(object) = crate::any(&mut u, 3) else { return };
    let Ok(text) = std::str::from_utf8(u.take_rest()) else { return };
    let Ok(program) = Program::parse(text) else { return };
    let _ =
        program.check(text, &Scope { variables: &[("self", Type::Dyn)], patches: true, ..Scope::default() });
    let mut variables = Variables::default();
    if let Some(map) = object.as_object() {
        variables.set("self", Value::Object(Object { map, schema: None }));
    }
    if let Ok(value) = program.evaluate(&variables, &mut Budget::new(20_000)) {
        value.to_text();
    }
}
