//! Times as `metav1.Time` and `metav1.MicroTime` read and show them: RFC 3339 in UTC, with seconds or with
//! exactly six decimals. Errors are those of Go's `time.Parse`. Here all times are in UTC.

use jiff::{SignedDuration, civil::DateTime};
use serde_json::Value;

const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const MICRO_LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// A part is missing or something else.
    #[error("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}")]
    Part {
        /// All of it.
        text: String,
        /// Go's layout.
        layout: &'static str,
        /// From where it cannot be read.
        rest: String,
        /// The part of the layout.
        part: &'static str,
    },
    /// A number is too large or too small.
    #[error("parsing time {text:?}: {part} out of range")]
    Range {
        /// All of it.
        text: String,
        /// Which number.
        part: &'static str,
    },
    /// Something follows.
    #[error("parsing time {text:?}: extra text: {rest:?}")]
    Extra {
        /// All of it.
        text: String,
        /// What follows.
        rest: String,
    },
}

/// Reads a `Time` and shows it; Go's zero time is `null`.
pub fn normalize(text: &str) -> Result<Value, TimeError> {
    Ok(show(Parser { text, rest: text, layout: LAYOUT }.parse()?, seconds))
}

/// Reads a `MicroTime` and shows it; Go's zero time is `null`.
pub fn normalize_micro(text: &str) -> Result<Value, TimeError> {
    Ok(show(Parser { text, rest: text, layout: MICRO_LAYOUT }.parse()?, micros))
}

/// Reads a time with as many decimals as it has.
pub fn read(text: &str) -> Option<DateTime> {
    Parser { text, rest: text, layout: LAYOUT }.parse().ok().flatten()
}

/// How far a time lies from 1970: seconds, and nanoseconds that count forward before 1970, too.
pub fn since_epoch(time: DateTime) -> (i64, i32) {
    let apart = time.duration_since(EPOCH);
    let (seconds, nanos) = (apart.as_secs(), apart.subsec_nanos());
    if nanos < 0 { (seconds - 1, nanos + 1_000_000_000) } else { (seconds, nanos) }
}

/// The time that lies so far from 1970.
pub fn at(seconds: i64, nanos: i32) -> Option<DateTime> {
    let nanos = SignedDuration::from_nanos(i64::from(nanos));
    EPOCH.checked_add(SignedDuration::from_secs(seconds).checked_add(nanos)?).ok()
}

/// A `Time` as it is shown.
pub fn seconds(time: DateTime) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A `MicroTime` as it is shown.
pub fn micros(time: DateTime) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn show(time: Option<DateTime>, form: fn(DateTime) -> String) -> Value {
    let Some(time) = time else { return Value::Null };
    let text = form(time);
    if text.starts_with("0001-01-01T00:00:00") { Value::Null } else { text.into() }
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
    layout: &'static str,
}

