//! Expressions, parsed.

use super::value::Value;

/// How deep expressions may nest: what walks them recurses.
const MAX_HEIGHT: u16 = 200;

/// An expression and where it starts in the text.
#[derive(Debug)]
pub struct Expression {
    /// The offset of what it is named by.
    pub at: usize,
    /// How deep the expressions in it nest.
    height: u16,
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
    /// `{a: b, ?c: d}`
    Map(Vec<(Expression, Item)>),
    /// `Type{a: b, ?c: d}`
    Make {
        /// The name of the type.
        name: Box<str>,
        /// Its fields.
        fields: Vec<(Box<str>, Item)>,
    },
    /// `!a`
    Not(Box<Expression>),
    /// `-a`
    Negate(Box<Expression>),
    /// `a && b && c`
    And(Vec<Expression>),
    /// `a || b || c`
    Or(Vec<Expression>),
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

impl Operator {
    /// The name of the function that it calls.
    pub const fn function(self) -> &'static str {
        match self {
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
    /// An expression; `None` if it nests too deep.
    pub fn new(at: usize, kind: Kind) -> Option<Self> {
        let mut height = 0;
        kind.children(&mut |child| height = height.max(child.height + 1));
        (height <= MAX_HEIGHT).then_some(Self { at, height, kind })
    }

    /// Whether its value is known before it is evaluated: literals, lists and maps of them, and what they are converted to.
    pub fn is_constant(&self) -> bool {
        let all = |items: &[Item]| items.iter().all(|item| !item.optional && item.value.is_constant());
        match &self.kind {
            Kind::Literal(_) => true,
            Kind::List(items) => all(items),
            Kind::Map(entries) => entries
                .iter()
                .all(|(key, item)| !item.optional && key.is_constant() && item.value.is_constant()),
            Kind::Call { function, method: false, arguments } => {
                let converts = matches!(
                    &**function,
                    "bool"
                        | "bytes"
                        | "double"
                        | "duration"
                        | "dyn"
                        | "int"
                        | "string"
                        | "timestamp"
                        | "type"
                        | "uint"
                );
                converts && matches!(arguments.as_slice(), [one] if one.is_constant())
            }
            _ => false,
        }
    }

    /// Whether it is a variable or steps from something: `a.b[c]`.
    pub fn is_path(&self) -> bool {
        matches!(self.kind, Kind::Variable(_) | Kind::Select { .. } | Kind::Index { .. })
    }

    /// Whether it is a path that does not begin with a choice.
    pub fn begins_path(&self) -> bool {
        match &self.kind {
            Kind::Select { operand, .. } | Kind::Index { operand, .. } => {
                operand.begins_path() || !matches!(operand.kind, Kind::Choice(_))
            }
            Kind::Variable(_) => true,
            _ => false,
        }
    }

    /// Visits this and all expressions in it.
    pub fn visit<'e>(&'e self, visitor: &mut dyn FnMut(&'e Self)) {
        visitor(self);
        self.kind.children(&mut |child| child.visit(visitor));
    }
}

impl Kind {
    /// Visits the expressions that it is made of.
    fn children<'e>(&'e self, visit: &mut dyn FnMut(&'e Expression)) {
        match self {
            Self::Literal(_) | Self::Variable(_) => {}
            Self::Select { operand, .. } | Self::Has { operand, .. } => visit(operand),
            Self::Index { operand, index, .. } => {
                visit(operand);
                visit(index);
            }
            Self::Call { arguments, .. } => arguments.iter().for_each(visit),
            Self::List(items) => items.iter().for_each(|item| visit(&item.value)),
            Self::Map(entries) => entries.iter().for_each(|(key, item)| {
                visit(key);
                visit(&item.value);
            }),
            Self::Make { fields, .. } => fields.iter().for_each(|(_, item)| visit(&item.value)),
            Self::Not(inner) | Self::Negate(inner) => visit(inner),
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(visit),
            Self::Choice(parts) => parts.iter().for_each(visit),
            Self::Binary(_, parts) | Self::Bind { parts, .. } | Self::OptionalMap { parts, .. } => {
                parts.iter().for_each(visit);
            }
            Self::Comprehension(comprehension) => {
                visit(&comprehension.range);
                comprehension.filter.iter().for_each(&mut *visit);
                visit(&comprehension.body);
            }
        }
    }
}
