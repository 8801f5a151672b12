//! What expressions may cost at most, as Kubernetes estimates it before it accepts a rule: the cost model of
//! `cel-go` (a unit is about 50 ns), and what Kubernetes says of its own functions. Estimates decide which
//! rules are accepted, so they are the same here, also where a better guess could be made.

use super::{
    measured::Measured,
    types::{Plain, Type},
};

/// What a variable or a selection costs.
pub const ACCESS: u64 = 1;
/// What a new list costs.
pub const LIST: u64 = 10;
/// What a new map costs.
pub const MAP: u64 = 30;
/// What a new object costs.
pub const OBJECT: u64 = 40;
/// What it costs to go once through a text, a character.
pub(super) const TRAVERSAL: f64 = 0.1;
/// What it costs to match one character, a character of the pattern.
pub(super) const PATTERN: f64 = 0.25;
/// What an authorization check costs.
pub const CHECK: u64 = 350_000;
/// The longest pattern behind a named format.
const FORMAT_PATTERN: f64 = 128.0;

/// How long a text, list or map may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
}

impl Size {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    /// What is known exactly.
    pub const fn exactly(size: u64) -> Self {
        Self { min: size, max: size }
    }

    /// What holds for either.
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// What it costs to go through it.
    fn cost(self, factor: f64) -> u64 {
        scaled(self.max, factor)
    }
}

/// The product, rounded up; what is too large is the largest number.
#[expect(clippy::cast_precision_loss, reason = "estimates are made of rounded numbers")]
pub(super) fn scaled(number: u64, factor: f64) -> u64 {
    let product = (number as f64 * factor).ceil();
    // A cast keeps to the bounds of the type.
    product as u64
}

/// How large the keys and values of a list or map may be.
#[derive(Clone, Copy, Debug)]
pub struct Entries {
    /// The keys; of lists, nothing of interest.
    pub key: Size,
    /// The items or values.
    pub value: Size,
    /// Whether it is a list.
    pub list: bool,
}

impl Entries {
    /// What holds for either.
    pub fn union(self, other: Self) -> Self {
        Self { key: self.key.union(other.key), value: self.value.union(other.value), list: self.list }
    }
}

/// Where in what a schema declares a value comes from.
#[derive(Clone, Copy, Debug)]
pub enum Place<'t> {
    /// It was made by the expression.
    Made,
    /// From there.
    At(&'t Measured),
    /// From somewhere that nothing is known of.
    Unknown,
}

/// What is known of the value of an expression.
#[derive(Clone, Debug)]
pub struct Known<'t> {
    /// Its type.
    pub ty: Type,
    /// What it costs at most.
    pub cost: u64,
    /// How large it may be.
    pub size: Option<Size>,
    /// How large its parts may be.
    pub entries: Option<Entries>,
    /// Where it comes from.
    pub place: Place<'t>,
    /// The number that it is, where the expression spells it out.
    pub literal: Option<i64>,
}

impl<'t> Known<'t> {
    /// A value made by the expression.
    pub fn made(ty: Type, cost: u64) -> Self {
        let size = scalar(&ty);
        Self { ty, cost, size, entries: None, place: Place::Made, literal: None }
    }

    /// A value from a place.
    pub fn placed(ty: Type, cost: u64, place: Place<'t>) -> Self {
        let size = place.size().or_else(|| scalar(&ty));
        Self { ty, cost, size, entries: None, place, literal: None }
    }

    /// Its size, known or not.
    pub fn size(&self) -> Size {
        self.size.unwrap_or(Size::UNKNOWN)
    }

    fn number(&self) -> Option<u64> {
        self.literal.and_then(|number| number.try_into().ok())
    }

    fn is(&self, plain: Plain) -> bool {
        matches!(self.ty, Type::Dyn) || self.ty == Type::Plain(plain)
    }

    fn is_list(&self) -> bool {
        matches!(self.ty, Type::Dyn | Type::List(_))
    }

    fn is_named(&self, name: &str) -> bool {
        matches!(&self.ty, Type::Named(named) if named == name)
    }
}

impl<'t> Place<'t> {
    /// The part of it that a step leads to. What an expression made has no path, and a path that only begins there is
    /// taken for the whole of what is declared.
    pub fn step(self, step: &str, whole: Option<&'t Measured>) -> Self {
        let part = match self {
            Self::Made => whole,
            Self::At(declared) => declared.step(step),
            Self::Unknown => None,
        };
        part.map_or(Self::Unknown, Self::At)
    }

    fn size(self) -> Option<Size> {
        match self {
            Self::At(declared) => Some(Size { min: 0, max: declared.max_elements }),
            Self::Made | Self::Unknown => None,
        }
    }
}

/// Numbers, truths and times are of one size.
fn scalar(ty: &Type) -> Option<Size> {
    match ty {
        Type::Plain(Plain::Text | Plain::Bytes) => None,
        Type::Plain(_) => Some(Size::exactly(1)),
        Type::Optional(inner) => scalar(inner),
        _ => None,
    }
}

