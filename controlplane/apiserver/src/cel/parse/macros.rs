//! The macros of CEL, which make expressions of the names and expressions that they are given.

use super::{Parser, SyntaxError};
use crate::cel::{
    syntax::{Aggregate, Comprehension, Expression, Kind},
    token::Token,
    value::Value,
};

impl Parser<'_> {
    /// The macros whose first arguments are the names of variables. Nothing is taken if it is none.
    pub(super) fn with_variables(
        &mut self,
        target: &Expression,
        name: &str,
        at: usize,
    ) -> Result<Option<Expanded>, SyntaxError> {
        let is_bind =
            self.bindings && name == "bind" && matches!(&target.kind, Kind::Variable(v) if &**v == "cel");
        let count = self.arguments_ahead();
        // Of how many names a macro is made, and with how many arguments; with others it is the call of a function.
        let two = match (name, count) {
            ("bind", 3) if is_bind => false,
            (
                "all" | "exists" | "exists_one" | "existsOne" | "filter" | "optMap" | "optFlatMap" | "sortBy",
                2,
            )
            | ("map", 2 | 3) => false,
            ("all" | "exists" | "exists_one" | "existsOne", 3)
            | ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => true,
            _ => return Ok(None),
        };
        let mut names: Vec<Box<str>> = Vec::new();
        for _ in 0..=u8::from(two) {
            let at = self.at();
            let Some(variable) = self.variable_then_comma() else {
                let at = self.expression().map_or(at, |wrong| wrong.at);
                let why = match name {
                    "map" | "filter" | "sortBy" => "argument is not an identifier".to_owned(),
                    "optMap" | "optFlatMap" => format!("{name}() variable name must be a simple identifier"),
                    "bind" => "cel.bind() variable names must be simple identifiers".to_owned(),
                    _ => "argument must be a simple name".to_owned(),
                };
                return Err(SyntaxError::new(self.text, at, why));
            };
            names.push(variable);
            if names.len() == 2 && names[0] == names[1] {
                return Err(SyntaxError::new(
                    self.text,
                    at,
                    format!("duplicate variable name: {}", names[0]),
                ));
            }
        }
        if is_bind {
            let value = self.expression()?;
            self.expect(",")?;
            self.bound.extend(names.clone());
            let body = self.expression()?;
            self.bound.pop();
            self.expect(")")?;
            return Ok(Some(Expanded::Bind(names.remove(0), Box::new([value, body]))));
        }
        self.bound.extend(names.clone());
        let mut parts = self.arguments()?;
        self.bound.truncate(self.bound.len() - names.len());
        let (Some(body), filter, true) = (parts.pop(), parts.pop(), parts.is_empty()) else {
            return Err(SyntaxError::new(self.text, at, format!("invalid arguments of {name}()")));
        };
        if matches!(name, "optMap" | "optFlatMap") {
            return Ok(Some(Expanded::OptionalMap(names.remove(0), body, name == "optFlatMap")));
        }
        if name == "sortBy" {
            return self.sorted(at, names.remove(0), body).map(Some);
        }
        let mut names = names.into_iter();
        Ok(Some(Expanded::Comprehension(Box::new(Comprehension {
            aggregate: aggregate(name).unwrap_or(Aggregate::All),
            range: self.make(at, Kind::Literal(Value::Null))?,
            name: names.next().unwrap_or_default(),
            second: names.next(),
            filter,
            body,
        }))))
    }

    /// `list.sortBy(name, key)`: the list is bound to a name that nobody can write, and sorted by the keys of its items.
    fn sorted(&self, at: usize, name: Box<str>, key: Expression) -> Result<Expanded, SyntaxError> {
        const INPUT: &str = "@__sortBy_input__";
        let input = || self.make(at, Kind::Variable(INPUT.into()));
        let keys = Comprehension {
            aggregate: Aggregate::List,
            range: input()?,
            name,
            second: None,
            filter: None,
            body: key,
        };
        let keys = self.make(at, Kind::Comprehension(Box::new(keys)))?;
        let function = "@sortByAssociatedKeys".into();
        let sorted = Kind::Call { function, method: true, arguments: vec![input()?, keys] };
        Ok(Expanded::Sorted(INPUT.into(), self.make(at, sorted)?))
    }

    fn variable_then_comma(&mut self) -> Option<Box<str>> {
        let (Token::Name(name), Some((_, Token::Sign(",")))) = (self.peek(), self.tokens.get(self.next + 1))
        else {
            return None;
        };
        let name = name.as_str().into();
        self.next += 2;
        Some(name)
    }

    /// How many arguments there are up to the parenthesis that closes this call.
    fn arguments_ahead(&self) -> usize {
        if matches!(self.peek(), Token::Sign(")")) {
            return 0;
        }
        let (mut depth, mut count) = (0_usize, 1);
        for (_, token) in self.tokens.iter().skip(self.next) {
            match token {
                Token::Sign("(" | "[" | "{") => depth += 1,
                Token::Sign(")") if depth == 0 => break,
                Token::Sign(")" | "]" | "}") => depth = depth.saturating_sub(1),
                Token::Sign(",") if depth == 0 => count += 1,
                _ => {}
            }
        }
        count
    }
}

/// What a macro stands for, without the target that it is called on.
pub(super) enum Expanded {
    Comprehension(Box<Comprehension>),
    Bind(Box<str>, Box<[Expression; 2]>),
    /// The name of the target in what is made of it.
    Sorted(Box<str>, Expression),
    OptionalMap(Box<str>, Expression, bool),
}

fn aggregate(name: &str) -> Option<Aggregate> {
    Some(match name {
        "all" => Aggregate::All,
        "exists" => Aggregate::Exists,
        "exists_one" | "existsOne" => Aggregate::ExistsOne,
        "map" | "transformList" => Aggregate::List,
        "filter" => Aggregate::Filter,
        "transformMap" => Aggregate::Map,
        "transformMapEntry" => Aggregate::MapEntry,
        _ => return None,
    })
}
