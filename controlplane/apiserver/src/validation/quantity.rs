//! Amounts such as `100m` or `1Gi` (`resource.Quantity`), compared and added exactly.

use std::cmp::Ordering;

/// Thousand-millionths in one.
const NANOS: i128 = 1_000_000_000;

/// An amount in thousand-millionths, the finest that the notation knows.
pub type Nanos = i128;

/// Reads an amount; `None` if it is not one.
pub fn parse(text: &str) -> Option<Nanos> {
    let (number, factor, decimal_exponent) = split_suffix(text)?;
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole.bytes().chain(fraction.bytes()).all(|c| c.is_ascii_digit())
    {
        return None;
    }
    let mut nanos: i128 = 0;
    for digit in whole.bytes() {
        nanos = nanos.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
    }
    nanos = nanos.saturating_mul(NANOS);
    let mut place = NANOS / 10;
    for digit in fraction.bytes() {
        nanos = nanos.saturating_add(i128::from(digit - b'0') * place);
        place /= 10;
    }
    nanos = nanos.saturating_mul(factor);
    nanos = scale(nanos, decimal_exponent);
    Some(if negative { -nanos } else { nanos })
}

fn scale(nanos: i128, exponent: i32) -> i128 {
    let power = 10i128.saturating_pow(exponent.unsigned_abs().min(38));
    if exponent >= 0 {
        nanos.saturating_mul(power)
    } else {
        // Amounts are rounded up, as the real ones.
        nanos.div_euclid(power) + i128::from(nanos.rem_euclid(power) != 0)
    }
}

fn split_suffix(text: &str) -> Option<(&str, i128, i32)> {
    let end = text
        .char_indices()
        .find(|(i, c)| !(c.is_ascii_digit() || *c == '.' || (*i == 0 && (*c == '-' || *c == '+'))))
        .map_or(text.len(), |(i, _)| i);
    let (number, suffix) = text.split_at_checked(end)?;
    Some(match suffix {
        "" => (number, 1, 0),
        "n" => (number, 1, -9),
        "u" => (number, 1, -6),
        "m" => (number, 1, -3),
        "k" => (number, 1, 3),
        "M" => (number, 1, 6),
        "G" => (number, 1, 9),
        "T" => (number, 1, 12),
        "P" => (number, 1, 15),
        "E" => (number, 1, 18),
        "Ki" => (number, 1 << 10, 0),
        "Mi" => (number, 1 << 20, 0),
        "Gi" => (number, 1 << 30, 0),
        "Ti" => (number, 1 << 40, 0),
        "Pi" => (number, 1 << 50, 0),
        "Ei" => (number, 1 << 60, 0),
        other => (number, 1, other.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// Compares two amounts; `None` if one is not an amount.
pub fn compare(left: &str, right: &str) -> Option<Ordering> {
    Some(parse(left)?.cmp(&parse(right)?))
}

/// Whether the amount is a whole number.
pub fn is_integer(nanos: Nanos) -> bool {
    nanos % NANOS == 0
}

/// The whole number, rounded up.
pub fn whole(nanos: Nanos) -> i128 {
    nanos.div_euclid(NANOS) + i128::from(nanos.rem_euclid(NANOS) != 0)
}

/// The amount in thousandths if it is finer than that.
pub fn rounded_up_to_milli(text: &str) -> Option<String> {
    const MILLI: i128 = NANOS / 1000;
    let nanos = parse(text).filter(|nanos| nanos % MILLI != 0)?;
    Some(canonical_decimal((nanos.div_euclid(MILLI) + 1) * MILLI))
}

/// The shortest decimal notation, such as `1500m` or `3k`.
pub fn canonical_decimal(nanos: Nanos) -> String {
    const SUFFIXES: [(&str, u32); 9] =
        [("n", 0), ("u", 3), ("m", 6), ("", 9), ("k", 12), ("M", 15), ("G", 18), ("T", 21), ("P", 24)];
    if nanos == 0 {
        return "0".into();
    }
    let (suffix, power) = SUFFIXES
        .iter()
        .rev()
        .map(|(suffix, exponent)| (suffix, 10i128.pow(*exponent)))
        .find(|(_, power)| nanos % power == 0)
        .unwrap_or((&"n", 1));
    format!("{}{suffix}", nanos / power)
}

/// The shortest binary notation, such as `128Mi`; decimal for what is no multiple of 1024.
pub fn canonical_binary(nanos: Nanos) -> String {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if !is_integer(nanos) || nanos.abs() < 1024 * NANOS {
        return canonical_decimal(nanos);
    }
    let (mut whole, mut suffix) = (nanos / NANOS, 0);
    while whole % 1024 == 0 && suffix + 1 < SUFFIXES.len() {
        whole /= 1024;
        suffix += 1;
    }
    format!("{whole}{}", SUFFIXES.get(suffix).unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_notation() {
        let cases = [
            ("1", NANOS),
            ("100m", NANOS / 10),
            ("1.5", NANOS * 3 / 2),
            ("1Ki", 1024 * NANOS),
            ("0.5Gi", 536_870_912 * NANOS),
            ("1e3", 1000 * NANOS),
            ("2E", 2 * NANOS * 10i128.pow(18)),
            ("-1", -NANOS),
            ("1n", 1),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
        for wrong in ["", "m", "1x", "1.2.3", "Gi", "- 1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn writes_the_shortest_notation() {
        assert_eq!(canonical_decimal(NANOS * 3 / 2), "1500m");
        assert_eq!(canonical_decimal(3000 * NANOS), "3k");
        assert_eq!(canonical_binary(128 * 1024 * 1024 * NANOS), "128Mi");
        assert_eq!(canonical_binary(1000 * NANOS), "1k");
        assert_eq!(rounded_up_to_milli("100u").as_deref(), Some("1m"));
        assert_eq!(rounded_up_to_milli("1500m"), None);
    }
}
