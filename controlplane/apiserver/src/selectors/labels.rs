//! Label selectors: `app=web,tier in (a,b),!canary,n>3`.

use serde_json::Value;

/// A parsed selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// Why a label selector was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Error(String);

impl LabelSelector {
    /// Parses the text form.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { tokens: lex(text), at: 0 };
        let requirements = parser.parse().map_err(Error)?;
        Ok(Self { requirements })
    }

    /// From `metav1.LabelSelector` (`matchLabels`, `matchExpressions`) as found in specs.
    pub fn from_spec(spec: &Value) -> Self {
        let labels = spec.get("matchLabels").and_then(Value::as_object);
        let mut requirements: Vec<Requirement> = labels
            .into_iter()
            .flatten()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In,
                values: vec![value.as_str().unwrap_or_default().into()],
            })
            .collect();
        for expression in spec.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| expression.get(key).and_then(Value::as_str).unwrap_or_default();
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                _ => Operator::DoesNotExist,
            };
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            requirements.push(Requirement {
                key: text("key").into(),
                operator,
                values: values.filter_map(Value::as_str).map(Into::into).collect(),
            });
        }
        Self { requirements }
    }

    /// Whether it has no requirements, and so selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels, given as a look-up, match.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|r| {
            let value = label(&r.key);
            let listed = |value: &str| r.values.iter().any(|v| v == value);
            match r.operator {
                Operator::In => value.is_some_and(listed),
                Operator::NotIn => value.is_none_or(|v| !listed(v)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
                Operator::GreaterThan | Operator::LessThan => {
                    let bound = r.values.first().and_then(|v| v.parse::<i64>().ok());
                    match (value.and_then(|v| v.parse::<i64>().ok()), bound) {
                        (Some(value), Some(bound)) if r.operator == Operator::GreaterThan => value > bound,
                        (Some(value), Some(bound)) => value < bound,
                        _ => false,
                    }
                }
            }
        })
    }

    /// Whether an object's labels match.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = crate::metadata::get(object, "labels");
        self.matches(|key| labels.and_then(|l| l.get(key)).and_then(Value::as_str))
    }
}

fn validate(requirement: &Requirement) -> Result<(), String> {
    use crate::validation::names;
    let mut errors = crate::field::Errors::default();
    let key = crate::field::Path::new("<nil>");
    for why in names::qualified_name(&requirement.key) {
        errors.invalid_str(&key, &requirement.key, &why);
    }
    if matches!(requirement.operator, Operator::GreaterThan | Operator::LessThan)
        && requirement.values.iter().any(|v| v.parse::<i64>().is_err())
    {
        errors.invalid_str(
            &crate::field::Path::new("values").index(0),
            requirement.values.first().map_or("", String::as_str),
            "for 'Gt', 'Lt' operators, the value must be an integer",
        );
    }
    let values = crate::field::Path::new("values");
    for (at, value) in requirement.values.iter().enumerate() {
        for why in names::label_value(value) {
            errors.invalid_str(&values.index(at).key(&requirement.key), value, &why);
        }
    }
    match errors.0.as_slice() {
        [] => Ok(()),
        [one] => Err(one.to_string()),
        many => {
            let all: Vec<String> = many.iter().map(ToString::to_string).collect();
            Err(format!("[{}]", all.join(", ")))
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Comma,
    Equals,
    DoubleEquals,
    NotEquals,
    Not,
    Open,
    Close,
    Greater,
    Less,
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Comma => ",",
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::NotEquals => "!=",
            Self::Not => "!",
            Self::Open => "(",
            Self::Close => ")",
            Self::Greater => ">",
            Self::Less => "<",
            Self::End => "",
        }
    }
}

fn lex(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        chars.next();
        let token = match c {
            c if c.is_whitespace() => continue,
            ',' => Token::Comma,
            '(' => Token::Open,
            ')' => Token::Close,
            '>' => Token::Greater,
            '<' => Token::Less,
            '=' if chars.next_if_eq(&'=').is_some() => Token::DoubleEquals,
            '=' => Token::Equals,
            '!' if chars.next_if_eq(&'=').is_some() => Token::NotEquals,
            '!' => Token::Not,
            c => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !",()<>=!".contains(*c)) {
                    word.push(c);
                }
                Token::Word(word)
            }
        };
        tokens.push(token);
    }
    tokens.push(Token::End);
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn parse(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Not => {
                    let requirement = self.requirement().and_then(|r| validate(&r).map(|()| r));
                    requirements
                        .push(requirement.map_err(|why| format!("unable to parse requirement: {why}"))?);
                    match self.next() {
                        Token::End => return Ok(requirements),
                        Token::Comma => match self.peek() {
                            Token::Word(_) | Token::Not => {}
                            other => {
                                return Err(format!(
                                    "found '{}', expected: identifier after ','",
                                    other.text()
                                ));
                            }
                        },
                        other => {
                            return Err(format!(
                                "found '{}', expected: ',' or 'end of string'",
                                other.text()
                            ));
                        }
                    }
                }
                Token::End => return Ok(requirements),
                other => {
                    return Err(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.text()
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = *self.peek() == Token::Not;
        if negated {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        if negated {
            return Ok(Requirement { key, operator: Operator::DoesNotExist, values: Vec::new() });
        }
        if matches!(self.peek(), Token::Comma | Token::End) {
            return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() });
        }
        let operator = match self.next() {
            Token::Equals | Token::DoubleEquals => return self.exact(key, Operator::In),
            Token::NotEquals => return self.exact(key, Operator::NotIn),
            Token::Greater => return self.exact(key, Operator::GreaterThan),
            Token::Less => return self.exact(key, Operator::LessThan),
            Token::Word(word) if word == "in" => Operator::In,
            Token::Word(word) if word == "notin" => Operator::NotIn,
            other => {
                return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text()));
            }
        };
        Ok(Requirement { key, operator, values: self.set()? })
    }

    fn exact(&mut self, key: String, operator: Operator) -> Result<Requirement, String> {
        let value = match self.peek() {
            Token::End | Token::Comma => String::new(),
            Token::Word(word) => {
                let word = word.clone();
                self.next();
                word
            }
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        Ok(Requirement { key, operator, values: vec![value] })
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if self.next() != Token::Open {
            let found = self.tokens.get(self.at - 1).map_or("", Token::text);
            return Err(format!("found '{found}' expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Word(word) => {
                    values.push(word);
                    match self.next() {
                        Token::Comma => {}
                        Token::Close => break,
                        other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
                    }
                }
                Token::Comma => values.push(String::new()),
                Token::Close => {
                    values.push(String::new());
                    break;
                }
                other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
            }
        }
        values.sort();
        values.dedup();
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
        LabelSelector::parse(selector).unwrap().matches(|key| labels.get(key).copied())
    }

    #[test]
    fn every_operator_selects_as_documented() {
        let labels = [("app", "web"), ("n", "4")];
        assert!(matches("app=web,app==web,n!=3,app in (api,web),n notin (1),app,!canary,n>3,n<5", &labels));
        assert!(!matches("canary", &labels));
        assert!(matches("canary!=x", &labels));
        assert!(!matches("app in (api)", &labels));
    }

    #[test]
    fn a_broken_selector_says_where() {
        let error = LabelSelector::parse("a,,b").unwrap_err();
        assert_eq!(error.to_string(), "found ',', expected: identifier after ','");
    }
}
