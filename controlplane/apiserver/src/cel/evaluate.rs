//! Evaluation.

mod comprehensions;

use std::{cell::OnceCell, sync::Arc};

use super::{
    Error, Program,
    budget::{self, Budget},
    check::VARIABLES,
    cost,
    functions::{self, call},
    syntax::{Expression, Item, Kind, Operator},
    value::{Made, Value},
};

/// The values of variables, by name.
#[derive(Debug, Default)]
pub struct Variables<'a> {
    given: Vec<(&'a str, Value<'a>)>,
    composed: Vec<Composed<'a>>,
}

/// A field of `variables`: an expression that is evaluated when it is first needed.
#[derive(Debug)]
struct Composed<'a> {
    name: &'a str,
    expression: &'a Expression,
    value: OnceCell<Result<Value<'a>, Error>>,
}

impl<'a> Variables<'a> {
    /// Sets a variable.
    pub fn set(&mut self, name: &'a str, value: Value<'a>) {
        self.given.push((name, value));
    }

    /// Adds `variables.name`, which may speak of all that was set and composed before it.
    pub fn compose(&mut self, name: &'a str, program: &'a Program) {
        let expression = &program.expression;
        self.composed.push(Composed { name, expression, value: OnceCell::new() });
    }
}

/// An evaluation.
pub struct Evaluator<'a, 'e> {
    variables: &'e Variables<'a>,
    budget: &'e mut Budget,
    /// The variables of macros, the innermost last.
    local: Vec<(&'a str, Value<'a>)>,
    /// How many of the composed variables it may speak of.
    reach: usize,
}

impl<'a, 'e> Evaluator<'a, 'e> {
    /// An evaluation with these variables.
    pub fn new(variables: &'e Variables<'a>, budget: &'e mut Budget) -> Self {
        Self { variables, budget, local: Vec::new(), reach: variables.composed.len() }
    }

