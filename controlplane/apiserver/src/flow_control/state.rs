//! What the objects say at present, and what the levels do.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Waiter, defaults,
    level::{Configuration, Level},
    schema::Schema,
};
/// What the limiter's lock guards.
#[derive(Debug)]
pub struct State {
    pub seats: usize,
    pub schemas: BTreeMap<String, Arc<Schema>>,
    pub levels: BTreeMap<String, Configuration>,
    /// Those that hold even when they are not there.
    mandatory: (Vec<Arc<Schema>>, Vec<Configuration>),
    /// The schemas in the order in which they are asked, with the place of their level in `work`.
    pub order: Vec<(Arc<Schema>, usize)>,
    pub work: Vec<Level<Waiter>>,
    /// How often, by schema, level and reason.
    pub refused: BTreeMap<(String, String, &'static str), u64>,
}

impl State {
    /// A limiter with so many seats, and the objects without which there is none.
    pub fn new(seats: usize) -> Self {
        let (schemas, levels): (Vec<_>, Vec<_>) =
            defaults::mandatory().partition(|object| object["kind"] == "FlowSchema");
        let schemas = schemas.iter().map(|object| Arc::new(Schema::parse(object))).collect();
        let mut state = Self {
            mandatory: (schemas, levels.iter().map(Configuration::parse).collect()),
            seats,
            schemas: BTreeMap::new(),
            levels: BTreeMap::new(),
            order: Vec::new(),
            work: Vec::new(),
            refused: BTreeMap::new(),
        };
        state.rebuild();
        state
    }

    /// The seats that may still be lent.
    pub fn spare(&self) -> usize {
        let lent: usize = self.work.iter().map(Level::borrowed).sum();
        self.work.iter().map(Level::spare).sum::<usize>().saturating_sub(lent)
    }

    pub fn count_refusal(&mut self, schema: &Schema, why: &'static str) {
        *self.refused.entry((schema.name.clone(), schema.level.clone(), why)).or_default() += 1;
    }

    /// Takes the objects as they are now. The mandatory ones hold even when they are not there.
    pub fn rebuild(&mut self) {
        let mut levels = self.levels.clone();
        let mut schemas: Vec<_> = self.schemas.values().cloned().collect();
        schemas.extend(self.mandatory.0.iter().filter(|s| !self.schemas.contains_key(&s.name)).cloned());
        for level in &self.mandatory.1 {
            levels.entry(level.name.clone()).or_insert_with(|| level.clone());
        }
        let shares = levels.values().map(|level| level.shares).sum::<i64>().max(1);
        let is =
            |level: &Level<Waiter>, name: &str| level.configuration.as_ref().is_some_and(|c| c.name == name);
        for level in &mut self.work {
            if level.configuration.as_ref().is_some_and(|c| !levels.contains_key(&c.name)) {
                level.configuration = None;
            }
        }
        let mut places = BTreeMap::new();
        for (name, configuration) in levels {
            let known = self.work.iter().position(|level| is(level, &name));
            let index =
                known.or_else(|| self.work.iter().position(Level::is_free)).unwrap_or(self.work.len());
            if index == self.work.len() {
                self.work.push(Level::new());
            }
            let seats =
                (self.seats as u64 * configuration.shares.unsigned_abs()).div_ceil(shares.unsigned_abs());
            self.work[index].configure(
                configuration,
                usize::try_from(seats).unwrap_or(self.seats),
                self.seats,
            );
            places.insert(name, index);
        }
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        let placed = schemas.into_iter().filter_map(|schema| {
            let place = *places.get(&schema.level)?;
            Some((schema, place))
        });
        self.order = placed.collect();
    }
}
