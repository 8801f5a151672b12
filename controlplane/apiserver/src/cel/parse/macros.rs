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
        let start = self.next;
        let is_bind = name == "bind" && matches!(&target.kind, Kind::Variable(v) if &**v == "cel");
        let aggregate = aggregate(name);
        let optional = matches!(name, "optMap" | "optFlatMap");
        let sorts = name == "sortBy";
        if aggregate.is_none() && !is_bind && !optional && !sorts {
            return Ok(None);
        }
        let mut names: Vec<Box<str>> = Vec::new();
        let two = self.variable_then_comma().zip(self.variable_then_comma());
        self.next = start;
        let Some(first) = self.variable_then_comma() else {
            return Err(SyntaxError::new(self.text, self.at(), "argument must be a simple name"));
        };
        names.push(first);
        let commas = self.commas_ahead();
        // With a second variable there is one argument more; a filter is one more, too.
        let second = match name {
            "all" | "exists" | "exists_one" | "existsOne" => commas == 1 && two.is_some(),
            "transformList" | "transformMap" | "transformMapEntry" => true,
            _ => false,
        };
        if second {
            names.extend(self.variable_then_comma());
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
        if optional {
            return Ok(Some(Expanded::OptionalMap(names.remove(0), body, name == "optFlatMap")));
        }
        if sorts {
            return self.sorted(at, names.remove(0), body).map(Some);
        }
        let mut names = names.into_iter();
        Ok(Some(Expanded::Comprehension(Box::new(Comprehension {
            aggregate: aggregate.unwrap_or(Aggregate::All),
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

    /// How many commas there are up to the parenthesis that closes this call.
    fn commas_ahead(&self) -> usize {
        let (mut depth, mut commas) = (0_usize, 0);
        for (_, token) in self.tokens.iter().skip(self.next) {
            match token {
                Token::Sign("(" | "[" | "{") => depth += 1,
                Token::Sign(")") if depth == 0 => break,
                Token::Sign(")" | "]" | "}") => depth = depth.saturating_sub(1),
                Token::Sign(",") if depth == 0 => commas += 1,
                _ => {}
            }
        }
        commas
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
