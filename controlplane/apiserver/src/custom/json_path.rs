//! The JSON paths of printer columns, scale and selectable fields: kubectl's template syntax
//! (<https://kubernetes.io/docs/reference/kubectl/jsonpath/>) as far as it names values.

use std::cmp::Ordering;

use serde_json::Value;

/// A parsed path.
#[derive(Clone, Debug)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Field(String),
    /// Any field or item.
    All,
    /// The value and all below it.
    Deep,
    /// Items from, to (exclusive) and by.
    Slice(Option<i64>, Option<i64>, i64),
    Index(i64),
    Union(Vec<Vec<Self>>),
    Filter(Operand, Option<(Comparison, Operand)>),
}

#[derive(Clone, Debug)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A bracket or quote without its end.
    #[error("unterminated {0}")]
    Unterminated(&'static str),
    /// Something that is no step.
    #[error("invalid syntax at {0:?}")]
    Syntax(String),
}

impl JsonPath {
    /// Parses a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        steps(text.strip_prefix(['$', '@']).unwrap_or(text)).map(Self)
    }

    /// The values at the path.
    pub fn find<'v>(&self, root: &'v Value) -> Vec<&'v Value> {
        Search { left: MAX_LOOKS }.follow(&self.0, root)
    }

    /// The path of names that it is, if it is nothing more.
    pub fn names(&self) -> Option<Vec<&str>> {
        self.0
            .iter()
            .map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None })
            .collect()
    }
}

fn steps(mut text: &str) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    while let Some(c) = text.chars().next() {
        match c {
            '.' if text.starts_with("..") => {
                steps.push(Step::Deep);
                text = &text[1..];
                if text[1..].starts_with('[') {
                    text = &text[1..];
                }
            }
            '.' if text[1..].starts_with('[') || text.len() == 1 => text = &text[1..],
            '.' => {
                let (name, rest) = field(&text[1..])?;
                steps.push(if name == "*" { Step::All } else { Step::Field(name) });
                text = rest;
            }
            '[' => {
                let (inside, rest) = bracket(text)?;
                steps.push(subscript(inside)?);
                text = rest;
            }
            _ if steps.is_empty() => {
                let (name, rest) = field(text)?;
                steps.push(Step::Field(name));
                text = rest;
            }
            _ => return Err(Error::Syntax(text.into())),
        }
    }
    Ok(steps)
}

/// A name up to the next dot or bracket; backslashes take dots into it.
fn field(text: &str) -> Result<(String, &str), Error> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return done(name, &text[at..]),
            ' ' | '|' | '{' | '}' | ']' | '(' | ')' => return Err(Error::Syntax(text[at..].into())),
            c => name.push(c),
        }
    }
    done(name, "")
}

fn done(name: String, rest: &str) -> Result<(String, &str), Error> {
    if name.is_empty() { Err(Error::Syntax(rest.into())) } else { Ok((name, rest)) }
}

/// What is in the brackets that a text starts with.
fn bracket(text: &str) -> Result<(&str, &str), Error> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth -= 1,
            (None, _) => {}
        }
        if depth == 0 {
            return Ok((&text[1..at], &text[at + 1..]));
        }
    }
    Err(Error::Unterminated(if quote.is_some() { "quoted string" } else { "array" }))
}

fn subscript(inside: &str) -> Result<Step, Error> {
    let inside = inside.trim();
    let syntax = || Error::Syntax(inside.into());
    if inside == "*" {
        return Ok(Step::All);
    }
    if let Some(condition) = inside.strip_prefix("?(").and_then(|c| c.strip_suffix(')')) {
        return filter(condition);
    }
    if let Some(name) = unquoted(inside) {
        return Ok(Step::Field(name));
    }
    if inside.contains(',') {
        let parts = inside.split(',').map(|part| subscript(part).map(|step| vec![step]));
        return parts.collect::<Result<_, _>>().map(Step::Union);
    }
    if inside.contains(':') {
        let mut bounds = inside.split(':').map(|bound| match bound.trim() {
            "" => Ok(None),
            number => number.parse().map(Some).map_err(|_| syntax()),
        });
        let mut next = || bounds.next().unwrap_or(Ok(None));
        return Ok(Step::Slice(next()?, next()?, next()?.unwrap_or(1)));
    }
    inside.parse().map(Step::Index).map_err(|_| syntax())
}

fn filter(condition: &str) -> Result<Step, Error> {
    const COMPARISONS: &[(&str, Comparison)] = &[
        ("==", Comparison::Equal),
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let mut quote = None;
    for (at, c) in condition.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, _) => {
                if let Some((sign, comparison)) =
                    COMPARISONS.iter().find(|(s, _)| condition[at..].starts_with(s))
                {
                    let right = operand(&condition[at + sign.len()..])?;
                    return Ok(Step::Filter(operand(&condition[..at])?, Some((*comparison, right))));
                }
            }
            _ => {}
        }
    }
    Ok(Step::Filter(operand(condition)?, None))
}

fn operand(text: &str) -> Result<Operand, Error> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix(['@', '$']) {
        return steps(path).map(Operand::Path);
    }
    let literal = unquoted(text).map(Value::String).or_else(|| serde_json::from_str(text).ok());
    literal.map(Operand::Literal).ok_or_else(|| Error::Syntax(text.into()))
}

fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inside = text.get(1..)?.strip_suffix(quote)?;
    Some(inside.replace(&format!("\\{quote}"), &quote.to_string()).replace("\\.", "."))
}

/// How many values a search may look at: steps into everything below multiply, and whoever defines a column must not
/// keep the server busy with them.
const MAX_LOOKS: u32 = 1_000_000;

/// A search that ends when it has looked at too much; what it has found by then is what there is.
struct Search {
    left: u32,
}

impl Search {
    fn look(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    fn follow<'v>(&mut self, steps: &[Step], root: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![root];
        for step in steps {
            let mut next = Vec::new();
            for value in found {
                self.take(step, value, &mut next);
            }
            found = next;
        }
        found
    }

    fn add<'v>(&mut self, values: impl IntoIterator<Item = &'v Value>, found: &mut Vec<&'v Value>) {
        found.extend(values.into_iter().take_while(|_| self.look()));
    }

    fn take<'v>(&mut self, step: &Step, value: &'v Value, found: &mut Vec<&'v Value>) {
        if !self.look() {
            return;
        }
        match (step, value) {
            (Step::Field(name), Value::Object(map)) => self.add(map.get(name), found),
            (Step::All, Value::Object(map)) => self.add(map.values(), found),
            (Step::All, Value::Array(items)) => self.add(items, found),
            (Step::Index(index), Value::Array(items)) => self.add(at(items, *index), found),
            (Step::Slice(from, to, by), Value::Array(items)) => {
                self.add(slice(items, *from, *to, *by), found);
            }
            (Step::Union(paths), _) => {
                for path in paths {
                    let of_path = self.follow(path, value);
                    self.add(of_path, found);
                }
            }
            (Step::Filter(left, right), Value::Array(items)) => {
                for item in items {
                    if self.holds(item, left, right.as_ref()) {
                        self.add([item], found);
                    }
                }
            }
            (Step::Deep, _) => {
                found.push(value);
                match value {
                    Value::Object(map) => map.values().for_each(|child| self.take(step, child, found)),
                    Value::Array(items) => items.iter().for_each(|child| self.take(step, child, found)),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn holds(&mut self, item: &Value, left: &Operand, right: Option<&(Comparison, Operand)>) -> bool {
        let mut value = |operand: &Operand| match operand {
            Operand::Path(steps) => self.follow(steps, item).first().map(|v| (*v).clone()),
            Operand::Literal(value) => Some(value.clone()),
        };
        let Some((comparison, right)) = right else { return value(left).is_some() };
        let (Some(left), Some(right)) = (value(left), value(right)) else { return false };
        let order = match (&left, &right) {
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Number(_), Value::Number(_)) => left.as_f64().partial_cmp(&right.as_f64()),
            _ => (left == right).then_some(Ordering::Equal),
        };
        match comparison {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

fn at(items: &[Value], index: i64) -> Option<&Value> {
    let length = i64::try_from(items.len()).ok()?;
    items.get(usize::try_from(if index < 0 { index + length } else { index }).ok()?)
}

fn slice(items: &[Value], from: Option<i64>, to: Option<i64>, by: i64) -> Vec<&Value> {
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let place = |bound: Option<i64>, default: i64| {
        let bound = bound.unwrap_or(default);
        usize::try_from((if bound < 0 { bound + length } else { bound }).clamp(0, length)).unwrap_or(0)
    };
    let (from, to) = (place(from, 0), place(to, length));
    let by = usize::try_from(by).unwrap_or(1).max(1);
    items.get(from..to).unwrap_or_default().iter().step_by(by).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn find(path: &str) -> Vec<Value> {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "x"}},
            "spec": {"items": [{"n": 1}, {"n": 2}, {"n": 3}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "B", "status": "False"}]},
        });
        JsonPath::parse(path).unwrap().find(&object).into_iter().cloned().collect()
    }

    #[test]
    fn paths_find_values() {
        assert_eq!(find(".status.conditions[?(@.type==\"Ready\")].status"), ["True"]);
        assert_eq!(find(".status.conditions[?(@.type=='B')].status"), ["False"]);
        assert_eq!(find(".spec.items[0].n"), [1]);
        assert_eq!(find("{.spec.items[-1].n}"), [3]);
        assert_eq!(find(".spec.items[*].n"), [1, 2, 3]);
        assert_eq!(find(".spec.items[0:2].n"), [1, 2]);
        assert_eq!(find(".spec.items[?(@.n>=2)].n"), [2, 3]);
        assert_eq!(find(r".metadata.annotations.a\.b/c"), ["x"]);
        assert_eq!(find(".metadata.annotations['a.b/c']"), ["x"]);
        assert_eq!(find("..n"), [1, 2, 3]);
        assert!(find(".absent.x").is_empty());
    }

    #[test]
    fn a_search_that_multiplies_ends() {
        let deep = (0..60).fold(json!({"a": 1}), |inner, _| json!({"a": inner}));
        let found = JsonPath::parse(&format!("{}a", "..*".repeat(40).trim_end_matches('*'))).unwrap();
        assert!(found.find(&deep).len() <= MAX_LOOKS as usize);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [".a[", ".a[x]", ".a b", ".a[?(@.b==c)]"] {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
    }
}
