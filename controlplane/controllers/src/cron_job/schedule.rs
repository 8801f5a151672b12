//! Cron schedules.
//!
//! Five fields (minute, hour, day of month, month, day of week), each `*`, `?`, numbers, names, ranges and steps,
//! or one of `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`. If both days are
//! restricted, either may match. Times that a change to daylight-saving time skips are skipped. Or `@every` and a
//! duration, which counts from the last start.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::durations;

/// A schedule without a match in this many years never matches: 30 February.
const HORIZON_YEARS: i16 = 5;

/// Why a schedule cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Not five fields.
    #[error("expected exactly 5 fields, found {0}: {1:?}")]
    Fields(usize, String),
    /// A part that is neither a number nor a name nor a range of those.
    #[error("failed to parse {0:?} as a number, a name or a range")]
    Part(String),
    /// A number that the field cannot have.
    #[error("{0} is out of the range {1} to {2}")]
    Range(u8, u8, u8),
    /// An `@` name that is unknown.
    #[error("unrecognized descriptor {0:?}")]
    Descriptor(String),
}

/// When to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// At these times.
    Calendar(Calendar),
    /// Every so many seconds.
    Every(i64),
}

impl Schedule {
    /// Reads a schedule.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text.trim().strip_prefix("@every ") {
            None => Calendar::parse(text).map(Self::Calendar),
            Some(duration) => durations::seconds(duration.trim())
                .map(|seconds| Self::Every(seconds.max(1)))
                .ok_or_else(|| Error::Descriptor(text.to_owned())),
        }
    }

    /// The first time after `after`, in `zone`; `None` if there is none.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Calendar(calendar) => calendar.next(after, zone),
            Self::Every(seconds) => Timestamp::from_second(after.as_second().checked_add(*seconds)?).ok(),
        }
    }
}

/// Times that match all fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What a field can hold.
struct Field {
    first: u8,
    last: u8,
    /// Names for the numbers from `first` on.
    names: &'static [&'static str],
}

impl Calendar {
    fn parse(text: &str) -> Result<Self, Error> {
        let expanded = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other if other.starts_with('@') => return Err(Error::Descriptor(other.to_owned())),
            other => other,
        };
        let parts: Vec<&str> = expanded.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(Error::Fields(parts.len(), text.to_owned()));
        };
        let field = |first, last, names| Field { first, last, names };
        let is_any = |part: &str| part.starts_with(['*', '?']);
        Ok(Self {
            minutes: field(0, 59, &[]).parse(minute)?,
            hours: field(0, 23, &[]).parse(hour)?,
            days: field(1, 31, &[]).parse(day)?,
            months: field(1, 12, &MONTHS).parse(month)?,
            weekdays: field(0, 6, &WEEKDAYS).parse(weekday)?,
            any_day: is_any(day),
            any_weekday: is_any(weekday),
        })
    }

    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let minute = after.as_second().div_euclid(60) * 60 + 60;
        let mut time = Timestamp::from_second(minute).ok()?.to_zoned(zone.clone());
        let last_year = time.year().saturating_add(HORIZON_YEARS);
        while time.year() <= last_year {
            if !has(self.months, time.month()) {
                let first = time.date().first_of_month().checked_add(1.month()).ok()?;
                time = start_of(first, zone)?;
            } else if !self.has_day(time.date()) {
                time = start_of(time.date().tomorrow().ok()?, zone)?;
            } else if !has(self.hours, time.hour()) {
                time = time.checked_add((60 - i64::from(time.minute())).minutes()).ok()?;
            } else if has(self.minutes, time.minute()) {
                return Some(time.timestamp());
            } else {
                time = time.checked_add(1.minute()).ok()?;
            }
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }
}

fn start_of(date: Date, zone: &TimeZone) -> Option<Zoned> {
    date.to_zoned(zone.clone()).ok()?.start_of_day().ok()
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set & (1 << value) != 0)
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, Error> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    fn part(&self, text: &str) -> Result<u64, Error> {
        let bad = || Error::Part(text.to_owned());
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        if step == Some(0) {
            return Err(bad());
        }
        let (first, last) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (self.first, self.last),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            // `5/15` means from 5 on.
            None if step.is_some() => (self.value(range)?, self.last),
            None => (self.value(range)?, self.value(range)?),
        };
        if first > last {
            return Err(bad());
        }
        Ok((first..=last).step_by(usize::from(step.unwrap_or(1))).fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Result<u8, Error> {
        let lower = text.to_ascii_lowercase();
        let name = self.names.iter().zip(self.first..).find(|(name, _)| **name == lower);
        if let Some((_, value)) = name {
            return Ok(value);
        }
        let value = text.parse().map_err(|_| Error::Part(text.to_owned()))?;
        if (self.first..=self.last).contains(&value) {
            Ok(value)
        } else {
            Err(Error::Range(value, self.first, self.last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let next = Schedule::parse(schedule).unwrap().next(after.parse().unwrap(), &zone);
        next.map(|at| at.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_next_time_is_the_first_minute_that_matches_all_fields() {
        for (schedule, after, expected) in [
            ("* * * * *", "2026-03-01T10:00:30Z", "2026-03-01T10:01:00Z"),
            ("*/15 * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:15:00Z"),
            ("5/20 * * * *", "2026-03-01T10:26:00Z", "2026-03-01T10:45:00Z"),
            ("30 4 * * *", "2026-03-01T10:00:00Z", "2026-03-02T04:30:00Z"),
            ("0 0 31 * *", "2026-04-01T00:00:00Z", "2026-05-31T00:00:00Z"),
            ("0 12 * feb-MAR mon", "2026-03-31T00:00:00Z", "2027-02-01T12:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 13 * fri", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z"),
            ("0 9-17/4 * * *", "2026-03-01T13:00:00Z", "2026-03-01T17:00:00Z"),
            ("@weekly", "2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z"),
            ("0 0 30 2 *", "2026-03-01T00:00:00Z", ""),
        ] {
            assert_eq!(next(schedule, after, "UTC"), expected, "{schedule}");
        }
    }

    #[test]
    fn times_are_those_of_the_zone() {
        assert_eq!(next("0 8 * * *", "2026-01-15T00:00:00Z", "America/New_York"), "2026-01-15T13:00:00Z");
        assert_eq!(next("0 8 * * *", "2026-07-15T00:00:00Z", "America/New_York"), "2026-07-15T12:00:00Z");
        // At 02:00 on 8 March the clock is put forward to 03:00.
        assert_eq!(
            next("30 2 * * *", "2026-03-08T00:00:00-05:00", "America/New_York"),
            "2026-03-09T06:30:00Z"
        );
    }

    #[test]
    fn an_interval_counts_from_the_last_time() {
        assert_eq!(next("@every 1h30m", "2026-01-01T00:10:20Z", "UTC"), "2026-01-01T01:40:20Z");
        assert!(Schedule::parse("@every soon").is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "a * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "@never",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text:?}");
        }
    }
}
