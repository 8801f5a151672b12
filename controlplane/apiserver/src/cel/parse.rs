//! From text to expressions, by recursive descent along CEL's grammar. Macros are expanded here.

mod fault;
mod macros;
mod words;

pub use self::{fault::SyntaxError, words::is_reserved};
use self::{macros::Expanded, words::RESERVED};
use super::{
    functions,
    syntax::{Expression, Item, Kind, Operator},
    token::{Token, tokens},
    value::Value,
};

/// How deep parentheses and their like may nest.
const MAX_DEPTH: usize = 100;

/// The longest expression, in characters.
const MAX_SIZE: usize = 100_000;

const TOO_DEEP: &str = "expression recursion limit exceeded";

/// So many times a parser goes on after an error.
const MAX_RECOVERIES: usize = 30;

/// What may begin an operand, as errors show it.
const OPERAND: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// What may follow the parenthesis of a call.
const ARGUMENT: &str = "{'[', '{', '(', ')', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// Parses an expression.
pub fn parse(text: &str, bindings: bool) -> Result<Expression, SyntaxError> {
    let size = text.chars().count();
    if size > MAX_SIZE {
        let why = format!("expression code point size exceeds limit: size: {size}, limit {MAX_SIZE}");
        return Err(SyntaxError::new("", 0, why));
    }
    let (tokens, errors) = tokens(text);
    let mut parser =
        Parser { text, tokens, errors, next: 0, failed: None, depth: 0, bound: Vec::new(), bindings };
    let expression = parser.whole();
    if let Err(error) = &expression
        && parser.failed != Some(parser.next)
    {
        parser.errors.push(error.clone());
    }
    SyntaxError::all(parser.errors).map_or(expression, Err)
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<(usize, Token)>,
    /// What is wrong so far.
    errors: Vec<SyntaxError>,
    next: usize,
    /// The token that was the last to be wrong. More is said only when others have been right.
    failed: Option<usize>,
    depth: usize,
    /// The variables of the macros around.
    bound: Vec<Box<str>>,
    /// Whether there is a macro `cel.bind`.
    bindings: bool,
}

