//! Lists and maps that are there and empty.
//!
//! Where JSON always shows a list, Go tells an empty one (`[]`) from none (`null`). Clients see the difference in who
//! owns the field and in what admission is shown; storage does not keep it, since protobuf has no word for it.

use serde_json::{Map, Value};

use crate::schema::types::{Shape, Type};

/// What was emptied, by its place.
#[derive(Debug, Default)]
pub struct Hollow(Vec<(String, Value)>);

impl Hollow {
    /// Makes `null` of the lists and maps of a built-in type that storage would not keep.
    pub fn out(value: &mut Value, ty: Type<'_>) -> Self {
        let mut found = Self::default();
        if let Type::Builtin(_) = ty {
            found.look(value, ty, &mut String::new());
        }
        found
    }

    /// The object with what was emptied, where nothing has come in its place; none if that makes no difference.
    pub fn filled(&self, object: &Value) -> Option<Value> {
        let mut filled = (!self.0.is_empty()).then(|| object.clone())?;
        for (place, empty) in &self.0 {
            if let Some(value) = filled.pointer_mut(place).filter(|value| value.is_null()) {
                value.clone_from(empty);
            }
        }
        Some(filled)
    }

    fn look(&mut self, value: &mut Value, ty: Type<'_>, place: &mut String) {
        let length = place.len();
        match (ty.shape(), value) {
            (Shape::Object(described), Value::Object(object)) => {
                for (key, value) in object.iter_mut() {
                    let Some(field) = described.field(key) else { continue };
                    place.push('/');
                    place.push_str(key);
                    if field.always() && is_empty(value, field.ty()) {
                        self.0.push((place.clone(), value.take()));
                    } else {
                        self.look(value, field.ty(), place);
                    }
                    place.truncate(length);
                }
            }
            (Shape::List(list), Value::Array(items)) if !is_flat(list.items()) => {
                for (index, item) in items.iter_mut().enumerate() {
                    place.push('/');
                    place.push_str(&index.to_string());
                    self.look(item, list.items(), place);
                    place.truncate(length);
                }
            }
            (Shape::Map(map), Value::Object(object)) if !is_flat(map.values()) => {
                for (key, item) in object.iter_mut() {
                    place.push('/');
                    place.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    self.look(item, map.values(), place);
                    place.truncate(length);
                }
            }
            _ => {}
        }
    }
}

fn is_empty(value: &Value, ty: Type<'_>) -> bool {
    match ty.shape() {
        Shape::List(_) => value.as_array().is_some_and(Vec::is_empty),
        Shape::Map(_) => value.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

fn is_flat(ty: Type<'_>) -> bool {
    matches!(ty.shape(), Shape::Scalar(_) | Shape::Any)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::decode::decode;

    #[test]
    fn an_empty_list_is_told_from_none_until_it_is_stored() {
        let ty = Type::builtin("io.k8s.api.rbac.v1.Role").unwrap();
        let (mut role, _) = decode(json!({"metadata": {"name": "a"}, "rules": []}), ty).unwrap();
        assert_eq!(role["rules"], json!([]));
        let hollow = Hollow::out(&mut role, ty);
        assert_eq!(role["rules"], Value::Null);
        assert_eq!(hollow.filled(&role).unwrap()["rules"], json!([]));
        assert!(Hollow::out(&mut role, ty).filled(&role).is_none());
    }

    #[test]
    fn an_empty_list_that_may_be_left_out_is_left_out() {
        let ty = Type::builtin("io.k8s.api.core.v1.ServiceAccount").unwrap();
        let (account, _) = decode(json!({"secrets": [], "metadata": {"labels": {}}}), ty).unwrap();
        assert_eq!(account, json!({"metadata": {}}));
    }

    #[test]
    fn no_policies_at_all_are_not_defaulted() {
        let ty = Type::builtin("io.k8s.api.autoscaling.v2.HPAScalingRules").unwrap();
        assert_eq!(decode(json!({"policies": []}), ty).unwrap().0, json!({"policies": []}));
        assert_eq!(decode(json!({"policies": null}), ty).unwrap().0, json!({}));
    }
}
