//! Semantic versions (<https://semver.org>).

use std::{cmp::Ordering, sync::Arc};

use super::super::{Error, value::Value};
use crate::field::quoted;

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
    /// Parses a version; or says what is wrong with it, as `blang/semver` does.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("No Major.Minor.Patch elements found".into());
        };
        let (major, minor) = (number("major", major)?, number("minor", minor)?);
        let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
        let (patch, before) =
            rest.split_once('-').map_or((rest, None), |(rest, before)| (rest, Some(before)));
        let patch = number("patch", patch)?;
        let prerelease = before.into_iter().flat_map(|before| before.split('.')).map(identifier);
        let prerelease = prerelease.collect::<Result<_, _>>()?;
        for part in build.into_iter().flat_map(|build| build.split('.')) {
            match part {
                "" => return Err("Build meta data is empty".into()),
                part if !part.bytes().all(is_of_identifier) => {
                    return Err(format!("Invalid character(s) found in build meta data {}", quoted(part)));
                }
                _ => {}
            }
        }
        Ok(Self { numbers: [major, minor, patch], prerelease })
    }

    /// Parses what people write for a version: `v1.2`, `01.2.3`.
    fn parse_loosely(text: &str) -> Result<Self, String> {
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
            return Err("short version cannot contain PreRelease/Build meta data".into());
        }
        parts.resize(3, "0".into());
        Self::parse(&parts.join("."))
    }
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {name} number {}", quoted(text)));
    }
    if text.len() > 1 && text.starts_with('0') {
        let (first, rest) = name.split_at(1);
        let name = format!("{}{rest}", first.to_ascii_uppercase());
        return Err(format!("{name} number must not contain leading zeroes {}", quoted(text)));
    }
    text.parse().map_err(|_| {
        let why = if text.is_empty() { "invalid syntax" } else { "value out of range" };
        format!("strconv.ParseUint: parsing {}: {why}", quoted(text))
    })
}

fn identifier(text: &str) -> Result<Identifier, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".into());
    }
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return if text.bytes().all(is_of_identifier) {
            Ok(Identifier::Text(text.into()))
        } else {
            Err(format!("Invalid character(s) found in prerelease {}", quoted(text)))
        };
    }
    if text.len() > 1 && text.starts_with('0') {
        let text = quoted(text);
        return Err(format!("Numeric PreRelease version must not contain leading zeroes {text}"));
    }
    number("", text).map(Identifier::Number)
}

fn is_of_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
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
        ("isSemver", [Value::Text(text)]) => Ok(Value::Bool(Version::parse(text).is_ok())),
        ("isSemver", [Value::Text(text), Value::Bool(loosely)]) => {
            Ok(Value::Bool(read(text, *loosely).is_ok()))
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

fn read(text: &str, loosely: bool) -> Result<Version, String> {
    if loosely { Version::parse_loosely(text) } else { Version::parse(text) }
}

fn made<'a>(version: Result<Version, String>) -> Result<Value<'a>, Error> {
    version.map(|version| Value::Semver(Arc::new(version))).map_err(Error::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_version_is_told_as_the_real_server_tells_it() {
        for (text, why) in [
            ("", "Version string empty"),
            ("1.2", "No Major.Minor.Patch elements found"),
            ("v1.2.3", "Invalid character(s) found in major number \"v1\""),
            ("01.2.3", "Major number must not contain leading zeroes \"01\""),
            ("1.2.x", "Invalid character(s) found in patch number \"x\""),
            ("1.2.3.4", "Invalid character(s) found in patch number \"3.4\""),
            ("1.2.3-", "Prerelease is empty"),
            ("1.2.3-01", "Numeric PreRelease version must not contain leading zeroes \"01\""),
            ("1.2.3-a_b", "Invalid character(s) found in prerelease \"a_b\""),
            ("1.2.3+a..b", "Build meta data is empty"),
        ] {
            assert_eq!(Version::parse(text), Err(why.to_owned()));
        }
        assert!(Version::parse("1.2.3-rc.1+b.2").is_ok());
    }
}
