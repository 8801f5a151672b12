//! Expressions, parsed.

use super::value::Value;

/// An expression and where it starts in the text.
#[derive(Debug)]
pub struct Expression {
    /// The offset of what it is named by.
    pub at: usize,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of expressions.
#[derive(Debug)]
pub enum Kind {
    /// A literal.
    Literal(Value<'static>),
    /// A variable, or the name of a type.
    Variable(Box<str>),
    /// `operand.field`, `operand.?field`
    Select {
        /// Before the dot.
        operand: Box<Expression>,
        /// After the dot.
        field: Box<str>,
        /// With a question mark.
        optional: bool,
    },
    /// `has(operand.field)`
    Has {
        /// Before the dot.
        operand: Box<Expression>,
        /// After the dot.
        field: Box<str>,
    },
    /// `operand[index]`, `operand[?index]`
    Index {
        /// Before the bracket.
        operand: Box<Expression>,
        /// In the brackets.
        index: Box<Expression>,
        /// With a question mark.
        optional: bool,
    },
    /// A call of a function; the target of a method is its first argument.
    Call {
        /// The name, with its namespace.
        function: Box<str>,
        /// Whether it was called as a method.
        method: bool,
        /// What it is given.
        arguments: Vec<Expression>,
    },
    /// `[a, ?b]`
    List(Vec<Item>),
    /// `{a: b, ?c: d}` or `Type{a: b}`
    Map(Vec<(Expression, Item)>),
    /// `!a`
    Not(Box<Expression>),
    /// `-a`
    Negate(Box<Expression>),
    /// `a && b`
    And(Box<Expression>, Box<Expression>),
    /// `a || b`
    Or(Box<Expression>, Box<Expression>),
    /// `a ? b : c`
    Choice(Box<[Expression; 3]>),
    /// An operator with two sides.
    Binary(Operator, Box<[Expression; 2]>),
    /// A macro over a list or map.
    Comprehension(Box<Comprehension>),
    /// `cel.bind(name, value, body)`
    Bind {
        /// The variable.
        name: Box<str>,
        /// Its value and what it is for.
        parts: Box<[Expression; 2]>,
    },
    /// `target.optMap(name, body)` and `optFlatMap`
    OptionalMap {
        /// The variable.
        name: Box<str>,
        /// The optional and what becomes of its value.
        parts: Box<[Expression; 2]>,
        /// Whether the body makes an optional itself.
        flat: bool,
    },
}

/// An item of a list or the value of an entry; an optional one is left out where it has no value.
#[derive(Debug)]
pub struct Item {
    /// Marked by a question mark.
    pub optional: bool,
    /// The value.
    pub value: Expression,
}

/// Operators with two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `in`
    In,
}

/// What a comprehension makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// `all`
    All,
    /// `exists`
    Exists,
    /// `exists_one`
    ExistsOne,
    /// `map` and `transformList`
    List,
    /// `filter`
    Filter,
    /// `transformMap`
    Map,
    /// `transformMapEntry`
    MapEntry,
}

/// A macro over a list or map.
#[derive(Debug)]
pub struct Comprehension {
    /// What it makes.
    pub aggregate: Aggregate,
    /// Of what.
    pub range: Expression,
    /// The variable: the item or key; with a second one, the index or key.
    pub name: Box<str>,
    /// The second variable: the item or value.
    pub second: Option<Box<str>>,
    /// Which items count.
    pub filter: Option<Expression>,
    /// What is made of each.
    pub body: Expression,
}

impl Expression {
    /// Visits this and all expressions in it.
    pub fn visit<'e>(&'e self, visitor: &mut dyn FnMut(&'e Self)) {
        visitor(self);
        match &self.kind {
            Kind::Literal(_) | Kind::Variable(_) => {}
            Kind::Select { operand, .. } | Kind::Has { operand, .. } => operand.visit(visitor),
            Kind::Index { operand, index, .. } => {
                operand.visit(visitor);
                index.visit(visitor);
            }
            Kind::Call { arguments, .. } => arguments.iter().for_each(|a| a.visit(visitor)),
            Kind::List(items) => items.iter().for_each(|item| item.value.visit(visitor)),
            Kind::Map(entries) => entries.iter().for_each(|(key, item)| {
                key.visit(visitor);
                item.value.visit(visitor);
            }),
            Kind::Not(inner) | Kind::Negate(inner) => inner.visit(visitor),
            Kind::And(left, right) | Kind::Or(left, right) => {
                left.visit(visitor);
                right.visit(visitor);
            }
            Kind::Choice(parts) => parts.iter().for_each(|part| part.visit(visitor)),
            Kind::Binary(_, parts) | Kind::Bind { parts, .. } | Kind::OptionalMap { parts, .. } => {
                parts.iter().for_each(|part| part.visit(visitor));
            }
            Kind::Comprehension(comprehension) => {
                comprehension.range.visit(visitor);
                comprehension.filter.iter().for_each(|filter| filter.visit(visitor));
                comprehension.body.visit(visitor);
            }
        }
    }
}
