//! Semantic versions (<https://semver.org>).

use std::{cmp::Ordering, sync::Arc};

use super::super::{Error, value::Value};

/// A semantic version. Build metadata does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: [u64; 3],
    prerelease: Vec<Identifier>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Text(String),
}

impl Version {
    /// Parses a version.
    pub fn parse(text: &str) -> Option<Self> {
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (numbers, prerelease) = text.split_once('-').map_or((text, None), |(n, p)| (n, Some(p)));
        let valid = |id: &str| !id.is_empty() && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        if build.is_some_and(|build| !build.split('.').all(valid)) {
            return None;
        }
        let mut parts = numbers.split('.');
        let mut next = || parts.next().and_then(number);
        let numbers = [next()?, next()?, next()?];
        if parts.next().is_some() {
            return None;
        }
        let identifiers = prerelease.into_iter().flat_map(|p| p.split('.')).map(|id| match id {
            id if !valid(id) => None,
            id if id.bytes().all(|c| c.is_ascii_digit()) => number(id).map(Identifier::Number),
            id => Some(Identifier::Text(id.into())),
        });
        Some(Self { numbers, prerelease: identifiers.collect::<Option<_>>()? })
    }

    /// Parses what people write for a version: `v1.2`, `01.2.3`.
    fn parse_loosely(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text
            .splitn(3, '.')
            .map(|part| match part.trim_start_matches('0') {
                _ if part.len() <= 1 => part.to_owned(),
                trimmed if trimmed.starts_with(|c: char| c.is_ascii_digit()) => trimmed.to_owned(),
                trimmed => format!("0{trimmed}"),
            })
            .collect();
        if parts.len() < 3 && parts.last().is_some_and(|part| part.contains(['+', '-'])) {
            return None;
        }
        parts.resize(3, "0".into());
        Self::parse(&parts.join("."))
    }
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // A release is later than all that came before it.
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => self.prerelease.cmp(&other.prerelease),
            }
        })
    }
}

/// The functions of this library.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    let part = |version: &Version, place: usize| {
        Ok(Value::Int(i64::try_from(version.numbers[place]).unwrap_or(i64::MAX)))
    };
    Some(match (function, arguments) {
        ("semver", [Value::Text(text)]) => made(Version::parse(text)),
        ("semver", [Value::Text(text), Value::Bool(loosely)]) => made(read(text, *loosely)),
        ("isSemver", [Value::Text(text)]) => Ok(Value::Bool(Version::parse(text).is_some())),
        ("isSemver", [Value::Text(text), Value::Bool(loosely)]) => {
            Ok(Value::Bool(read(text, *loosely).is_some()))
        }
        ("major", [Value::Semver(version)]) => part(version, 0),
        ("minor", [Value::Semver(version)]) => part(version, 1),
        ("patch", [Value::Semver(version)]) => part(version, 2),
        ("isGreaterThan", [Value::Semver(a), Value::Semver(b)]) => Ok(Value::Bool(a > b)),
        ("isLessThan", [Value::Semver(a), Value::Semver(b)]) => Ok(Value::Bool(a < b)),
        ("compareTo", [Value::Semver(a), Value::Semver(b)]) => Ok(Value::Int(a.cmp(b) as i64)),
        _ => return None,
    })
}

fn read(text: &str, loosely: bool) -> Option<Version> {
    if loosely { Version::parse_loosely(text) } else { Version::parse(text) }
}

fn made<'a>(version: Option<Version>) -> Result<Value<'a>, Error> {
    let version = version.ok_or_else(|| Error::other("No Major.Minor.Patch elements found"))?;
    Ok(Value::Semver(Arc::new(version)))
}
