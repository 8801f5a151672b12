//! Macros over lists and maps: the types of their variables, what they make, and what their loops cost.

use super::{
    super::{
        cost::{self, Entries, Known, Size},
        syntax::{Aggregate, Comprehension},
        types::Type,
    },
    Checker,
};

impl<'t> Checker<'t> {
    pub(super) fn comprehension(&mut self, of: &'t Comprehension) -> Known<'t> {
        let range = self.of(&of.range);
        let two = of.second.is_some();
        let (first, second) = match &range.ty {
            Type::List(item) if two => (Type::INT, (**item).clone()),
            Type::List(item) => ((**item).clone(), Type::Dyn),
            Type::Map(parts) => (parts[0].clone(), parts[1].clone()),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            other => {
                let why = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    other.shown()
                );
                (self.wrong(of.range.at, why), Type::Dyn)
            }
        };
        let is_list = range.entries.map_or(matches!(range.ty, Type::List(_)), |entries| entries.list);
        let whole = self.scope.measured;
        let local = |ty: Type, step: &str, size: Option<Size>| {
            let mut known = Known::placed(ty, 0, range.place.step(step, whole));
            known.size = known.size.or(size);
            known
        };
        let (keys, values) = (range.entries.map(|e| e.key), range.entries.map(|e| e.value));
        let mut names: Vec<(&'t str, Known<'t>)> = Vec::with_capacity(2);
        match (&of.second, is_list) {
            (None, true) => names.push((&of.name, local(first.clone(), "@items", values))),
            (None, false) => names.push((&of.name, local(first.clone(), "@keys", keys))),
            (Some(name), _) => {
                let steps = if is_list { ("@indices", "@items") } else { ("@keys", "@values") };
                names.push((&of.name, local(first.clone(), steps.0, keys)));
                names.push((name, local(second, steps.1, values)));
            }
        }
        let (filter, body) = self.within(names, |checker| {
            let filter = of.filter.as_ref().map(|filter| checker.of(filter));
            (filter, checker.of(&of.body))
        });
        aggregated(of.aggregate, &range, first, filter, body)
    }
}

/// What a macro makes of each item of its range, as its loop would in `cel-go`: the variable that it collects in is
/// read each time and in the end, and some loops look each time whether they may stop.
fn aggregated<'t>(
    aggregate: Aggregate,
    range: &Known<'t>,
    first: Type,
    filter: Option<Known<'t>>,
    body: Known<'t>,
) -> Known<'t> {
    let filtered = |step: u64| filter.as_ref().map_or(step, |filter| filter.cost.saturating_add(step.max(1)));
    let (ty, before, step, after) = match aggregate {
        Aggregate::All => (Type::BOOL, 0, body.cost.saturating_add(3), 1),
        Aggregate::Exists => (Type::BOOL, 0, body.cost.saturating_add(4), 1),
        Aggregate::ExistsOne => (Type::BOOL, 0, body.cost.saturating_add(2), 2),
        Aggregate::List => {
            (Type::list(body.ty.clone()), cost::LIST, filtered(body.cost.saturating_add(cost::LIST + 2)), 1)
        }
        Aggregate::Filter => (Type::list(first), cost::LIST, body.cost.saturating_add(cost::LIST + 3), 1),
        Aggregate::Map => {
            (Type::map(first, body.ty.clone()), cost::MAP, filtered(body.cost.saturating_add(3)), 1)
        }
        Aggregate::MapEntry => (body.ty.clone(), cost::MAP, filtered(body.cost.saturating_add(2)), 1),
    };
    let looped = range.size().max.saturating_mul(step);
    let total = range.cost.saturating_add(before).saturating_add(looped).saturating_add(after);
    let mut known = Known::made(ty, total);
    if !matches!(aggregate, Aggregate::All | Aggregate::Exists | Aggregate::ExistsOne) {
        known.size = Some(range.size());
    }
    if aggregate == Aggregate::List && filter.is_none() {
        let value = body.size().union(Size::exactly(0));
        known.entries = Some(Entries { key: Size::exactly(1), value, list: true });
    }
    known
}