/// What a call costs on top of its arguments, and how large its result is where that can be told. The target of a
/// method is the first argument; `whole` is what is declared of everything.
pub fn of_call(
    function: &str,
    method: bool,
    arguments: &[Known<'_>],
    whole: Option<&Measured>,
) -> (u64, Option<Size>) {
    kubernetes(function, method, arguments, whole)
        .or_else(|| lists(function, method, arguments))
        .unwrap_or_else(|| standard(function, method, arguments))
}

fn kubernetes(
    function: &str,
    method: bool,
    arguments: &[Known<'_>],
    whole: Option<&Measured>,
) -> Option<(u64, Option<Size>)> {
    let (first, rest) = arguments.split_first()?;
    let size = first.size();
    let traversed = size.cost(TRAVERSAL);
    Some(match (function, method, rest) {
        ("check", ..) => (CHECK, None),
        ("fieldSelector" | "labelSelector", true, [selector]) => (of_selector(selector.size().max), None),
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", true, _) => {
            let Some(item) = first.ty.item() else { return Some((traversed, None)) };
            let texts = matches!(item, Type::Plain(Plain::Text | Plain::Bytes));
            let each = if texts { items(first, whole).cost(TRAVERSAL).saturating_add(1) } else { 1 };
            (size.max.saturating_mul(each), None)
        }
        ("url" | "jsonpatch.escapeKey", false, []) => (traversed, Some(size)),
        ("lowerAscii" | "upperAscii" | "substring" | "trim", true, _) => (traversed, Some(size)),
        ("replace", true, [part, by, ..]) => {
            (size.cost(2.0 * TRAVERSAL), Some(replaced(size, part.size(), by.size())))
        }
        ("split", true, _) => {
            // A negative limit is none.
            let limit = rest.get(1).and_then(|limit| limit.literal);
            let max = limit.map_or(size.max, |limit| u64::try_from(limit).unwrap_or(u64::MAX));
            (size.cost(2.0 * TRAVERSAL), Some(Size { min: 0, max }))
        }
        ("join", true, _) => {
            let mut joined = items(first, whole).times(size);
            if let [separator, ..] = rest {
                let between = Size { min: size.min.saturating_sub(1), max: size.max.saturating_sub(1) };
                joined = joined.plus(separator.size().times(between));
            }
            (joined.cost(TRAVERSAL), Some(joined))
        }
        ("find" | "findAll", true, [pattern, ..]) => {
            (matched(size, pattern.size()), Some(Size { min: 0, max: size.max }))
        }
        ("ip", ..) if first.is_named("net.CIDR") => (1, None),
        ("ip.isCanonical", ..) => (size.cost(2.0 * TRAVERSAL), None),
        ("cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver", ..) => {
            (traversed, None)
        }
        ("containsIP" | "containsCIDR", true, [other]) => {
            // At most the 16 bytes of an IPv6 address, twice; a mask is made of another 16.
            let masked = if function == "containsCIDR" { 2 + 1 } else { 0 };
            let parsed = if other.is(Plain::Text) { other.size().cost(TRAVERSAL) } else { 0 };
            (4_u64.saturating_add(masked).saturating_add(parsed), None)
        }
        ("validate", true, [text]) => (scaled(text.size().cost(TRAVERSAL), FORMAT_PATTERN * PATTERN), None),
        ("_==_", _, [other]) if first.ty == other.ty && is_opaque(&first.ty) => (1, None),
        _ => return None,
    })
}

/// Whether values of the type are compared at once.
fn is_opaque(ty: &Type) -> bool {
    let Type::Named(name) = ty else { return false };
    matches!(name.as_str(), "net.IP" | "net.CIDR" | "kubernetes.Quantity" | "kubernetes.Semver")
        || name.starts_with("kubernetes.authorization.")
}

/// How large the items of a list may be.
fn items(list: &Known<'_>, whole: Option<&Measured>) -> Size {
    match list.place {
        Place::Made => Size::UNKNOWN,
        place => place.step("@items", whole).size().unwrap_or(Size::UNKNOWN),
    }
}

/// What it costs to read a selector of so many characters: each second one could be a requirement.
pub(super) fn of_selector(length: u64) -> u64 {
    let requirements = scaled(scaled(length, 0.5), 50.0);
    LIST.saturating_add(scaled(length, TRAVERSAL)).saturating_add(requirements)
}

/// What it costs to look for a pattern in a text, by their lengths.
pub(super) fn matched_exactly(text: u64, pattern: u64) -> u64 {
    scaled(text.saturating_add(1), TRAVERSAL).saturating_mul(scaled(pattern, PATTERN))
}

/// One more than the text, so that a costly pattern is never free.
fn matched(text: Size, pattern: Size) -> u64 {
    matched_exactly(text.max, pattern.max)
}

/// How large a text is in which parts are replaced.
fn replaced(text: Size, part: Size, by: Size) -> Size {
    let most = match (part.min, by.max) {
        // Something is put around every character.
        (0, by) => text.max.saturating_add(1).saturating_mul(by).saturating_add(text.max),
        (part, by) if by <= part => text.max,
        (part, by) => text.max.div_ceil(part).saturating_mul(by),
    };
    let least = match (part.max, by.min) {
        (0, by) => text.min.saturating_add(1).saturating_mul(by).saturating_add(text.min),
        (part, by) if part <= by => text.min,
        (part, by) => text.min.div_ceil(part).saturating_mul(by),
    };
    Size { min: least, max: most }
}

/// The extensions of CEL for lists and sets.
fn lists(function: &str, method: bool, arguments: &[Known<'_>]) -> Option<(u64, Option<Size>)> {
    let made =
        |factor: f64, size: Size| (size.cost(factor).saturating_add(1).saturating_add(LIST), Some(size));
    let size = arguments.first()?.size();
    let square = size.times(size);
    let ordered = |of: &Known<'_>| {
        let texts = matches!(of.ty.item(), Some(Type::Plain(Plain::Text | Plain::Bytes)));
        if texts { 2.0 + TRAVERSAL } else { 2.0 }
    };
    Some(match (function, method, arguments) {
        ("sets.contains" | "sets.intersects", _, [a, b]) => {
            (a.size().times(b.size()).cost(1.0).saturating_add(1), None)
        }
        ("sets.equivalent", _, [a, b]) => (a.size().times(b.size()).cost(2.0).saturating_add(1), None),
        ("slice", true, [_, from, to]) => {
            let (from, to) = (from.number().unwrap_or(0), to.number().unwrap_or(size.max));
            made(1.0, Size::exactly(to.wrapping_sub(from)))
        }
        ("flatten", true, [_]) => made(1.0, size),
        ("flatten", true, [_, depth]) => {
            #[expect(clippy::cast_precision_loss, reason = "as in the real estimate")]
            let depth = depth.number().unwrap_or(u64::MAX) as f64;
            made(depth, size)
        }
        ("lists.range", _, [count]) => made(1.0, Size::exactly(count.number().unwrap_or(u64::MAX))),
        ("reverse", true, [_]) => made(1.0, size),
        ("distinct", true, [_]) => made(2.0, square),
        ("sort", true, [list]) => made(ordered(list), square),
        ("@sortByAssociatedKeys", true, [_, keys]) => made(ordered(keys), keys.size().times(keys.size())),
        _ => return None,
    })
}

fn standard(function: &str, method: bool, arguments: &[Known<'_>]) -> (u64, Option<Size>) {
    let compared = |a: &Known<'_>, b: &Known<'_>| scaled(a.size().max.min(b.size().max), TRAVERSAL);
    let both = |a: &Known<'_>, b: &Known<'_>, plain| a.is(plain) && b.is(plain);
    match (function, method, arguments) {
        ("_==_" | "_!=_", _, [a, b]) => (compared(a, b), None),
        ("_<_" | "_<=_" | "_>_" | "_>=_", _, [a, b]) => {
            let texts = both(a, b, Plain::Text) || both(a, b, Plain::Bytes);
            let dynamic = a.ty == Type::Dyn && b.ty == Type::Dyn;
            let least = u64::from(!texts || dynamic);
            (if texts { compared(a, b).max(least) } else { 1 }, None)
        }
        ("_+_", _, [a, b]) => {
            let size = a.size().plus(b.size());
            if both(a, b, Plain::Text) || both(a, b, Plain::Bytes) {
                (size.cost(TRAVERSAL).max(u64::from(a.ty == Type::Dyn)), Some(size))
            } else if a.is_list() && b.is_list() {
                (1, Some(size))
            } else {
                (1, None)
            }
        }
        ("@in", _, [_, list]) if list.is_list() => {
            (list.size().max.max(u64::from(list.ty == Type::Dyn)), None)
        }
        ("bytes", false, [text]) if text.is(Plain::Text) => {
            let size = text.size();
            let made = Size { min: size.min, max: size.max.saturating_mul(4) };
            (size.cost(TRAVERSAL), Some(made))
        }
        ("string", false, [bytes]) if bytes.is(Plain::Bytes) => {
            let size = bytes.size();
            (size.cost(TRAVERSAL), Some(Size { min: size.min >> 2, max: size.max }))
        }
        ("strings.quote", _, [text]) => {
            let size = text.size();
            let quoted =
                Size { min: size.min.saturating_add(2), max: size.max.saturating_mul(2).saturating_add(2) };
            (size.cost(TRAVERSAL), Some(quoted))
        }
        ("format", true, [text, ..]) => (text.size().cost(TRAVERSAL), None),
        ("startsWith" | "endsWith", true, [_, part]) => (part.size().cost(TRAVERSAL), None),
        ("matches", true, [text, pattern]) => (matched(text.size(), pattern.size()), None),
        ("contains", true, [text, part]) => {
            (text.size().cost(TRAVERSAL).saturating_mul(part.size().cost(TRAVERSAL)), None)
        }
        _ => (1, None),
    }
}
