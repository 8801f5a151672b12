//! What can be known of an expression before it is evaluated: whether its names exist and its types fit.
//!
//! What nobody can know before is `dyn`, which fits everywhere.

use super::{
    declared::Declared,
    functions,
    parse::SyntaxError,
    signatures::{self, Outcome},
    syntax::{Aggregate, Comprehension, Expression, Item, Kind, Operator},
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

/// The type of an expression, or what is wrong with it.
pub fn check(expression: &Expression, text: &str, scope: &Scope<'_>) -> Result<Type, Issues> {
    let variables = scope.variables.iter().map(|(name, ty)| (*name, ty.clone())).collect();
    let mut checker = Checker { text, scope, variables, issues: Vec::new() };
    let ty = checker.of(expression);
    if checker.issues.is_empty() {
        return Ok(ty);
    }
    checker.issues.sort_by_key(|(at, _)| *at);
    Err(Issues(checker.issues.into_iter().map(|(_, issue)| issue).collect()))
}

struct Checker<'t> {
    text: &'t str,
    scope: &'t Scope<'t>,
    variables: Vec<(&'t str, Type)>,
    issues: Vec<(usize, SyntaxError)>,
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

    fn of(&mut self, expression: &'t Expression) -> Type {
        let at = expression.at;
        match &expression.kind {
            Kind::Literal(value) => literal(value),
            Kind::Variable(name) => self.variable(at, name),
            Kind::Select { operand, field, optional } => {
                let ty = self.select(at, operand, field);
                match ty {
                    Type::Optional(_) => ty,
                    ty if *optional => Type::optional(ty),
                    ty => ty,
                }
            }
            Kind::Has { operand, field } => {
                self.select(at, operand, field);
                Type::BOOL
            }
            Kind::Index { operand, index, optional } => {
                let types = [self.of(operand), self.of(index)];
                self.call(at, if *optional { "_[?_]" } else { "_[_]" }, false, &types)
            }
            Kind::Call { function, method, arguments } => {
                let types: Vec<Type> = arguments.iter().map(|argument| self.of(argument)).collect();
                self.call(at, function, *method, &types)
            }
            Kind::List(items) => {
                let types: Vec<Type> = items.iter().map(|item| self.item(item)).collect();
                Type::list(types.into_iter().reduce(|a, b| a.join(&b)).unwrap_or(Type::Dyn))
            }
            Kind::Map(entries) => {
                let mut types: Option<(Type, Type)> = None;
                for (key, item) in entries {
                    let (key, value) = (self.of(key), self.item(item));
                    types = Some(match types {
                        Some((keys, values)) => (keys.join(&key), values.join(&value)),
                        None => (key, value),
                    });
                }
                let (key, value) = types.unwrap_or((Type::Dyn, Type::Dyn));
                Type::map(key, value)
            }
            Kind::Make { name, fields } => self.made(at, name, fields),
            Kind::Not(inner) => {
                let types = [self.of(inner)];
                self.call(at, "!_", false, &types)
            }
            Kind::Negate(inner) => {
                let types = [self.of(inner)];
                self.call(at, "-_", false, &types)
            }
            Kind::And(parts) => self.junction(at, "_&&_", parts),
            Kind::Or(parts) => self.junction(at, "_||_", parts),
            Kind::Choice(parts) => {
                let types: Vec<Type> = parts.iter().map(|part| self.of(part)).collect();
                self.call(at, "_?_:_", false, &types)
            }
            Kind::Binary(operator, parts) => {
                let types: Vec<Type> = parts.iter().map(|part| self.of(part)).collect();
                self.call(at, function_of(*operator), false, &types)
            }
            Kind::Bind { name, parts } => {
                let value = self.of(&parts[0]);
                self.within(&[(name, value)], |checker| checker.of(&parts[1]))
            }
            Kind::OptionalMap { name, parts, flat } => {
                let value = match self.of(&parts[0]) {
                    Type::Optional(value) => *value,
                    _ => Type::Dyn,
                };
                let body = self.within(&[(name, value)], |checker| checker.of(&parts[1]));
                if *flat { body } else { Type::optional(body) }
            }
            Kind::Comprehension(of) => self.comprehension(of),
        }
    }

    fn variable(&mut self, at: usize, name: &'t str) -> Type {
        if let Some((_, ty)) = self.variables.iter().rev().find(|(known, _)| *known == name) {
            return ty.clone();
        }
        if functions::TYPES.contains(&name) {
            return Type::Type(Box::new(match name {
                "list" => Type::list(Type::Dyn),
                "map" => Type::map(Type::Dyn, Type::Dyn),
                "null_type" => Type::Null,
                "type" | "optional_type" => Type::Dyn,
                name => Type::read(name),
            }));
        }
        if name == VARIABLES && self.scope.composed.is_some() {
            return Type::Named("kubernetes.variables".into());
        }
        self.undeclared(at, name)
    }

    fn select(&mut self, at: usize, operand: &'t Expression, field: &str) -> Type {
        let ty = self.of(operand);
        self.field(at, ty, field)
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

    fn call(&mut self, at: usize, function: &str, method: bool, types: &[Type]) -> Type {
        match signatures::call(function, method, types) {
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
        }
    }

    fn junction(&mut self, at: usize, function: &str, parts: &'t [Expression]) -> Type {
        let mut types = parts.iter().map(|part| self.of(part)).collect::<Vec<_>>().into_iter();
        let first = types.next().unwrap_or(Type::BOOL);
        types.fold(first, |left, right| self.call(at, function, false, &[left, right]))
    }

    fn item(&mut self, item: &'t Item) -> Type {
        match self.of(&item.value) {
            Type::Optional(value) if item.optional => *value,
            ty => ty,
        }
    }

    fn made(&mut self, at: usize, name: &str, fields: &'t [(Box<str>, Item)]) -> Type {
        let known = name == "JSONPatch" || name == "Object" || name.starts_with("Object.");
        if !self.scope.patches || !known {
            for (_, item) in fields {
                self.item(item);
            }
            return self.undeclared(at, name);
        }
        for (field, item) in fields {
            let given = self.item(item);
            match signatures::field(name, field) {
                Some(wanted) if !given.fits(&wanted, &mut Vec::new()) => {
                    let (wanted, given) = (wanted.shown(), given.shown());
                    let why = format!(
                        "expected type of field '{field}' is '{wanted}' but provided type is '{given}'"
                    );
                    self.wrong(item.value.at, why);
                }
                Some(_) => {}
                None => drop(self.wrong(item.value.at, format!("undefined field '{field}'"))),
            }
        }
        Type::Named(name.to_owned())
    }

    fn comprehension(&mut self, of: &'t Comprehension) -> Type {
        let range = self.of(&of.range);
        let two = of.second.is_some();
        let (first, second) = match &range {
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
        let mut names: Vec<(&'t str, Type)> = vec![(&of.name, first.clone())];
        names.extend(of.second.as_deref().map(|name| (name, second)));
        let body = self.within(&names, |checker| {
            if let Some(filter) = &of.filter {
                checker.of(filter);
            }
            checker.of(&of.body)
        });
        match of.aggregate {
            Aggregate::All | Aggregate::Exists | Aggregate::ExistsOne => Type::BOOL,
            Aggregate::List => Type::list(body),
            Aggregate::Filter => Type::list(first),
            Aggregate::Map => Type::map(first, body),
            Aggregate::MapEntry => body,
        }
    }

    fn within<T>(&mut self, names: &[(&'t str, Type)], check: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.variables.len();
        self.variables.extend(names.iter().cloned());
        let result = check(self);
        self.variables.truncate(before);
        result
    }
}

fn literal(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::BOOL,
        Value::Int(_) => Type::INT,
        Value::Uint(_) => Type::Plain(Plain::Uint),
        Value::Double(_) => Type::Plain(Plain::Double),
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::Plain(Plain::Bytes),
        _ => Type::Dyn,
    }
}

const fn function_of(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "_+_",
        Operator::Subtract => "_-_",
        Operator::Multiply => "_*_",
        Operator::Divide => "_/_",
        Operator::Modulo => "_%_",
        Operator::Equal => "_==_",
        Operator::NotEqual => "_!=_",
        Operator::Less => "_<_",
        Operator::LessOrEqual => "_<=_",
        Operator::Greater => "_>_",
        Operator::GreaterOrEqual => "_>=_",
        Operator::In => "@in",
    }
}
