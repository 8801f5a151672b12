//! Everything wrong with what says how much of a device's capacity can be asked for.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{get, list_at};
use crate::registry::resource::validate::each_once;
use crate::schema::quantity::Quantity;

const VALUES_MAX: usize = 10;

/// An amount as it prints, and its size.
type Amount<'a> = (&'a Value, Quantity);

/// The policy of a capacity of this size.
pub fn validate_policy(errors: &mut Errors, path: &Path<'_>, capacity: &Value, policy: &Value) {
    let values = list_at(policy, "/validValues");
    let range = get(policy, "/validRange");
    let field = match (values.is_empty(), range) {
        (false, Some(_)) => {
            let why = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            return errors.forbidden(path, why);
        }
        (false, None) => "validValues",
        (true, Some(_)) => "validRange",
        (true, None) => return,
    };
    let Some(default) = amount(policy, "/default") else {
        return errors.required(&path.child("default"), &format!("required when {field} is defined"));
    };
    let Ok(size) = Quantity::from_value(capacity) else { return };
    let path = path.child(field);
    match range {
        Some(range) => validate_range(errors, &path, &(capacity, size), &default, range),
        None => validate_values(errors, &path, &(capacity, size), &default, values),
    }
}

fn amount<'a>(owner: &'a Value, path: &str) -> Option<Amount<'a>> {
    let value = get(owner, path)?;
    Some((value, Quantity::from_value(value).ok()?))
}

fn text(amount: &Value) -> &str {
    amount.as_str().unwrap_or_default()
}

fn validate_values(
    errors: &mut Errors,
    path: &Path<'_>,
    capacity: &Amount<'_>,
    default: &Amount<'_>,
    values: &[Value],
) {
    let size = |value: &Value| Quantity::from_value(value).unwrap_or(Quantity::ZERO);
    for (index, pair) in values.windows(2).enumerate() {
        if let [low, high] = pair
            && size(low) > size(high)
        {
            errors.invalid(&path.index(index + 1), high, "values must be sorted in ascending order");
        }
    }
    let key = |value: &Value| size(value).value().to_string();
    each_once(errors, path, values, VALUES_MAX, key, |errors, path, value| {
        if size(value) > capacity.1 {
            let why = format!("option is larger than capacity value: {}", text(capacity.0));
            errors.invalid(path, value, &why);
        }
    });
    let looked_at = values.len() <= VALUES_MAX;
    if !looked_at || !values.iter().any(|value| size(value) == default.1) {
        errors.invalid(path, default.0, "default value is not valid according to the requestPolicy");
    }
}

fn validate_range(
    errors: &mut Errors,
    path: &Path<'_>,
    capacity: &Amount<'_>,
    default: &Amount<'_>,
    range: &Value,
) {
    let Some(min) = amount(range, "/min") else {
        return errors.required(&path.child("min"), "required when validRange is defined");
    };
    let (max, step) = (amount(range, "/max"), amount(range, "/step"));
    let mut at_most =
        |field: &str, low: &Amount<'_>, high: &Amount<'_>, shown: &Value, what: &str, of: &Value| {
            if low.1 > high.1 {
                errors.invalid(&path.child(field), shown, &format!("{what}: {}", text(of)));
            }
        };
    at_most("min", &min, capacity, min.0, "min is larger than capacity value", capacity.0);
    at_most("min", &min, default, default.0, "default is less than min", min.0);
    if let Some(max) = &max {
        at_most("max", &min, max, min.0, "min is larger than max", max.0);
        at_most("max", max, capacity, max.0, "max is larger than capacity value", capacity.0);
        at_most("max", default, max, default.0, "default is more than max", max.0);
    }
    let Some(step) = step else { return };
    let path = path.child("step");
    let mut one = min.1.clone();
    one.add(&step.1);
    if one > capacity.1 {
        let why = format!("one step {one} is larger than capacity value: {}", text(capacity.0));
        errors.invalid(&path, step.0, &why);
    }
    for value in [Some(default), max.as_ref()].into_iter().flatten() {
        let steps = (value.1.value() - min.1.value()).checked_rem(step.1.value());
        if steps.is_some_and(|rest| rest != 0) {
            let why =
                format!("value is not a multiple of a given step ({}) from ({})", text(step.0), text(min.0));
            errors.invalid(&path, value.0, &why);
        }
    }
}
