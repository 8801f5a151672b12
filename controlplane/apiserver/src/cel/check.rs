//! What can be known of an expression before it is evaluated: whether its names exist and its types fit.
//!
//! What nobody can know before is `dyn`, which fits everywhere.

mod comprehensions;
mod formats;

use super::{
    cost::{self, Entries, Known, Place, Size},
    declared::Declared,
    functions,
    measured::Measured,
    parse::SyntaxError,
    signatures::{self, Outcome},
    syntax::{Expression, Item, Kind, Operator},
    types::{Plain, Type},
    value::Value,
};

/// The variable whose fields are expressions themselves.
pub const VARIABLES: &str = "variables";

/// How many issues of one expression are told.
const MAX_ISSUES: usize = 100;

/// What expressions in some place may speak of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'s> {
    /// The variables.
    pub variables: &'s [(&'s str, Type)],
    /// The fields of `variables`; absent where there is no such variable.
    pub composed: Option<&'s [(&'s str, Type)]>,
    /// Whether it may make patches: objects of the types `Object…` and `JSONPatch`.
    pub patches: bool,
    /// The objects whose fields are declared, if any are.
    pub declared: Option<&'s Declared<'s>>,
    /// What the variables are and how large, where the schema of a custom resource says it.
    pub measured: Option<&'s Measured>,
}

/// Everything wrong with an expression, in the order of its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Issues(pub Vec<SyntaxError>);

impl From<SyntaxError> for Issues {
    fn from(error: SyntaxError) -> Self {
        Self(vec![error])
    }
}

/// What is known of an expression, or what is wrong with it.
pub fn check<'t>(
    expression: &'t Expression,
    text: &'t str,
    scope: &'t Scope<'t>,
) -> Result<Known<'t>, Issues> {
    let place = scope.measured.map_or(Place::Unknown, Place::At);
    let variable = |(name, ty): &'t (&'t str, Type)| (*name, Known::placed(ty.clone(), 0, place));
    let variables = scope.variables.iter().map(variable).collect();
    let mut checker = Checker {
        text,
        scope,
        variables,
        issues: Vec::new(),
        doubts: Vec::new(),
        in_format: false,
        given: Vec::new(),
    };
    let known = checker.of(expression);
    let mut issues = if checker.issues.is_empty() { checker.doubts } else { checker.issues };
    if issues.is_empty() {
        return Ok(known);
    }
    issues.sort_by_key(|(at, _)| *at);
    Err(Issues(issues.into_iter().map(|(_, issue)| issue).collect()))
}

struct Checker<'t> {
    text: &'t str,
    scope: &'t Scope<'t>,
    variables: Vec<(&'t str, Known<'t>)>,
    issues: Vec<(usize, SyntaxError)>,
    /// What is refused although its types fit, told if they do.
    doubts: Vec<(usize, SyntaxError)>,
    /// Whether it is given to `format`, which takes lists of anything.
    in_format: bool,
    /// The types of items and entries of lists and maps that are given to `format`, by where they are.
    given: Vec<(usize, Type)>,
}

