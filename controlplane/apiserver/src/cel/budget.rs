//! What evaluations may cost, in the units of `cel-go` as Kubernetes counts them: a unit is about 50 ns of what the
//! real server would do.
//!
//! What is free there is not always free here, so that the work that is really done has a bound of its own, far beyond
//! what any expression needs that costs what it may.

use super::{
    cost::{self, PATTERN, TRAVERSAL, matched_exactly, scaled},
    error::Error,
    value::Value,
};

/// How much work a unit of cost may be.
const WORK: u64 = 16;

/// What an evaluation may cost, and what it has.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    limit: u64,
    own: u64,
    /// What it took to evaluate `variables`, each of which has a limit of its own.
    aside: u64,
    work: u64,
}

impl Budget {
    /// A budget of so many units.
    pub fn new(limit: u64) -> Self {
        Self { limit, own: 0, aside: 0, work: limit.saturating_mul(WORK) }
    }

    /// What has been spent; more than there was if the evaluation was cancelled.
    pub fn spent(&self) -> u64 {
        self.own.saturating_add(self.aside)
    }

    /// Takes what something has cost.
    pub(super) fn spend(&mut self, cost: u64) -> Result<(), Error> {
        self.own = self.own.saturating_add(cost);
        if self.own > self.limit { Err(Error::TooExpensive) } else { Ok(()) }
    }

    /// Gives back what turned out to be free.
    pub(super) fn give_back(&mut self, cost: u64) {
        self.own = self.own.saturating_sub(cost);
    }

    /// Takes work: operations, items that are looked at, ten characters each.
    pub(super) fn work(&mut self, steps: usize) -> Result<(), Error> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        if let Some(left) = self.work.checked_sub(steps) {
            self.work = left;
            return Ok(());
        }
        self.work = 0;
        self.own = self.own.max(self.limit.saturating_add(1));
        Err(Error::TooExpensive)
    }

    /// A budget of the same size for something on the side.
    pub(super) fn beside(&self) -> Self {
        Self { work: self.work, ..Self::new(self.limit) }
    }

    /// Notes what was spent on the side.
    pub(super) fn note(&mut self, beside: Self) {
        self.aside = self.aside.saturating_add(beside.spent());
        self.work = beside.work;
    }

    /// How much has been spent but for what was spent on the side.
    pub(super) fn own(&self) -> u64 {
        self.own
    }
}

