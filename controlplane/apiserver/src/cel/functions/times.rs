//! The parts of times and durations.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

use super::super::{Error, value::Value};

/// The functions of this library.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    if !function.starts_with("get") {
        return None;
    }
    match arguments {
        [Value::Timestamp(time)] => part(function, Offset::UTC.to_datetime(*time)),
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

/// A time in a zone that is given as an offset such as `-08:00`.
fn local(time: Timestamp, zone: &str) -> Result<DateTime, Error> {
    let unknown = || Error::other(format!("unknown time zone {zone}"));
    if matches!(zone, "" | "UTC") {
        return Ok(Offset::UTC.to_datetime(time));
    }
    let (hours, minutes) = zone.split_once(':').ok_or_else(unknown)?;
    let (hours, minutes): (i32, i32) = hours.parse().ok().zip(minutes.parse().ok()).ok_or_else(unknown)?;
    let minutes = if zone.starts_with('-') { -minutes } else { minutes };
    let offset = Offset::from_seconds(hours * 3600 + minutes * 60).map_err(|_| unknown())?;
    Ok(offset.to_datetime(time))
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
