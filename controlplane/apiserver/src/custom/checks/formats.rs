//! The formats of texts that schemas may demand (`k8s.io/kube-openapi/pkg/validation/strfmt`).

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::validation::{ip, names};

/// The formats of texts, without their dashes.
const TEXT: &[&str] = &[
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Whether a format counts for these types; others are only notes to the reader.
pub fn is_known(format: &str, types: &[&str]) -> bool {
    match types {
        [] | ["string"] => TEXT.contains(&format.replace('-', "").as_str()),
        ["integer"] => matches!(format, "int32" | "int64"),
        ["number"] => matches!(format, "float" | "double"),
        _ => false,
    }
}

/// Whether a text is of a format.
pub fn is_of(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "bsonobjectid" => text.len() == 24 && is_hex(text),
        "byte" => !text.is_empty() && STANDARD.decode(text).is_ok(),
        "cidr" => ip::parse_cidr(text).is_some(),
        "creditcard" => is_credit_card(text),
        "date" => is_date(text),
        "datetime" => is_date_time(text),
        "duration" => duration(text).is_some(),
        "email" => is_email(text),
        "hexcolor" => is_hex_color(text),
        "hostname" => is_hostname(text),
        "ipv4" => text.contains('.') && ip::parse(text).is_some(),
        "ipv6" => text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_ok(),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "k8slongname" => text.len() <= 253 && text.split('.').all(is_label),
        "k8sshortname" => names::dns1123_label(text).is_empty(),
        "mac" => is_mac(text),
        "rgbcolor" => is_rgb_color(text),
        "ssn" => is_ssn(text),
        "uri" => is_uri(text),
        "uuid" => uuid(text).is_some(),
        "uuid3" => uuid(text).is_some_and(|u| u.as_bytes()[12] == b'3'),
        "uuid4" => is_random_uuid(text, b'4'),
        "uuid5" => is_random_uuid(text, b'5'),
        _ => true,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_hexdigit())
}

fn is_label(text: &str) -> bool {
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-')
}

/// `2006-01-02`
pub fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// `2006-01-02T15:04:05.000Z`, in upper or lower case.
pub fn is_date_time(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let Some((date, time)) = lower.split_once('t') else { return false };
    if !is_date(date) || time.contains('t') || !time.is_ascii() {
        return false;
    }
    let Some((clock, rest)) = time.split_at_checked(8) else { return false };
    let mut parts = clock.split(':');
    let mut at_most = |max: &str| parts.next().is_some_and(|p| p.len() == 2 && is_digits(p) && p <= max);
    if !(at_most("23") && at_most("59") && at_most("59")) {
        return false;
    }
    let zone = rest.find(['z', '+', '-']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone);
    let offset = zone.strip_prefix(['+', '-']).and_then(|o| o.split_once(':'));
    (fraction.is_empty() || is_digits(&fraction[1..]))
        && (zone == "z" || offset.is_some_and(|(h, m)| [h, m].iter().all(|p| p.len() == 2 && is_digits(p))))
}

/// A duration in nanoseconds, as Go writes it (`1h30m`) or in words (`2 weeks`).
pub fn duration(text: &str) -> Option<i64> {
    go_duration(text).or_else(|| {
        let mut total: Option<i64> = None;
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            rest = &rest[start..];
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let factor: i64 = rest[..end].parse().ok()?;
            let tail = rest[end..].trim_start();
            let word = tail.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(tail.len());
            if let Some(unit) = unit(&tail[..word].to_lowercase()) {
                total = Some(total.unwrap_or(0).checked_add(factor.checked_mul(unit)?)?);
            }
            rest = &tail[word..];
        }
        total
    })
}

fn unit(word: &str) -> Option<i64> {
    const SECOND: i64 = 1_000_000_000;
    const UNITS: &[(&[&str], i64)] = &[
        (&["ns", "nano"], 1),
        (&["us", "µs", "micro"], 1_000),
        (&["ms", "milli"], 1_000_000),
        (&["s", "sec"], SECOND),
        (&["m", "min"], 60 * SECOND),
        (&["h", "hr", "hour"], 3_600 * SECOND),
        (&["d", "day"], 86_400 * SECOND),
        (&["w", "wk", "week"], 604_800 * SECOND),
    ];
    let named = UNITS
        .iter()
        .find(|(names, _)| names.contains(&word) || names.last().is_some_and(|long| word.starts_with(long)));
    named.map(|(_, nanoseconds)| *nanoseconds)
}

/// A duration as Go's `time.ParseDuration` reads it, in nanoseconds.
pub fn go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: f64 = 0.0;
    let mut exact: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let unit: i64 = match &tail[..unit_end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        if number.matches('.').count() > 1 || number == "." || number.is_empty() {
            return None;
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        exact = exact.checked_add(whole.checked_mul(unit)?)?;
        if !fraction.is_empty() {
            total += format!("0.{fraction}").parse::<f64>().ok()? * unit as f64;
        }
        rest = &tail[unit_end..];
    }
    let nanoseconds = exact.checked_add(total as i64)?;
    Some(if negative { -nanoseconds } else { nanoseconds })
}

fn is_email(text: &str) -> bool {
    // Either a bare address or `Name <address>`.
    let address = text.strip_suffix('>').and_then(|t| t.rsplit_once('<')).map_or(text, |(_, a)| a).trim();
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let dots = |part: &str| !part.is_empty() && part.split('.').all(|p| !p.is_empty());
    let quoted = local.len() > 1 && local.starts_with('"') && local.ends_with('"');
    (quoted || dots(local) && local.chars().all(atom))
        && (dots(domain) && domain.chars().all(atom) || domain.starts_with('[') && domain.ends_with(']'))
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && is_hex(digits)
}