/// What a call has cost. The target of a method is the first argument.
pub fn of_call(function: &str, method: bool, arguments: &[Value<'_>], result: &Value<'_>) -> u64 {
    let Some((first, rest)) = arguments.split_first() else { return 1 };
    let size = size(first);
    let of = |place: usize| rest.get(place).map_or(0, self::size);
    let once = || scaled(size, TRAVERSAL);
    match function {
        "check" => cost::CHECK,
        "fieldSelector" | "labelSelector" => cost::of_selector(of(0)),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => traversed(first),
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver"
        | "strings.quote"
        | "format"
        | "startsWith"
        | "endsWith" => once(),
        "ip" if matches!(first, Value::Cidr(_)) => 1,
        "ip" => once(),
        "replace" | "split" | "ip.isCanonical" => scaled(size, 2.0 * TRAVERSAL),
        "join" => scaled(self::size(result), 2.0 * TRAVERSAL),
        "find" | "findAll" => matched_exactly(size, of(0)),
        "matches" if method => matched_exactly(size, of(0)),
        "contains" => once().saturating_mul(scaled(of(0), TRAVERSAL)),
        "containsIP" | "containsCIDR" => {
            let masked = if function == "containsCIDR" { once() + 1 } else { 0 };
            let parsed = if matches!(rest, [Value::Text(_)]) { scaled(of(0), TRAVERSAL) } else { 0 };
            scaled(2 * size, TRAVERSAL) + masked + parsed
        }
        "validate" => match first {
            Value::Format(name) => {
                scaled(of(0) + 1, TRAVERSAL).saturating_mul(scaled(longest_pattern(name), PATTERN))
            }
            _ => 1,
        },
        "bytes" | "string" => match (function, first) {
            ("bytes", Value::Text(_)) | ("string", Value::Bytes(_)) => once(),
            _ => 1,
        },
        "slice" | "lists.range" | "reverse" => list_of(1.0, self::size(result)),
        "flatten" => list_of(depth(rest), size),
        "distinct" | "sort" => compared_with_itself(first),
        "@sortByAssociatedKeys" => rest.first().map_or(1, compared_with_itself),
        "sets.contains" | "sets.intersects" => size.saturating_mul(of(0)).saturating_add(1),
        "sets.equivalent" => size.saturating_mul(of(0)).saturating_mul(2).saturating_add(1),
        _ => 1,
    }
}

/// What it costs to compare two values for being the same.
pub fn of_equality(left: &Value<'_>, right: &Value<'_>) -> u64 {
    match left {
        Value::Quantity(_)
        | Value::Ip(_)
        | Value::Cidr(_)
        | Value::Format(_)
        | Value::Url(_)
        | Value::Semver(_)
        | Value::Foreign(_) => 1,
        _ => of_order(left, right),
    }
}

/// What it costs to compare two values for their order: as much as to go through the smaller one.
pub fn of_order(left: &Value<'_>, right: &Value<'_>) -> u64 {
    scaled(size(left).min(size(right)), TRAVERSAL)
}

/// What it costs to put two values together.
pub fn of_sum(left: &Value<'_>, right: &Value<'_>) -> u64 {
    match left {
        Value::Text(_) | Value::Bytes(_) => scaled(size(left).saturating_add(size(right)), TRAVERSAL),
        _ => 1,
    }
}

/// How large a value is to the cost model; what has no size is one.
pub fn size(value: &Value<'_>) -> u64 {
    let bits = |length: u8| u64::from(length).div_ceil(8);
    match value {
        Value::Ip(address) => {
            if address.is_ipv4() {
                4
            } else {
                16
            }
        }
        Value::Cidr(cidr) => bits(cidr.network.prefix_len()),
        Value::Optional(Some(value)) => size(value),
        value => value.size().map_or(1, |size| size as u64),
    }
}

fn depth(rest: &[Value<'_>]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "costs are made of rounded numbers")]
    match rest {
        [Value::Int(depth)] => *depth as f64,
        _ => 1.0,
    }
}

/// A call that makes a list of so many items.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "costs are made of rounded numbers, and a cast keeps to the bounds of the type"
)]
fn list_of(factor: f64, items: u64) -> u64 {
    ((items as f64 * factor) as u64).saturating_add(1 + cost::LIST)
}

fn compared_with_itself(list: &Value<'_>) -> u64 {
    let items = list.items().unwrap_or_default();
    let count = items.len() as u64;
    let factor = match items.first() {
        Some(Value::Text(_) | Value::Bytes(_)) => 2.0 + TRAVERSAL,
        _ => 2.0,
    };
    list_of(factor, count.saturating_mul(count))
}

/// What it costs to go through all of a value.
fn traversed(value: &Value<'_>) -> u64 {
    let of = |items: Vec<Value<'_>>| items.iter().map(traversed).fold(0, u64::saturating_add);
    match value {
        Value::Text(text) => text.len() as u64 / 10,
        Value::Bytes(bytes) => bytes.len() as u64 / 10,
        value => match (value.items(), value.entries()) {
            (Some(items), _) => of(items),
            (_, Some(entries)) => of(entries.into_iter().flat_map(|(key, value)| [key, value]).collect()),
            _ => 1,
        },
    }
}

/// How long the pattern behind a named format is.
fn longest_pattern(format: &str) -> u64 {
    match format {
        "dns1123Label" | "dns1123LabelPrefix" | "dns1035Label" | "dns1035LabelPrefix" => 30,
        "labelValue" => 40,
        "uuid" => 70,
        "date" | "datetime" => 71,
        "byte" => 84,
        "uri" => 1103,
        _ => 60,
    }
}