impl Parser<'_> {
    fn whole(&mut self) -> Result<Expression, SyntaxError> {
        let expression = self.expression()?;
        if self.peek() == &Token::End {
            return Ok(expression);
        }
        let is_last = matches!(self.tokens.get(self.next + 1), Some((_, Token::End)));
        let what = if is_last { "extraneous" } else { "mismatched" };
        Err(self.error(format!("Syntax error: {what} input '{}' expecting <EOF>", self.shown())))
    }

    /// The next token as it is written.
    fn shown(&self) -> &str {
        let end = self.tokens.get(self.next + 1).map_or(self.text.len(), |(at, _)| *at);
        match self.peek() {
            Token::End => "<EOF>",
            Token::Sign(sign) => sign,
            Token::Name(name) => name,
            _ => self.text[self.at()..end].trim_end(),
        }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |(at, _)| *at)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn sees(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(s) if *s == sign)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.sees(sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), SyntaxError> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected(&[sign], &format!("'{sign}'"))) }
    }

    /// Between what is listed, before what closes the list.
    fn separator(&mut self, close: &str) -> Result<(), SyntaxError> {
        if self.accept(",") {
            Ok(())
        } else {
            Err(self.unexpected(&[close, ","], &format!("{{'{close}', ','}}")))
        }
    }

    /// A token that is none of these signs; it is one too many if one of them follows.
    fn unexpected(&self, signs: &[&str], expected: &str) -> SyntaxError {
        let follows =
            |(_, token): &(usize, Token)| matches!(token, Token::Sign(sign) if signs.contains(sign));
        let is_extra = self.tokens.get(self.next + 1).is_some_and(follows);
        let what = if is_extra { "extraneous" } else { "mismatched" };
        self.error(format!("Syntax error: {what} input '{}' expecting {expected}", self.shown()))
    }

    fn error(&self, why: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.text, self.at(), why)
    }

    fn make(&self, at: usize, kind: Kind) -> Result<Expression, SyntaxError> {
        Expression::new(at, kind).ok_or_else(|| SyntaxError::new(self.text, at, TOO_DEEP))
    }

    fn expression(&mut self) -> Result<Expression, SyntaxError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(TOO_DEEP));
        }
        let condition = self.or()?;
        let at = self.at();
        let expression = if self.accept("?") {
            let yes = self.or()?;
            self.expect(":")?;
            let no = self.expression()?;
            self.make(at, Kind::Choice(Box::new([condition, yes, no])))?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn or(&mut self) -> Result<Expression, SyntaxError> {
        let (first, at) = (self.and()?, self.at());
        let mut parts = vec![first];
        while self.accept("||") {
            parts.push(self.and()?);
        }
        if parts.len() == 1 { Ok(parts.remove(0)) } else { self.make(at, Kind::Or(parts)) }
    }

    fn and(&mut self) -> Result<Expression, SyntaxError> {
        let (first, at) = (self.binary(0)?, self.at());
        let mut parts = vec![first];
        while self.accept("&&") {
            parts.push(self.binary(0)?);
        }
        if parts.len() == 1 { Ok(parts.remove(0)) } else { self.make(at, Kind::And(parts)) }
    }

    /// Operators with two sides; those of higher levels bind tighter.
    fn binary(&mut self, level: usize) -> Result<Expression, SyntaxError> {
        const LEVELS: &[&[(&str, Operator)]] = &[
            &[
                ("==", Operator::Equal),
                ("!=", Operator::NotEqual),
                ("<=", Operator::LessOrEqual),
                (">=", Operator::GreaterOrEqual),
                ("<", Operator::Less),
                (">", Operator::Greater),
            ],
            &[("+", Operator::Add), ("-", Operator::Subtract)],
            &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Modulo)],
        ];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            let at = self.at();
            let operator = match self.peek() {
                Token::Name(name) if level == 0 && name == "in" => Operator::In,
                Token::Sign(sign) => match operators.iter().find(|(s, _)| s == sign) {
                    Some((_, operator)) => *operator,
                    None => return Ok(left),
                },
                _ => return Ok(left),
            };
            self.next += 1;
            let right = self.binary(level + 1)?;
            left = self.make(at, Kind::Binary(operator, Box::new([left, right])))?;
        }
    }

    fn unary(&mut self) -> Result<Expression, SyntaxError> {
        let at = self.at();
        for (sign, negate) in [("!", false), ("-", true)] {
            let mut count = 0;
            while self.accept(sign) {
                count += 1;
            }
            if count == 0 {
                continue;
            }
            if negate && count == 1 && matches!(self.peek(), Token::Int(_) | Token::Double(_)) {
                self.tokens[self.next].1 = match self.peek() {
                    Token::Int(n) => Token::Int(n.wrapping_neg()),
                    Token::Double(n) => Token::Double(-n),
                    other => other.clone(),
                };
                return self.member();
            }
            let operand = Box::new(self.member()?);
            if count % 2 == 0 {
                return Ok(*operand);
            }
            return self.make(at, if negate { Kind::Negate(operand) } else { Kind::Not(operand) });
        }
        if self.peek() == &Token::Int(i64::MIN) {
            return Err(self.error("invalid int literal"));
        }
        self.member()
    }

    fn member(&mut self) -> Result<Expression, SyntaxError> {
        let mut operand = self.primary()?;
        loop {
            let at = self.at();
            if self.accept(".") {
                let optional = self.accept("?");
                let name = self.field()?;
                operand = if !optional && self.sees("(") {
                    self.method(operand, &name)?
                } else {
                    let kind = Kind::Select { operand: Box::new(operand), field: name.into(), optional };
                    self.make(at, kind)?
                };
            } else if self.accept("[") {
                let optional = self.accept("?");
                let index = Box::new(self.expression()?);
                self.expect("]")?;
                operand = self.make(at, Kind::Index { operand: Box::new(operand), index, optional })?;
            } else if let Some(name) = type_name(&operand).filter(|_| self.sees("{")) {
                self.next += 1;
                operand = self.fields(at, name)?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn field(&mut self) -> Result<String, SyntaxError> {
        match self.take() {
            Token::Name(name) => Ok(name),
            Token::Quoted => {
                self.next -= 1;
                Err(self.error("unsupported syntax: '`'"))
            }
            other => {
                self.next -= 1;
                let next = if other == Token::End { "" } else { self.shown() };
                let why = format!("Syntax error: no viable alternative at input '.{next}'");
                Err(self.error(why))
            }
        }
    }

    fn primary(&mut self) -> Result<Expression, SyntaxError> {
        let at = self.at();
        let kind = match self.take() {
            Token::Int(n) => Kind::Literal(Value::Int(n)),
            Token::Uint(n) => Kind::Literal(Value::Uint(n)),
            Token::Double(n) => Kind::Literal(Value::Double(n)),
            Token::Text(text) => Kind::Literal(Value::Text(text.into())),
            Token::Bytes(bytes) => Kind::Literal(Value::Bytes(bytes.into())),
            Token::Name(name) => return self.name(&name, at),
            Token::Sign(".") => {
                let name = self.field()?;
                return self.name(&name, at);
            }
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => Kind::List(self.items()?),
            Token::Sign("{") => Kind::Map(self.entries()?),
            _ => {
                self.next -= 1;
                return self.no_operand();
            }
        };
        self.make(at, kind)
    }

    /// What is done where an operand should begin. A token too many is left out; else what follows goes on as if there
    /// had been one.
    fn no_operand(&mut self) -> Result<Expression, SyntaxError> {
        let at = self.at();
        let is_extra = self.peek() != &Token::End
            && self.tokens.get(self.next + 1).is_some_and(|(_, token)| match token {
                Token::Name(name) => name != "in",
                Token::Sign(sign) => matches!(*sign, "[" | "{" | "(" | "." | "-" | "!"),
                Token::Quoted | Token::End => false,
                _ => true,
            });
        self.depth += 1;
        if self.errors.len() >= MAX_RECOVERIES || self.depth > MAX_DEPTH {
            return Err(self.error(format!("error recovery attempt limit exceeded: {MAX_RECOVERIES}")));
        }
        let what = if is_extra { "extraneous" } else { "mismatched" };
        let why = format!("Syntax error: {what} input '{}' expecting {OPERAND}", self.shown());
        if self.failed != Some(self.next) {
            self.errors.push(self.error(why));
        }
        self.failed = Some(self.next);
        if is_extra {
            self.next += 1;
            return self.unary();
        }
        self.make(at, Kind::Literal(Value::Null))
    }

    fn name(&mut self, name: &str, at: usize) -> Result<Expression, SyntaxError> {
        let kind = match name {
            "true" => Kind::Literal(Value::Bool(true)),
            "false" => Kind::Literal(Value::Bool(false)),
            "null" => Kind::Literal(Value::Null),
            "in" => {
                self.next -= 1;
                return self.no_operand();
            }
            _ if RESERVED.contains(&name) => {
                return Err(SyntaxError::new(self.text, at, format!("reserved identifier: {name}")));
            }
            _ if self.sees("(") => {
                // A call is where its parenthesis is.
                let open = self.at();
                self.next += 1;
                let mut arguments = self.arguments()?;
                if name == "has" && arguments.len() == 1 {
                    let argument = arguments.remove(0);
                    return match argument.kind {
                        Kind::Select { operand, field, optional: false } => {
                            self.make(open, Kind::Has { operand, field })
                        }
                        _ => Err(SyntaxError::new(self.text, argument.at, "invalid argument to has() macro")),
                    };
                }
                return self.make(open, Kind::Call { function: name.into(), method: false, arguments });
            }
            _ => Kind::Variable(name.into()),
        };
        self.make(at, kind)
    }

    /// Arguments up to the closing parenthesis.
    fn arguments(&mut self) -> Result<Vec<Expression>, SyntaxError> {
        let mut arguments = Vec::new();
        while !self.accept(")") {
            if arguments.is_empty() && self.peek() == &Token::End {
                return Err(
                    self.error(format!("Syntax error: mismatched input '<EOF>' expecting {ARGUMENT}"))
                );
            }
            if !arguments.is_empty() && !self.accept(",") {
                return Err(self.unexpected(&[")"], "')'"));
            }
            arguments.push(self.expression()?);
        }
        Ok(arguments)
    }

    fn items(&mut self) -> Result<Vec<Item>, SyntaxError> {
        let mut items = Vec::new();
        while !self.accept("]") {
            if !items.is_empty() {
                self.separator("]")?;
                if self.accept("]") {
                    break;
                }
            }
            let optional = self.accept("?");
            items.push(Item { optional, value: self.expression()? });
        }
        Ok(items)
    }

    fn entries(&mut self) -> Result<Vec<(Expression, Item)>, SyntaxError> {
        let mut entries = Vec::new();
        while !self.accept("}") {
            if !entries.is_empty() {
                self.separator("}")?;
                if self.accept("}") {
                    break;
                }
            }
            let optional = self.accept("?");
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, Item { optional, value: self.expression()? }));
        }
        Ok(entries)
    }

    /// The fields of `Type{a: b}`.
    fn fields(&mut self, at: usize, name: String) -> Result<Expression, SyntaxError> {
        let mut fields = Vec::new();
        while !self.accept("}") {
            if !fields.is_empty() {
                self.separator("}")?;
                if self.accept("}") {
                    break;
                }
            }
            let optional = self.accept("?");
            let field = self.field()?;
            self.expect(":")?;
            fields.push((field.into(), Item { optional, value: self.expression()? }));
        }
        self.make(at, Kind::Make { name: name.into(), fields })
    }

    fn method(&mut self, target: Expression, name: &str) -> Result<Expression, SyntaxError> {
        let at = self.at();
        self.expect("(")?;
        if let Some(expression) = self.with_variables(&target, name, at)? {
            let kind = match expression {
                Expanded::Comprehension(mut comprehension) => {
                    comprehension.range = target;
                    Kind::Comprehension(comprehension)
                }
                Expanded::Bind(name, parts) => Kind::Bind { name, parts },
                Expanded::Sorted(name, body) => Kind::Bind { name, parts: Box::new([target, body]) },
                Expanded::OptionalMap(name, body, flat) => {
                    Kind::OptionalMap { name, parts: Box::new([target, body]), flat }
                }
            };
            return self.make(at, kind);
        }
        let mut arguments = self.arguments()?;
        if let Kind::Variable(namespace) = &target.kind
            && !self.bound.contains(namespace)
            && let function = format!("{namespace}.{name}")
            && functions::is_known(&function)
        {
            let function = function.into();
            return self.make(at, Kind::Call { function, method: false, arguments });
        }
        arguments.insert(0, target);
        self.make(at, Kind::Call { function: name.into(), method: true, arguments })
    }
}

/// `Object` or `Object.spec`: names before a brace that makes an object.
fn type_name(expression: &Expression) -> Option<String> {
    match &expression.kind {
        Kind::Variable(name) => Some(name.to_string()),
        Kind::Select { operand, field, optional: false } => {
            type_name(operand).map(|name| format!("{name}.{field}"))
        }
        _ => None,
    }
}
