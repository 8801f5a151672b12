//! Formats that are spelled out, with arguments that are: whether they go together.

use super::{
    super::{
        functions::strings::format::{self, Clause},
        syntax::{Expression, Item, Kind},
        types::{Plain, Type},
        value::Value,
    },
    Checker,
};

/// Why a format does not go with its arguments, and which of them is to blame.
struct Refusal(Option<usize>, String);

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self(None, why)
    }
}

impl<'t> Checker<'t> {
    /// Looks at the call of `format` at a place.
    pub(super) fn format(&mut self, at: usize, format: &Expression, list: &Expression) {
        let given = std::mem::take(&mut self.given);
        let (Kind::Literal(Value::Text(format)), Kind::List(items)) = (&format.kind, &list.kind) else {
            return;
        };
        let ty =
            |at: usize| given.iter().rfind(|(place, _)| *place == at).map_or(Type::Dyn, |(_, ty)| ty.clone());
        let filled = format::fill(format, items.len(), |clause, place| {
            let wrong = wrong(clause, &items[place].value, &ty);
            wrong.map_or_else(
                || Ok(String::new()),
                |(at, ty)| Err(Refusal(Some(at), clause.refusal(&name(&ty)))),
            )
        });
        match filled {
            Err(Refusal(place, why)) => self.doubt(place.unwrap_or(at), why),
            Ok((_, taken)) if taken < items.len() => {
                let given = items.len();
                let why =
                    format!("too many arguments supplied to string.format (expected {taken}, got {given})");
                self.doubt(at, why);
            }
            Ok(_) => {}
        }
    }
}

/// What in an argument a clause is not for, and where it is.
fn wrong(clause: Clause, argument: &Expression, ty: &dyn Fn(usize) -> Type) -> Option<(usize, Type)> {
    let own = ty(argument.at);
    let plain = |known: &[Plain]| matches!(own, Type::Plain(plain) if known.contains(&plain));
    let fits = matches!(own, Type::Dyn | Type::Open(_))
        || match clause {
            Clause::Text => {
                matches!(own, Type::Plain(_) | Type::List(_) | Type::Map(_) | Type::Type(_) | Type::Null)
            }
            Clause::Decimal | Clause::Octal => plain(&[Plain::Int, Plain::Uint]),
            Clause::Fixed(_) | Clause::Scientific(_) => plain(&[Plain::Double, Plain::Text]),
            Clause::Binary => plain(&[Plain::Int, Plain::Uint, Plain::Bool]),
            Clause::Hex(_) => plain(&[Plain::Int, Plain::Uint, Plain::Text, Plain::Bytes]),
        };
    if !fits {
        return Some((argument.at, own));
    }
    let inside = |items: &[Item]| items.iter().find_map(|item| wrong(clause, &item.value, ty));
    match (clause, &argument.kind) {
        (Clause::Text, Kind::List(items)) => inside(items),
        (Clause::Text, Kind::Map(entries)) => {
            entries.iter().find_map(|(_, item)| wrong(clause, &item.value, ty))
        }
        _ => None,
    }
}

/// The name of a type without its parameters.
fn name(ty: &Type) -> String {
    let shown = ty.to_string();
    shown.split('(').next().unwrap_or_default().to_owned()
}
