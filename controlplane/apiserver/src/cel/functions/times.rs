//! The parts of times and durations.

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::super::{Error, value::Value};
use crate::field::quoted;

/// The functions of this library.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    if !function.starts_with("get") {
        return None;
    }
    match arguments {
        [Value::Timestamp(time)] => part(function, *time),
        [Value::Timestamp(time), Value::Text(zone)] => match local(*time, zone) {
            Ok(local) => part(function, local),
            Err(error) => Some(Err(error)),
        },
        [Value::Duration(nanoseconds)] => {
            let unit = match function {
                "getHours" => 3_600_000_000_000,
                "getMinutes" => 60_000_000_000,
                "getSeconds" => 1_000_000_000,
                "getMilliseconds" => return Some(Ok(Value::Int(nanoseconds / 1_000_000 % 1000))),
                _ => return None,
            };
            Some(Ok(Value::Int(nanoseconds / unit)))
        }
        _ => None,
    }
}

fn part<'a>(function: &str, time: DateTime) -> Option<Result<Value<'a>, Error>> {
    Some(Ok(Value::Int(match function {
        "getFullYear" => i64::from(time.year()),
        "getMonth" => i64::from(time.month()) - 1,
        "getDate" => i64::from(time.day()),
        "getDayOfMonth" => i64::from(time.day()) - 1,
        "getDayOfYear" => i64::from(time.date().day_of_year()) - 1,
        "getDayOfWeek" => i64::from(time.date().weekday().to_sunday_zero_offset()),
        "getHours" => i64::from(time.hour()),
        "getMinutes" => i64::from(time.minute()),
        "getSeconds" => i64::from(time.second()),
        "getMilliseconds" => i64::from(time.millisecond()),
        _ => return None,
    })))
}

/// A time in a zone that is given by its name, or as an offset such as `-08:00`.
fn local(time: DateTime, zone: &str) -> Result<DateTime, Error> {
    if matches!(zone, "" | "UTC") {
        return Ok(time);
    }
    let later = |seconds| time.checked_add(SignedDuration::from_secs(seconds)).map_err(|_| overflow());
    let Some((hours, minutes)) = zone.split_once(':') else {
        let unknown = || Error::other(format!("unknown time zone {zone}"));
        let found = TimeZone::get(zone).ok().filter(|found| found.iana_name() == Some(zone));
        let time = Offset::UTC.to_timestamp(time).unwrap_or(Timestamp::MAX);
        return later(i64::from(found.ok_or_else(unknown)?.to_offset(time).seconds()));
    };
    let number = |text: &str| {
        let why = || Error::other(format!("strconv.Atoi: parsing {}: invalid syntax", quoted(text)));
        text.parse::<i32>().map_err(|_| why())
    };
    let (hours, minutes) = (i64::from(number(hours)?), i64::from(number(minutes)?));
    later(hours * 3600 + if hours < 0 { -minutes } else { minutes } * 60)
}

/// A time, if it lies in the years from 1 to 9999, which are all that there are
/// (<https://github.com/google/cel-spec/blob/master/doc/langdef.md#timestamps>).
pub fn within<'a>(time: Option<DateTime>) -> Result<Value<'a>, Error> {
    time.filter(|time| time.year() >= 1).map(Value::Timestamp).ok_or_else(overflow)
}

fn overflow() -> Error {
    Error::other("timestamp overflow")
}

/// A time as CEL shows it.
pub fn instant(time: DateTime) -> String {
    format!("{time}Z")
}

/// A duration as CEL shows it: in seconds.
pub fn shown(nanoseconds: i64) -> String {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    if rest == 0 {
        return format!("{seconds}s");
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let fraction = format!("{:09}", rest.abs());
    format!("{sign}{}.{}s", seconds.abs(), fraction.trim_end_matches('0'))
}