impl Parser<'_> {
    /// The time; none where UTC has left the years of four digits.
    fn parse(mut self) -> Result<Option<DateTime>, TimeError> {
        let year = self.number(4, "2006")?;
        self.literal("-")?;
        let month = self.number(2, "01")?;
        self.within((1..=12).contains(&month), "month")?;
        self.literal("-")?;
        let day = self.number(2, "02")?;
        self.literal("T")?;
        let hour = self.number(2, "15")?;
        self.within(hour < 24, "hour")?;
        self.literal(":")?;
        let minute = self.number(2, "04")?;
        self.within(minute < 60, "minute")?;
        self.literal(":")?;
        let second = self.number(2, "05")?;
        self.within(second < 60, "second")?;
        let nanos = if self.layout == MICRO_LAYOUT { self.six_decimals()? } else { self.decimals() };
        let offset = self.offset()?;
        if !self.rest.is_empty() {
            return Err(TimeError::Extra { text: self.text.into(), rest: self.rest.into() });
        }
        // Every number but the day has been checked, so a refusal is about the day.
        let datetime =
            DateTime::new(year as i16, month as i8, day as i8, hour as i8, minute as i8, second as i8, nanos);
        let datetime = datetime.map_err(|_| TimeError::Range { text: self.text.into(), part: "day" })?;
        Ok(datetime.checked_sub(offset).ok())
    }

    fn number(&mut self, width: usize, part: &'static str) -> Result<u16, TimeError> {
        let digits = self.rest.get(..width).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|d| d.parse().ok()).ok_or_else(|| self.fault(part))?;
        self.rest = &self.rest[width..];
        Ok(number)
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), TimeError> {
        self.rest = self.rest.strip_prefix(literal).ok_or_else(|| self.fault(literal))?;
        Ok(())
    }

    fn six_decimals(&mut self) -> Result<i32, TimeError> {
        let digits = self.rest.strip_prefix('.').and_then(|rest| rest.get(..6));
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let micros: i32 = digits.and_then(|d| d.parse().ok()).ok_or_else(|| self.fault(".000000"))?;
        self.rest = &self.rest[7..];
        Ok(micros * 1000)
    }

    /// Decimals that the layout does not ask for but that Go reads.
    fn decimals(&mut self) -> i32 {
        let Some(rest) = self.rest.strip_prefix(['.', ',']) else { return 0 };
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return 0;
        }
        self.rest = &rest[count..];
        let nine: String = rest[..count].chars().chain("000000000".chars()).take(9).collect();
        nine.parse().unwrap_or(0)
    }

    fn offset(&mut self) -> Result<SignedDuration, TimeError> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(SignedDuration::ZERO);
        }
        let fault = self.fault("Z07:00");
        let bytes = self.rest.as_bytes();
        let digit = |i: usize| bytes.get(i).filter(|b| b.is_ascii_digit()).map(|b| i32::from(b - b'0'));
        let (Some(sign @ (b'+' | b'-')), Some(b':')) = (bytes.first(), bytes.get(3)) else {
            return Err(fault);
        };
        let (Some(a), Some(b), Some(c), Some(d)) = (digit(1), digit(2), digit(4), digit(5)) else {
            return Err(fault);
        };
        let (hours, minutes) = (a * 10 + b, c * 10 + d);
        self.rest = &self.rest[6..];
        self.within(hours <= 24, "time zone offset hour")?;
        self.within(minutes <= 60, "time zone offset minute")?;
        let seconds = i64::from(hours * 3600 + minutes * 60);
        Ok(SignedDuration::from_secs(if *sign == b'-' { -seconds } else { seconds }))
    }

    fn within(&self, inside: bool, part: &'static str) -> Result<(), TimeError> {
        if inside { Ok(()) } else { Err(TimeError::Range { text: self.text.into(), part }) }
    }

    fn fault(&self, part: &'static str) -> TimeError {
        TimeError::Part { text: self.text.into(), layout: self.layout, rest: self.rest.into(), part }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_with_seconds() {
        assert_eq!(normalize("2024-01-02T03:04:05Z").unwrap(), "2024-01-02T03:04:05Z");
        assert_eq!(normalize("2024-01-02T03:04:05.678+02:00").unwrap(), "2024-01-02T01:04:05Z");
        assert_eq!(normalize_micro("2024-01-02T03:04:05.600000Z").unwrap(), "2024-01-02T03:04:05.600000Z");
        assert_eq!(normalize("0001-01-01T00:00:00Z").unwrap(), Value::Null);
        assert_eq!(normalize("9999-12-31T23:59:59Z").unwrap(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn errors_are_those_of_go() {
        let error = |text: &str| normalize(text).unwrap_err().to_string();
        assert_eq!(
            error("x"),
            r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#
        );
        assert_eq!(
            error("2024-13-01T00:00:00Z"),
            r#"parsing time "2024-13-01T00:00:00Z": month out of range"#
        );
        assert_eq!(error("2024-02-30T00:00:00Z"), r#"parsing time "2024-02-30T00:00:00Z": day out of range"#);
        assert_eq!(
            error("2024-02-03T00:00:00Zx"),
            r#"parsing time "2024-02-03T00:00:00Zx": extra text: "x""#
        );
        assert_eq!(
            normalize_micro("2024-01-01T00:00:00.1Z").unwrap_err().to_string(),
            concat!(
                r#"parsing time "2024-01-01T00:00:00.1Z" as "2006-01-02T15:04:05.000000Z07:00": "#,
                r#"cannot parse ".1Z" as ".000000""#
            )
        );
    }
}
