//! Lists and sets.

use std::cmp::Ordering;

use super::super::{Error, value::Value};

/// The longest range: nobody has the budget to look at more.
const MAX_RANGE: i64 = 1_000_000;

/// The functions of this library.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    if let Some(function) = function.strip_prefix("sets.") {
        return sets(function, arguments);
    }
    if let ("lists.range", [Value::Int(count)]) = (function, arguments) {
        if *count > MAX_RANGE {
            return Some(Err(Error::TooExpensive));
        }
        return Some(Ok(Value::list((0..*count).map(Value::Int).collect())));
    }
    let items = arguments.first()?.items()?;
    Some(match (function, &arguments[1..]) {
        ("isSorted", []) => pairwise(&items),
        ("sum", []) => sum(&items),
        ("min", []) => extreme(&items, Ordering::Less, "min"),
        ("max", []) => extreme(&items, Ordering::Greater, "max"),
        ("indexOf", [wanted]) => Ok(position(items.iter().position(|item| item.equals(wanted)))),
        ("lastIndexOf", [wanted]) => Ok(position(items.iter().rposition(|item| item.equals(wanted)))),
        ("distinct", []) => {
            let mut distinct: Vec<Value<'a>> = Vec::new();
            for item in items {
                if !distinct.iter().any(|i| i.equals(&item)) {
                    distinct.push(item);
                }
            }
            Ok(Value::list(distinct))
        }
        ("reverse", []) => Ok(Value::list(items.into_iter().rev().collect())),
        ("flatten", []) => Ok(Value::list(flatten(items, 1))),
        ("flatten", [Value::Int(depth)]) if *depth >= 0 => Ok(Value::list(flatten(items, *depth))),
        ("flatten", [Value::Int(_)]) => Err(Error::other("level must be non-negative")),
        ("slice", [Value::Int(from), Value::Int(to)]) => slice(&items, *from, *to),
        ("sort", []) => sorted(items.clone(), items),
        ("@sortByAssociatedKeys", [keys]) => sorted(items, keys.items()?),
        ("first", []) => Ok(items.into_iter().next().into()),
        ("last", []) => Ok(items.into_iter().next_back().into()),
        _ => return None,
    })
}

fn slice<'a>(items: &[Value<'a>], from: i64, to: i64) -> Result<Value<'a>, Error> {
    let refused = |why: &str| Err(Error::other(format!("cannot slice({from}, {to}), {why}")));
    let (Ok(start), Ok(end)) = (usize::try_from(from), usize::try_from(to)) else {
        return refused("negative indexes not supported");
    };
    if start > end {
        return refused("start index must be less than or equal to end index");
    }
    match items.get(start..end) {
        Some(slice) => Ok(Value::list(slice.to_vec())),
        None => refused(&format!("list is length {}", items.len())),
    }
}

fn position<'a>(found: Option<usize>) -> Value<'a> {
    Value::Int(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
}

/// Whether the items are in order. What has none with its neighbour is not out of it.
fn pairwise<'a>(items: &[Value<'a>]) -> Result<Value<'a>, Error> {
    comparable(items)?;
    let out_of_order = |pair: &[Value<'a>]| matches!(pair[0].compare(&pair[1]), Ok(Some(Ordering::Greater)));
    Ok(Value::Bool(!items.windows(2).any(out_of_order)))
}

/// Fails if there is an item that has no order with anything.
fn comparable(items: &[Value<'_>]) -> Result<(), Error> {
    items.iter().try_for_each(|item| item.compare(item).map(|_| ()))
}

fn sum<'a>(items: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let zero = match items.first() {
        None | Some(Value::Int(_)) => Value::Int(0),
        Some(Value::Uint(_)) => Value::Uint(0),
        Some(Value::Double(_)) => Value::Double(0.0),
        Some(Value::Duration(_)) => Value::Duration(0),
        Some(_) => return Err(Error::NoSuchOverload),
    };
    let add = super::super::syntax::Operator::Add;
    items.iter().try_fold(zero, |sum, item| super::arithmetic::apply(add, &sum, item))
}

fn extreme<'a>(items: &[Value<'a>], wanted: Ordering, name: &str) -> Result<Value<'a>, Error> {
    comparable(items)?;
    let mut items = items.iter();
    let mut best = items.next().ok_or_else(|| Error::other(format!("{name} called on empty list")))?;
    for item in items {
        if matches!(item.compare(best), Ok(Some(order)) if order == wanted) {
            best = item;
        }
    }
    Ok(best.clone())
}

/// The items in the order of their keys, which have to be of one type that has an order.
fn sorted<'a>(items: Vec<Value<'a>>, keys: Vec<Value<'a>>) -> Result<Value<'a>, Error> {
    if items.len() != keys.len() {
        return Err(Error::other(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            items.len(),
            keys.len()
        )));
    }
    let Some(first) = keys.first() else { return Ok(Value::list(items)) };
    if first.compare(first).is_err() {
        return Err(Error::other("list elements must be comparable"));
    }
    if keys.iter().any(|key| key.type_name() != first.type_name()) {
        return Err(Error::other("list elements must have the same type"));
    }
    // What is no number comes first, so that there is an order of all.
    let order = |a: &Value<'a>, b: &Value<'a>| {
        let order = a.compare(b).ok().flatten();
        order.unwrap_or_else(|| a.equals(a).cmp(&b.equals(b)))
    };
    let mut pairs: Vec<_> = keys.into_iter().zip(items).collect();
    pairs.sort_by(|(a, _), (b, _)| order(a, b));
    Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect()))
}

fn flatten<'a>(items: Vec<Value<'a>>, depth: i64) -> Vec<Value<'a>> {
    let inner = |item: Value<'a>| match item.items() {
        Some(items) if depth > 0 => flatten(items, depth - 1),
        _ => vec![item],
    };
    items.into_iter().flat_map(inner).collect()
}

fn sets<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    let [a, b] = arguments else { return None };
    let (a, b) = (a.items()?, b.items()?);
    let within = |a: &[Value<'a>], b: &[Value<'a>]| a.iter().all(|a| b.iter().any(|b| a.equals(b)));
    Some(Ok(Value::Bool(match function {
        "contains" => within(&b, &a),
        "equivalent" => within(&a, &b) && within(&b, &a),
        "intersects" => a.iter().any(|a| b.iter().any(|b| a.equals(b))),
        _ => return None,
    })))
}
