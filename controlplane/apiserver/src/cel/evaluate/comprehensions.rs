//! Macros that go through lists and maps.

use super::super::{
    Error, cost,
    syntax::{Aggregate, Comprehension},
    value::Value,
};
use super::Evaluator;

impl<'a> Evaluator<'a, '_> {
    /// What a macro makes of the items of a list or the entries of a map.
    pub(super) fn comprehension(&mut self, of: &'a Comprehension) -> Result<Value<'a>, Error> {
        let range = self.value(&of.range)?;
        let mut entries = pairs(&range, of.second.is_some())?.into_iter();
        let mut made = Vec::new();
        let mut found = 0_usize;
        let mut failed = None;
        let loops = Loop::of(of.aggregate);
        while let Some((first, second)) = entries.next() {
            self.budget.work(1)?;
            self.budget.spend(loops.look)?;
            self.local.push((&of.name, first.clone()));
            if let (Some(name), Some(second)) = (&of.second, &second) {
                self.local.push((name, second.clone()));
            }
            let result = self.one(of);
            self.local.truncate(self.local.len() - 1 - usize::from(of.second.is_some()));
            let result = match result {
                Ok(None) => continue,
                Ok(Some(value)) => {
                    let kept = !matches!(value, Value::Bool(false)) || !loops.chooses;
                    self.budget.spend(if kept { loops.keep } else { 0 })?;
                    value
                }
                // A later item may decide for all of them.
                Err(error)
                    if matches!(of.aggregate, Aggregate::All | Aggregate::Exists)
                        && error != Error::TooExpensive =>
                {
                    failed = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match (of.aggregate, result) {
                (Aggregate::All, Value::Bool(false)) | (Aggregate::Exists, Value::Bool(true)) => {
                    // It looks once more whether it may stop, if there is more to look at.
                    let again = if entries.len() > 0 { loops.look - cost::ACCESS } else { 0 };
                    self.budget.spend(again + loops.end)?;
                    return Ok(Value::Bool(of.aggregate == Aggregate::Exists));
                }
                (Aggregate::ExistsOne, Value::Bool(b)) => found += usize::from(b),
                (Aggregate::Filter, Value::Bool(true)) => made.push((Value::Null, first)),
                (Aggregate::All | Aggregate::Exists | Aggregate::Filter, Value::Bool(_)) => {}
                (Aggregate::List, value) => made.push((Value::Null, value)),
                (Aggregate::Map, value) => made.push((first, value)),
                (Aggregate::MapEntry, value) => {
                    for (key, value) in value.entries().ok_or(Error::NoSuchOverload)? {
                        if made.iter().any(|(k, _): &(Value<'a>, _)| k.equals(&key)) {
                            let why = format!("insert failed: key {} already exists", key.to_text());
                            return Err(Error::Other(why));
                        }
                        made.push((key, value));
                    }
                }
                _ => return Err(Error::NoSuchOverload),
            }
        }
        self.budget.spend(loops.end)?;
        match (of.aggregate, failed) {
            (_, Some(error)) => Err(error),
            (Aggregate::All, _) => Ok(Value::Bool(true)),
            (Aggregate::Exists, _) => Ok(Value::Bool(false)),
            (Aggregate::ExistsOne, _) => Ok(Value::Bool(found == 1)),
            (Aggregate::List | Aggregate::Filter, _) => {
                Ok(Value::list(made.into_iter().map(|(_, value)| value).collect()))
            }
            (Aggregate::Map | Aggregate::MapEntry, _) => Ok(Value::Map(made.into())),
        }
    }

    fn one(&mut self, of: &'a Comprehension) -> Result<Option<Value<'a>>, Error> {
        match of.filter.as_ref().map(|filter| self.value(filter)).transpose()? {
            Some(Value::Bool(false)) => Ok(None),
            None | Some(Value::Bool(true)) => self.value(&of.body).map(Some),
            Some(_) => Err(Error::NoSuchOverload),
        }
    }
}

/// What the loop of a macro costs beside its parts, as `cel-go` writes it: the variable that it collects in is read, and
/// some look before each item whether they may stop.
struct Loop {
    /// Before each item.
    look: u64,
    /// For each item that is kept.
    keep: u64,
    /// Whether items are kept for which the body is true.
    chooses: bool,
    /// In the end.
    end: u64,
}

impl Loop {
    const fn of(aggregate: Aggregate) -> Self {
        let (look, keep, chooses, end) = match aggregate {
            Aggregate::All => (3, 0, false, 1),
            Aggregate::Exists => (4, 0, false, 1),
            Aggregate::ExistsOne => (0, 2, true, 2),
            Aggregate::List => (0, cost::LIST + 2, false, 1),
            Aggregate::Filter => (0, cost::LIST + 3, true, 1),
            Aggregate::Map => (0, 3, false, 1),
            Aggregate::MapEntry => (0, 2, false, 1),
        };
        Self { look, keep, chooses, end }
    }
}

type Pair<'a> = (Value<'a>, Option<Value<'a>>);

/// What a macro goes through: the items of a list or the keys of a map; with two variables, indices and
/// items or keys and values.
fn pairs<'a>(range: &Value<'a>, two: bool) -> Result<Vec<Pair<'a>>, Error> {
    if let Some(items) = range.items() {
        return Ok(if two {
            (0..).zip(items).map(|(index, item)| (Value::Int(index), Some(item))).collect()
        } else {
            items.into_iter().map(|item| (item, None)).collect()
        });
    }
    let entries = range.entries().ok_or(Error::NoSuchOverload)?;
    Ok(entries.into_iter().map(|(key, value)| (key, two.then_some(value))).collect())
}