    /// The value of an expression.
    pub fn value(&mut self, expression: &'a Expression) -> Result<Value<'a>, Error> {
        self.budget.work(1)?;
        match &expression.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Variable(name) => {
                let value = self.variable(name)?;
                self.budget.spend(if matches!(value, Value::Type(_)) { 0 } else { cost::ACCESS })?;
                Ok(value)
            }
            Kind::Select { operand, field, optional } => match self.composed(operand, field) {
                Some(value) if *optional => value.map(Value::some),
                Some(value) => value,
                None => {
                    let operand = self.operand(operand)?;
                    let selected = select(&operand, field, *optional)?;
                    self.step(selected)
                }
            },
            Kind::Has { operand, field } => self.has(operand, field),
            Kind::Index { operand, index, optional } => {
                let operand = self.operand(operand)?;
                let index = self.free(index)?;
                let found = at(&operand, &index, *optional)?;
                self.step(found)
            }
            Kind::Call { function, method, arguments } => self.call(expression, function, *method, arguments),
            Kind::List(items) => {
                let list = self.list(items)?;
                self.budget.spend(if expression.is_constant() { 0 } else { cost::LIST })?;
                Ok(list)
            }
            Kind::Map(entries) => {
                let map = self.map(entries)?;
                self.budget.spend(if expression.is_constant() { 0 } else { cost::MAP })?;
                Ok(map)
            }
            Kind::Make { name, fields } => {
                let mut made = Vec::with_capacity(fields.len());
                for (field, item) in fields {
                    made.extend(self.item(item)?.map(|value| (&**field, value)));
                }
                self.budget.spend(cost::OBJECT)?;
                Ok(Value::Made(Made { name, fields: made.into() }))
            }
            Kind::Not(inner) => {
                let inner = self.value(inner)?;
                self.budget.spend(1)?;
                match inner {
                    Value::Bool(b) => Ok(Value::Bool(!b)),
                    _ => Err(Error::NoSuchOverload),
                }
            }
            Kind::Negate(inner) => {
                let inner = self.value(inner)?;
                self.budget.spend(1)?;
                match inner {
                    Value::Int(n) => n.checked_neg().map(Value::Int).ok_or(Error::Overflow),
                    Value::Double(n) => Ok(Value::Double(-n)),
                    Value::Duration(n) => {
                        let negated = n.checked_neg().map(Value::Duration);
                        negated.ok_or_else(|| Error::other("duration overflow"))
                    }
                    Value::Bool(_) => Err(Error::NoSuchOverload),
                    _ => Err(Error::Mismatch("-_".into())),
                }
            }
            Kind::And(parts) => self.junction(parts, false),
            Kind::Or(parts) => self.junction(parts, true),
            Kind::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                match self.value(condition)? {
                    Value::Bool(true) => self.free(yes),
                    Value::Bool(false) => self.free(no),
                    _ => Err(Error::NoSuchOverload),
                }
            }
            Kind::Binary(operator, parts) => self.binary(*operator, parts),
            Kind::Comprehension(comprehension) => self.comprehension(comprehension),
            Kind::Bind { name, parts } => {
                let [value, body] = &**parts;
                let value = self.value(value)?;
                self.with(name, value, body)
            }
            Kind::OptionalMap { name, parts, flat } => {
                let [target, body] = &**parts;
                let before = self.budget.own();
                let target = self.value(target)?;
                let once = self.budget.own() - before;
                match target {
                    // It was asked whether it has a value, and nothing was made.
                    Value::Optional(None) => self.budget.spend(2).map(|()| Value::Optional(None)),
                    Value::Optional(Some(value)) => {
                        // It was asked whether it has a value, and then for it, in full.
                        self.budget.spend(once.saturating_add(2 + u64::from(!flat)))?;
                        let made = self.with(name, (*value).clone(), body)?;
                        Ok(if *flat { made } else { Value::some(made) })
                    }
                    _ => Err(Error::NoSuchOverload),
                }
            }
        }
    }

    /// The value that a step is taken from. What is no path is made the beginning of one.
    fn operand(&mut self, operand: &'a Expression) -> Result<Value<'a>, Error> {
        let value = self.value(operand)?;
        if !operand.is_path() && !matches!(operand.kind, Kind::Choice(_)) {
            self.budget.spend(cost::ACCESS)?;
        }
        Ok(value)
    }

    /// A value that is asked for in passing: the beginning of its path is free.
    fn free(&mut self, expression: &'a Expression) -> Result<Value<'a>, Error> {
        let value = self.value(expression)?;
        let begun_here = match &expression.kind {
            Kind::Variable(_) => !matches!(value, Value::Type(_)),
            _ => expression.begins_path(),
        };
        if begun_here {
            self.budget.give_back(cost::ACCESS);
        }
        Ok(value)
    }

    /// Takes what a step has cost; one into nothing has not been taken.
    fn step(&mut self, to: Value<'a>) -> Result<Value<'a>, Error> {
        self.budget.spend(if matches!(to, Value::Optional(None)) { 0 } else { cost::ACCESS })?;
        Ok(to)
    }

    fn binary(&mut self, operator: Operator, parts: &'a [Expression; 2]) -> Result<Value<'a>, Error> {
        let (left, right) = (self.value(&parts[0])?, self.value(&parts[1])?);
        self.budget.work(weight(&left).saturating_add(weight(&right)))?;
        let result = binary(operator, &left, &right);
        self.budget.spend(match operator {
            Operator::Equal => budget::of_equality(&left, &right),
            Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => budget::of_order(&left, &right),
            Operator::Add => budget::of_sum(&left, &right),
            // What is known to be in a list is looked up.
            Operator::In if parts[1].is_constant() => 0,
            Operator::In if right.items().is_some() => budget::size(&right),
            _ => 1,
        })?;
        match result {
            Err(Error::NoSuchOverload) if !takes(operator, &left) => {
                Err(Error::Mismatch(operator.function().into()))
            }
            result => result,
        }
    }

    fn variable(&self, name: &'a str) -> Result<Value<'a>, Error> {
        let scopes = self.local.iter().rev().chain(self.variables.given.iter().rev());
        let mut scopes = scopes.filter(|(n, _)| *n == name);
        if let Some((_, value)) = scopes.next() {
            return Ok(value.clone());
        }
        let known = functions::TYPES.iter().find(|t| **t == name);
        known.map(|name| Value::Type(name)).ok_or_else(|| Error::NoSuchVariable(name.into()))
    }

    /// The value of `variables.field`; `None` if that is no composed variable.
    fn composed(&mut self, operand: &Expression, field: &str) -> Option<Result<Value<'a>, Error>> {
        if !matches!(&operand.kind, Kind::Variable(name) if &**name == VARIABLES)
            || self.local.iter().any(|(name, _)| *name == VARIABLES)
        {
            return None;
        }
        let visible = &self.variables.composed[..self.reach];
        let at = visible.iter().rposition(|composed| composed.name == field)?;
        let composed = &self.variables.composed[at];
        let value = composed.value.get_or_init(|| {
            let mut budget = self.budget.beside();
            let mut evaluator =
                Evaluator { variables: self.variables, budget: &mut budget, local: Vec::new(), reach: at };
            let value = evaluator.value(composed.expression);
            self.budget.note(budget);
            value
        });
        let value = value
            .clone()
            .map_err(|why| Error::other(format!("composited variable {field:?} fails to evaluate: {why}")));
        Some(value.and_then(|value| self.budget.spend(2 * cost::ACCESS).map(|()| value)))
    }

    fn with(&mut self, name: &'a str, value: Value<'a>, body: &'a Expression) -> Result<Value<'a>, Error> {
        self.local.push((name, value));
        let result = self.value(body);
        self.local.pop();
        result
    }

    fn has(&mut self, operand: &'a Expression, field: &str) -> Result<Value<'a>, Error> {
        if let Some(value) = self.composed(operand, field) {
            return value.map(|_| Value::Bool(true));
        }
        let operand = match self.operand(operand)? {
            Value::Optional(None) => return Ok(Value::Bool(false)),
            Value::Optional(Some(value)) => (*value).clone(),
            value => value,
        };
        match select(&operand, field, false) {
            Ok(_) => Ok(Value::Bool(true)),
            Err(Error::NoSuchKey(_)) => Ok(Value::Bool(false)),
            Err(error) => Err(error),
        }
    }

    fn call(
        &mut self,
        expression: &Expression,
        function: &str,
        method: bool,
        arguments: &'a [Expression],
    ) -> Result<Value<'a>, Error> {
        // The other side of an optional is evaluated only if it is needed.
        if let ("or" | "orValue", [target, otherwise]) = (function, arguments) {
            return match (self.value(target)?, function) {
                (Value::Optional(None), _) => self.value(otherwise),
                (Value::Optional(Some(value)), "orValue") => Ok((*value).clone()),
                (some @ Value::Optional(Some(_)), _) => Ok(some),
                _ => Err(Error::NoSuchOverload),
            };
        }
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.value(argument)?);
        }
        self.budget.work(work(function, &values))?;
        let result = call(function, &values)?;
        if !expression.is_constant() {
            self.budget.spend(budget::of_call(function, method, &values, &result))?;
        }
        Ok(result)
    }

    /// `&&` and `||`: one part may decide whatever becomes of the others.
    fn junction(&mut self, parts: &'a [Expression], decisive: bool) -> Result<Value<'a>, Error> {
        let mut failed = None;
        for part in parts {
            match self.value(part) {
                Ok(Value::Bool(b)) if b == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or(Some(Error::NoSuchOverload)),
                Err(Error::TooExpensive) => return Err(Error::TooExpensive),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    /// An item that is optional has a value or is left out.
    fn item(&mut self, item: &'a Item) -> Result<Option<Value<'a>>, Error> {
        match (self.value(&item.value)?, item.optional) {
            (Value::Optional(value), true) => Ok(value.map(|value| (*value).clone())),
            (_, true) => Err(Error::NoSuchOverload),
            (value, false) => Ok(Some(value)),
        }
    }

    fn list(&mut self, items: &'a [Item]) -> Result<Value<'a>, Error> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.extend(self.item(item)?);
        }
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &'a [(Expression, Item)]) -> Result<Value<'a>, Error> {
        let mut values: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, item) in entries {
            let key = self.value(key)?;
            let Some(value) = self.item(item)? else { continue };
            match values.iter_mut().find(|(k, _)| k.equals(&key)) {
                Some((_, before)) => *before = value,
                None => values.push((key, value)),
            }
        }
        Ok(Value::Map(values.into()))
    }
}

/// What it costs to look at all of a value once.
fn weight(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.len() / 10,
        other => other.size().unwrap_or_default(),
    }
}

/// How much work a call is: mostly looking at what it is given.
fn work(function: &str, arguments: &[Value<'_>]) -> usize {
    let sizes = arguments.iter().map(|value| value.size().unwrap_or_default());
    match function {
        // They compare all with all.
        "distinct" => sizes.map(|size| size.saturating_mul(size)).fold(0, usize::saturating_add),
        "sets.contains" | "sets.equivalent" | "sets.intersects" => sizes.fold(1, usize::saturating_mul),
        _ => sizes.map(|size| size / 10).fold(0, usize::saturating_add),
    }
}

fn select<'a>(operand: &Value<'a>, field: &str, optional: bool) -> Result<Value<'a>, Error> {
    let key = Value::text(field);
    match operand {
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => select(inner, field, true),
        Value::Map(_) | Value::Object(_) | Value::Made(_) | Value::Foreign(_) if optional => {
            at(operand, &key, true)
        }
        Value::Map(_) | Value::Object(_) | Value::Made(_) | Value::Foreign(_) => operand.at(&key),
        Value::List(_) | Value::Array(_) => Err(Error::other("unsupported index type 'string' in list")),
        // What has no fields lacks this one, too.
        _ if optional => Ok(Value::Optional(None)),
        _ => Err(Error::NoSuchKey(field.into())),
    }
}

fn at<'a>(operand: &Value<'a>, index: &Value<'_>, optional: bool) -> Result<Value<'a>, Error> {
    let operand = match operand {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => return at(inner, index, true),
        other => other,
    };
    match operand.at(index) {
        Ok(value) => Ok(if optional { Value::some(value) } else { value }),
        Err(Error::NoSuchKey(_) | Error::OutOfBounds(_)) if optional => Ok(Value::Optional(None)),
        Err(error) => Err(error),
    }
}

fn binary<'a>(operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, Error> {
    use std::cmp::Ordering;
    let ordered = |wanted: fn(Ordering) -> bool| {
        left.compare(right).map(|order| Value::Bool(order.is_some_and(wanted)))
    };
    match operator {
        Operator::Equal => Ok(Value::Bool(left.equals(right))),
        Operator::NotEqual => Ok(Value::Bool(!left.equals(right))),
        Operator::Less => ordered(Ordering::is_lt),
        Operator::LessOrEqual => ordered(Ordering::is_le),
        Operator::Greater => ordered(Ordering::is_gt),
        Operator::GreaterOrEqual => ordered(Ordering::is_ge),
        Operator::In => contains(right, left).map(Value::Bool),
        _ => functions::arithmetic::apply(operator, left, right),
    }
}

/// Whether an operator is for such values at all, whatever is on the other side.
fn takes(operator: Operator, left: &Value<'_>) -> bool {
    let number = matches!(left, Value::Int(_) | Value::Uint(_) | Value::Double(_));
    let time = matches!(left, Value::Duration(_) | Value::Timestamp(_));
    let text = matches!(left, Value::Text(_) | Value::Bytes(_));
    match operator {
        Operator::Add => number || time || text || left.items().is_some(),
        Operator::Subtract => number || time,
        Operator::Multiply | Operator::Divide => number,
        Operator::Modulo => matches!(left, Value::Int(_) | Value::Uint(_)),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            number || time || text || matches!(left, Value::Bool(_))
        }
        Operator::Equal | Operator::NotEqual | Operator::In => true,
    }
}

fn contains(container: &Value<'_>, value: &Value<'_>) -> Result<bool, Error> {
    if let Some(items) = container.items() {
        return Ok(items.iter().any(|item| item.equals(value)));
    }
    match container {
        Value::Object(object) => Ok(matches!(value, Value::Text(key) if object.map.contains_key(&**key))),
        Value::Map(entries) => Ok(entries.iter().any(|(key, _)| key.equals(value))),
        _ => Err(Error::NoSuchOverload),
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other)
    }
}

impl From<Option<Self>> for Value<'_> {
    fn from(value: Option<Self>) -> Self {
        Self::Optional(value.map(Arc::new))
    }
}