impl<'t> Checker<'t> {
    /// Notes what is wrong; what is wrong may be anything.
    fn wrong(&mut self, at: usize, why: String) -> Type {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push((at, SyntaxError::new(self.text, at, why)));
        }
        Type::Dyn
    }

    fn undeclared(&mut self, at: usize, name: &str) -> Type {
        self.wrong(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn of(&mut self, expression: &'t Expression) -> Known<'t> {
        let at = expression.at;
        match &expression.kind {
            Kind::Literal(value) => literal(value),
            Kind::Variable(name) => self.variable(at, name),
            Kind::Select { operand, field, optional } => {
                let operand = self.of(operand);
                let ty = self.field(at, operand.ty.clone(), field);
                if *optional {
                    let ty = if matches!(ty, Type::Optional(_)) { ty } else { Type::optional(ty) };
                    return Known::made(ty, operand.cost.saturating_add(cost::ACCESS));
                }
                let free = !matches!(operand.ty, Type::Map(_) | Type::Named(_) | Type::Open(_));
                let own = if free { 0 } else { cost::ACCESS };
                let place = operand.place.step(field, self.scope.measured);
                Known::placed(ty, operand.cost.saturating_add(own), place)
            }
            Kind::Has { operand, field } => {
                let operand = self.of(operand);
                self.field(at, operand.ty, field);
                Known::made(Type::BOOL, operand.cost)
            }
            Kind::Index { operand, index, optional } => self.index(at, operand, index, *optional),
            Kind::Call { function, method, arguments } => {
                let outside = self.in_format;
                self.in_format |= &**function == "format";
                let known: Vec<Known<'t>> = arguments.iter().map(|argument| self.of(argument)).collect();
                self.in_format = outside;
                self.look(function, arguments.get(usize::from(*method)));
                if let ("format", [format, list]) = (&**function, arguments.as_slice()) {
                    self.format(at, format, list);
                }
                self.call(at, function, *method, &known)
            }
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Make { name, fields } => self.made(at, name, fields),
            Kind::Not(inner) => {
                let inner = self.of(inner);
                self.call(at, "!_", false, &[inner])
            }
            Kind::Negate(inner) => {
                let inner = self.of(inner);
                self.call(at, "-_", false, &[inner])
            }
            Kind::And(parts) => self.junction(at, "_&&_", parts),
            Kind::Or(parts) => self.junction(at, "_||_", parts),
            Kind::Choice(parts) => self.choice(at, parts),
            Kind::Binary(operator, parts) => {
                let parts: Vec<Known<'t>> = parts.iter().map(|part| self.of(part)).collect();
                let mut result = self.call(at, operator.function(), false, &parts);
                if let ([left, right], Operator::Add) = (parts.as_slice(), operator) {
                    result.entries = left.entries.zip(right.entries).map(|(left, right)| left.union(right));
                }
                result
            }
            Kind::Bind { name, parts } => {
                let value = self.of(&parts[0]);
                self.bound(name, value, &parts[1])
            }
            Kind::OptionalMap { name, parts, flat } => {
                let target = self.of(&parts[0]);
                let value = match target.ty {
                    Type::Optional(value) => *value,
                    _ => Type::Dyn,
                };
                // The target is asked whether it has a value, and then for it.
                let asked = target.cost.saturating_add(cost::ACCESS);
                let body = self.bound(name, Known::made(value, asked), &parts[1]);
                let own = asked.saturating_add(body.cost).saturating_add(u64::from(!flat));
                Known::made(if *flat { body.ty } else { Type::optional(body.ty) }, own)
            }
            Kind::Comprehension(of) => self.comprehension(of),
        }
    }

    fn variable(&mut self, at: usize, name: &'t str) -> Known<'t> {
        if let Some((_, known)) = self.variables.iter().rev().find(|(known, _)| *known == name) {
            return Known { cost: cost::ACCESS, ..known.clone() };
        }
        let ty = if functions::TYPES.contains(&name) {
            Type::Type(Box::new(match name {
                "list" => Type::list(Type::Dyn),
                "map" => Type::map(Type::Dyn, Type::Dyn),
                "null_type" => Type::Null,
                "type" | "optional_type" => Type::Dyn,
                name => Type::read(name),
            }))
        } else if name == VARIABLES && self.scope.composed.is_some() {
            Type::Named("kubernetes.variables".into())
        } else {
            self.undeclared(at, name)
        };
        Known::placed(ty, cost::ACCESS, Place::Unknown)
    }

    fn field(&mut self, at: usize, operand: Type, field: &str) -> Type {
        match operand {
            Type::Dyn | Type::Open(_) => Type::Dyn,
            Type::Map(parts) => {
                let [_, value] = *parts;
                value
            }
            Type::Optional(inner) => Type::optional(self.field(at, *inner, field)),
            Type::Named(name) if name == "kubernetes.variables" => {
                let known =
                    self.scope.composed.into_iter().flatten().rev().find(|(known, _)| *known == field);
                match known {
                    Some((_, ty)) => ty.clone(),
                    None => self.wrong(at, format!("undefined field '{field}'")),
                }
            }
            Type::Named(name)
                if field == "requestResource" && name == "kubernetes.authorization.Authorizer" =>
            {
                Type::Named("kubernetes.authorization.ResourceCheck".into())
            }
            Type::Named(name) => {
                let declared = self.scope.declared.and_then(|declared| declared.field(&name, field));
                let measured = || self.scope.measured.and_then(|measured| measured.field(&name, field));
                let declared = declared.or_else(measured);
                match declared.unwrap_or_else(|| signatures::field(&name, field)) {
                    Some(ty) => ty,
                    None => self.wrong(at, format!("undefined field '{field}'")),
                }
            }
            other => {
                let why = format!("type '{}' does not support field selection", other.shown());
                self.wrong(at, why)
            }
        }
    }

    fn index(
        &mut self,
        at: usize,
        operand: &'t Expression,
        index: &'t Expression,
        optional: bool,
    ) -> Known<'t> {
        let parts = [self.of(operand), self.of(index)];
        let known = self.call(at, if optional { "_[?_]" } else { "_[_]" }, false, &parts);
        let [operand, _] = parts;
        if optional {
            return known;
        }
        let step = if matches!(operand.ty, Type::List(_)) { "@items" } else { "@values" };
        let place = operand.place.step(step, self.scope.measured);
        let mut known = Known::placed(known.ty, known.cost, place);
        known.size = operand.entries.map(|entries| entries.value).or(known.size);
        known
    }

    fn call(&mut self, at: usize, function: &str, method: bool, arguments: &[Known<'t>]) -> Known<'t> {
        let types: Vec<Type> = arguments.iter().map(|argument| argument.ty.clone()).collect();
        let ty = match signatures::call(function, method, &types) {
            Outcome::Gives(ty) => ty,
            Outcome::Unknown => self.undeclared(at, function),
            Outcome::Mismatch => {
                let all: Vec<String> = types.iter().map(Type::shown).collect();
                let applied = match all.split_first() {
                    Some((target, rest)) if method => format!("{target}.({})", rest.join(", ")),
                    _ => format!("({})", all.join(", ")),
                };
                self.wrong(at, format!("found no matching overload for '{function}' applied to '{applied}'"))
            }
        };
        let (own, size) = cost::of_call(function, method, arguments, self.scope.measured);
        let mut known =
            Known::made(ty, arguments.iter().fold(own, |sum, argument| sum.saturating_add(argument.cost)));
        known.size = size.or(known.size);
        if let ("dyn", [argument]) = (function, arguments) {
            (known.size, known.entries) = (argument.size, argument.entries);
        }
        known
    }

    fn junction(&mut self, at: usize, function: &str, parts: &'t [Expression]) -> Known<'t> {
        let mut parts = parts.iter().map(|part| self.of(part)).collect::<Vec<_>>().into_iter();
        let first = parts.next().unwrap_or_else(|| Known::made(Type::BOOL, 0));
        parts.fold(first, |left, right| {
            let total = left.cost.saturating_add(right.cost);
            let known = self.call(at, function, false, &[left, right]);
            Known::made(known.ty, total)
        })
    }

    fn choice(&mut self, at: usize, parts: &'t [Expression; 3]) -> Known<'t> {
        let parts = [&parts[0], &parts[1], &parts[2]].map(|part| self.of(part));
        let known = self.call(at, "_?_:_", false, &parts);
        let [condition, yes, no] = parts;
        Known {
            cost: condition.cost.saturating_add(yes.cost.max(no.cost)),
            size: Some(yes.size().union(no.size())),
            entries: yes.entries.zip(no.entries).map(|(yes, no)| yes.union(no)),
            ..known
        }
    }

    /// The type of an item, whose value an optional one has.
    fn item(&mut self, item: &'t Item) -> Known<'t> {
        let mut known = self.of(&item.value);
        if item.optional
            && let Type::Optional(value) = known.ty
        {
            known.ty = *value;
        }
        if self.in_format {
            self.given.push((item.value.at, known.ty.clone()));
        }
        known
    }

    fn doubt(&mut self, at: usize, why: String) {
        if self.doubts.len() < MAX_ISSUES {
            self.doubts.push((at, SyntaxError::new(self.text, at, why)));
        }
    }

    /// Looks at a literal that is read when the function is called.
    fn look(&mut self, function: &str, argument: Option<&Expression>) {
        let Some(Expression { at, kind: Kind::Literal(value), .. }) = argument else { return };
        let outcome = match function {
            "duration" | "timestamp" => functions::call(function, std::slice::from_ref(value)),
            "matches" => functions::call(function, &[Value::text(""), value.clone()]),
            _ => return,
        };
        if outcome.is_err() {
            self.doubt(*at, format!("invalid {function} argument"));
        }
    }

    /// Takes one more of several values, which should be of the type of the first. Of a list, only the first that is not
    /// is told.
    fn also(&mut self, alike: &mut Option<Alike>, value: &Expression, ty: Type, in_list: bool) {
        let open = match &value.kind {
            Kind::List(items) => items.is_empty(),
            Kind::Map(entries) => entries.is_empty(),
            _ => false,
        };
        let Some(alike) = alike else {
            *alike = Some(Alike { first: ty.clone(), open, common: ty, differs: false });
            return;
        };
        let same_kind = std::mem::discriminant(&alike.first) == std::mem::discriminant(&ty);
        if alike.first == ty || (same_kind && (open || alike.open)) {
            if alike.open && !open {
                (alike.first, alike.open) = (ty.clone(), false);
                alike.common = if alike.differs { Type::Dyn } else { ty };
            }
            return;
        }
        if !self.in_format && !(in_list && alike.differs) {
            let why = format!("expected type '{}' but found '{}'", alike.first.shown(), ty.shown());
            self.doubt(value.at, why);
        }
        (alike.common, alike.differs) = (Type::Dyn, true);
    }

    fn list(&mut self, items: &'t [Item]) -> Known<'t> {
        let (mut alike, mut size, mut total) = (None, None::<Size>, cost::LIST);
        for item in items {
            let known = self.item(item);
            total = total.saturating_add(known.cost);
            let own = known.size();
            size = Some(size.map_or(own, |size| size.union(own)));
            self.also(&mut alike, &item.value, known.ty, true);
        }
        let mut list = Known::made(Type::list(common(alike)), total);
        list.size = Some(Size::exactly(items.len() as u64));
        let value = size.unwrap_or(Size::exactly(0));
        list.entries = Some(Entries { key: Size::exactly(1), value, list: true });
        list
    }

    fn map(&mut self, entries: &'t [(Expression, Item)]) -> Known<'t> {
        let (mut types, mut sizes, mut total) = ((None, None), None::<(Size, Size)>, cost::MAP);
        for (key, item) in entries {
            let (known, value) = (self.of(key), self.item(item));
            total = total.saturating_add(known.cost).saturating_add(value.cost);
            let own = (known.size(), value.size());
            sizes = Some(sizes.map_or(own, |(keys, values)| (keys.union(own.0), values.union(own.1))));
            self.also(&mut types.0, key, known.ty, false);
            self.also(&mut types.1, &item.value, value.ty, false);
        }
        let ty = Type::map(common(types.0), common(types.1));
        let mut map = Known::made(ty, total);
        map.size = Some(Size::exactly(entries.len() as u64));
        let (key, value) = sizes.unwrap_or((Size::exactly(0), Size::exactly(0)));
        map.entries = Some(Entries { key, value, list: false });
        map
    }

    fn made(&mut self, at: usize, name: &str, fields: &'t [(Box<str>, Item)]) -> Known<'t> {
        let known = name == "JSONPatch" || name == "Object" || name.starts_with("Object.");
        let mut total = cost::OBJECT;
        for (field, item) in fields {
            let given = self.item(item);
            total = total.saturating_add(given.cost);
            if !self.scope.patches || !known {
                continue;
            }
            match signatures::field(name, field) {
                Some(wanted) if !given.ty.fits(&wanted, &mut Vec::new()) => {
                    let (wanted, given) = (wanted.shown(), given.ty.shown());
                    let why = format!(
                        "expected type of field '{field}' is '{wanted}' but provided type is '{given}'"
                    );
                    self.wrong(item.value.at, why);
                }
                Some(_) => {}
                None => drop(self.wrong(item.value.at, format!("undefined field '{field}'"))),
            }
        }
        if !self.scope.patches || !known {
            let ty = self.undeclared(at, name);
            return Known::made(ty, total);
        }
        Known::made(Type::Named(name.to_owned()), total)
    }

    fn bound(&mut self, name: &'t str, value: Known<'t>, body: &'t Expression) -> Known<'t> {
        let spent = value.cost.saturating_add(cost::LIST);
        let body = self.within(vec![(name, value)], |checker| checker.of(body));
        Known { cost: spent.saturating_add(body.cost), place: Place::Made, ..body }
    }

    fn within<T>(&mut self, names: Vec<(&'t str, Known<'t>)>, check: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.variables.len();
        self.variables.extend(names);
        let result = check(self);
        self.variables.truncate(before);
        result
    }
}

/// The type of values that should be of one.
struct Alike {
    /// That of the first.
    first: Type,
    /// Whether those were empty lists or maps, which are of any type of lists or maps.
    open: bool,
    /// That of all.
    common: Type,
    /// Whether some were of another.
    differs: bool,
}

fn common(alike: Option<Alike>) -> Type {
    alike.map_or(Type::Dyn, |alike| alike.common)
}

fn literal(value: &Value<'_>) -> Known<'static> {
    let (ty, size) = match value {
        Value::Null => (Type::Null, 1),
        Value::Bool(_) => (Type::BOOL, 1),
        Value::Int(_) => (Type::INT, 1),
        Value::Uint(_) => (Type::Plain(Plain::Uint), 1),
        Value::Double(_) => (Type::Plain(Plain::Double), 1),
        Value::Text(text) => (Type::TEXT, text.chars().count()),
        Value::Bytes(bytes) => (Type::Plain(Plain::Bytes), bytes.len()),
        _ => return Known::made(Type::Dyn, 0),
    };
    let literal = if let Value::Int(number) = value { Some(*number) } else { None };
    Known { size: Some(Size::exactly(size as u64)), literal, ..Known::made(ty, 0) }
}