fn is_rgb_color(text: &str) -> bool {
    let inside = text.strip_prefix("rgb(").and_then(|t| t.strip_suffix(')'));
    let Some(inside) = inside else { return false };
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    parts.len() == 3
        && parts.iter().all(|p| is_digits(p) && (*p == "0" || !p.starts_with('0')) && p.parse::<u8>().is_ok())
}

fn is_hostname(text: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace() && !c.is_control());
    let label = |part: &str| {
        part.len() <= 63
            && part.starts_with(letter)
            && part.ends_with(letter)
            && part.chars().all(|c| letter(c) || c == '-')
    };
    let parts: Vec<&str> = text.split('.').collect();
    let top = |part: &&str| part.chars().count() >= 2 && part.chars().all(char::is_alphabetic);
    text.len() <= 255 && parts.iter().all(|p| label(p)) && (parts.len() == 1 || parts.last().is_some_and(top))
}

fn is_mac(text: &str) -> bool {
    let grouped = |separator: char, width: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len()) && parts.iter().all(|p| p.len() == width && is_hex(p))
    };
    grouped(':', 2, &[6, 8, 20]) || grouped('-', 2, &[6, 8, 20]) || grouped('.', 4, &[3, 4, 10])
}

fn is_ssn(text: &str) -> bool {
    if text.len() != 11 && text.len() != 9 && text.len() != 10 {
        return false;
    }
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let bytes = text.as_bytes();
    digits.len() == 9 && is_digits(&digits) && bytes[..3].iter().all(u8::is_ascii_digit)
}

/// A URI as `net/url.ParseRequestURI` reads it: absolute, or an absolute path.
fn is_uri(text: &str) -> bool {
    let plain = !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic() || !c.is_ascii());
    plain && !text.starts_with('#') && crate::custom::uri::parse_request(text).is_some()
}

/// The hexadecimal digits of a UUID, with or without dashes.
fn uuid(text: &str) -> Option<String> {
    let mut digits = String::with_capacity(32);
    let mut rest = text;
    for (i, width) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let (group, tail) = rest.split_at_checked(width)?;
        if !is_hex(group) {
            return None;
        }
        digits.push_str(group);
        rest = tail;
    }
    rest.is_empty().then_some(digits)
}

fn is_random_uuid(text: &str, version: u8) -> bool {
    uuid(text).is_some_and(|digits| {
        let bytes = digits.as_bytes();
        bytes[12] == version && matches!(bytes[16], b'8' | b'9' | b'a' | b'b' | b'A' | b'B')
    })
}

fn plain_isbn(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let text = plain_isbn(text);
    let bytes = text.as_bytes();
    if bytes.len() != 10 || !bytes[..9].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let last = match bytes[9] {
        b'X' => 10,
        c if c.is_ascii_digit() => u32::from(c - b'0'),
        _ => return false,
    };
    let sum: u32 = (1..).zip(&bytes[..9]).map(|(weight, c)| weight * u32::from(c - b'0')).sum();
    (sum + 10 * last).is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let text = plain_isbn(text);
    let bytes = text.as_bytes();
    if bytes.len() != 13 || !is_digits(&text) {
        return false;
    }
    let weights = [1, 3].into_iter().cycle();
    let sum: u32 = weights.zip(bytes).map(|(weight, c)| weight * u32::from(c - b'0')).sum();
    sum.is_multiple_of(10)
}

fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let starts = |prefixes: &[&str]| {
        let text: String = text.chars().filter(char::is_ascii_digit).collect();
        prefixes.iter().any(|p| text.starts_with(p))
    };
    let issued = match digits.len() {
        13 => starts(&["4"]),
        14 => starts(&["300", "301", "302", "303", "304", "305", "36", "38"]),
        15 => starts(&["34", "37", "2131", "1800"]),
        16 => starts(&["4", "51", "52", "53", "54", "55", "6011", "65", "35"]),
        _ => false,
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| match i % 2 {
            0 => *d,
            _ => d * 2 - if *d > 4 { 9 } else { 0 },
        })
        .sum();
    issued && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_of_their_formats() {
        for (format, good, bad) in [
            ("date-time", "2024-01-01T00:00:00Z", "yesterday"),
            ("date-time", "2024-01-01t00:00:00.5+02:00", "2024-01-01T25:00:00Z"),
            ("date", "2024-02-29", "2023-02-29"),
            ("duration", "1h30m", "soon"),
            ("duration", "2 weeks", "m"),
            ("ipv4", "10.0.0.1", "::1"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0"),
            ("uri", "https://example.com/x", "example.com"),
            ("uri", "/path", "no spaces allowed"),
            ("email", "a@example.com", "example.com"),
            ("hostname", "a.example.com", "-a"),
            ("mac", "00:11:22:33:44:55", "00:11"),
            ("uuid4", "6fa459ea-ee8a-4ca4-894e-db77e160355e", "6fa459ea-ee8a-3ca4-894e-db77e160355e"),
            ("byte", "YWJj", "a"),
            ("hexcolor", "#fff", "#ff"),
            ("isbn", "978-0321751041", "978-0321751042"),
            ("k8s-short-name", "a-b", "a.b"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ] {
            assert!(is_of(format, good), "{format} {good}");
            assert!(!is_of(format, bad), "{format} {bad}");
        }
    }

    #[test]
    fn durations_are_nanoseconds() {
        assert_eq!(go_duration("1.5s"), Some(1_500_000_000));
        assert_eq!(go_duration("-2m"), Some(-120_000_000_000));
        assert_eq!(go_duration("1"), None);
    }
}
