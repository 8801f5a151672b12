//! Amounts such as `100m`, `1.5Gi` or `1e3`, exactly as `k8s.io/apimachinery/pkg/api/resource` keeps them:
//! parsed, compared and added without rounding down to a billionth, shown in canonical form.

use std::{cmp::Ordering, fmt};

use serde_json::Value;

const NANO: i128 = 1_000_000_000;
const DECIMAL_SUFFIXES: &[(&str, i32)] = &[
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY_SUFFIXES: &[&str] = &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// Text that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form of a quantity at all.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number is none.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is none.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// How a quantity is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `1k`, `100m`
    Decimal,
    /// `1Ki`
    Binary,
    /// `1e3`
    Exponent,
}

/// An amount. Equality and order are those of the amount, whatever its format.
#[derive(Clone, Debug)]
pub struct Quantity {
    /// In billionths, rounded away from zero; amounts beyond 1e29 saturate.
    nanos: i128,
    format: Format,
    /// The text, where Go keeps the text that it read.
    text: Option<Box<str>>,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal, text: None };

    /// A whole number.
    pub fn new(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format, text: None }
    }

    /// A number of thousandths.
    pub fn from_milli(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * 1_000_000, format, text: None }
    }

    /// Reads a quantity.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let parts = Parts::split(text)?;
        let (exponent, format) = parts.exponent()?;
        let digits = format!("{}{}", parts.whole, parts.fraction);
        if digits.bytes().any(|b| !b.is_ascii_digit()) {
            return Err(QuantityError::Number);
        }

        let nanos = parts.nanos(&digits, exponent, format);
        let keeps = parts.keeps_text(&digits, exponent, format) || text == "0";
        let format = match format {
            // Below one, binary suffixes would round.
            Format::Binary if nanos.abs() < NANO && nanos != 0 => Format::Decimal,
            other => other,
        };
        Ok(Self { nanos, format, text: keeps.then(|| text.into()) })
    }

    /// Reads a quantity in a document, where it may be a number.
    pub fn from_value(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::Null => Ok(Self::ZERO),
            Value::String(text) => Self::parse(text.trim()),
            other => Self::parse(&other.to_string()),
        }
    }

    /// The whole number, rounded away from zero.
    pub fn value(&self) -> i64 {
        self.scaled(NANO)
    }

    /// Thousandths, rounded away from zero.
    pub fn milli_value(&self) -> i64 {
        self.scaled(NANO / 1000)
    }

    fn scaled(&self, unit: i128) -> i64 {
        let rounded = divide_away(self.nanos, unit);
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    /// Billionths.
    pub fn nanos(&self) -> i128 {
        self.nanos
    }

    /// Whether there is no rest when divided by `unit`, a whole number.
    pub fn is_multiple_of(&self, unit: i64) -> bool {
        self.nanos % (i128::from(unit) * NANO) == 0
    }

    /// The nearest floating-point number.
    pub fn to_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        self.nanos.signum() as i32
    }

    /// How it is shown.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Adds; nothing takes the other's format.
    pub fn add(&mut self, other: &Self) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.text = None;
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    /// Subtracts; nothing takes the other's format.
    pub fn sub(&mut self, other: &Self) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.text = None;
        self.nanos = self.nanos.saturating_sub(other.nanos);
    }

    /// Multiplies.
    pub fn mul(&mut self, factor: i64) {
        self.text = None;
        self.nanos = self.nanos.saturating_mul(i128::from(factor));
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.is_zero() {
            return f.write_str("0");
        }
        let whole = self.nanos % NANO == 0;
        if self.format == Format::Binary && whole && self.nanos.abs() >= 1024 * NANO {
            let (mut mantissa, mut power) = (self.nanos / NANO, 0);
            while mantissa % 1024 == 0 && power + 1 < BINARY_SUFFIXES.len() {
                mantissa /= 1024;
                power += 1;
            }
            return write!(f, "{mantissa}{}", BINARY_SUFFIXES[power]);
        }

        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa % 1000 == 0 && exponent < 18 {
            mantissa /= 1000;
            exponent += 3;
        }
        match self.format {
            Format::Exponent if exponent == 0 => write!(f, "{mantissa}"),
            Format::Exponent => write!(f, "{mantissa}e{exponent}"),
            Format::Decimal | Format::Binary => {
                let suffix = DECIMAL_SUFFIXES.iter().find(|(_, e)| *e == exponent).map_or("", |(s, _)| s);
                write!(f, "{mantissa}{suffix}")
            }
        }
    }
}

/// A quantity taken apart.
struct Parts<'t> {
    negative: bool,
    /// Without leading zeros.
    whole: &'t str,
    fraction: &'t str,
    suffix: &'t str,
}

impl<'t> Parts<'t> {
    fn split(text: &'t str) -> Result<Self, QuantityError> {
        let negative = text.starts_with('-');
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text).trim_start_matches('0');
        let (whole, rest) = split_at(rest, |c| c.is_ascii_digit());
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_at(rest, |c| c.is_ascii_digit()),
            None => ("", rest),
        };
        let (_, tail) = split_at(suffix, |c| "eEinumkKMGTP".contains(c));
        let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
        if !tail.chars().all(|c| c.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        Ok(Self { negative, whole: if whole.is_empty() { "0" } else { whole }, fraction, suffix })
    }

    fn exponent(&self) -> Result<(i32, Format), QuantityError> {
        if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(s, _)| *s == self.suffix) {
            return Ok((*exponent, Format::Decimal));
        }
        if let Some(power) = BINARY_SUFFIXES.iter().position(|s| *s == self.suffix) {
            return Ok((power as i32 * 10, Format::Binary));
        }
        let exponent = self.suffix.strip_prefix(['e', 'E']).filter(|digits| !digits.is_empty());
        let exponent = exponent.and_then(|digits| digits.parse().ok()).ok_or(QuantityError::Suffix)?;
        Ok((exponent, Format::Exponent))
    }

    /// The amount in billionths.
    fn nanos(&self, digits: &str, exponent: i32, format: Format) -> i128 {
        let significant = digits.trim_start_matches('0');
        // More digits than fit saturate below.
        let mantissa = if significant.is_empty() {
            return 0;
        } else {
            significant.parse::<i128>().unwrap_or(i128::MAX)
        };
        let places = i32::try_from(self.fraction.len()).unwrap_or(i32::MAX);
        let amount = if format == Format::Binary {
            let shifted = mantissa.saturating_mul(1 << exponent);
            scale_ten(shifted, 9_i32.saturating_sub(places)).min(i128::from(i64::MAX) * NANO)
        } else {
            scale_ten(mantissa, 9_i32.saturating_add(exponent).saturating_sub(places))
        };
        if self.negative { -amount } else { amount }
    }

    /// Whether Go keeps the text instead of making it canonical: what its fast path takes for canonical.
    fn keeps_text(&self, digits: &str, exponent: i32, format: Format) -> bool {
        let Ok(value) = digits.parse::<i64>() else { return false };
        let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
        let places = i32::try_from(self.fraction.len()).unwrap_or(i32::MAX);
        if format == Format::Binary {
            let precision = 15 - length - (exponent as f32 * 3.0 / 10.0) as i32 - 1;
            return self.fraction.is_empty() && precision >= 0 && value & 7 != 0;
        }
        let scale = exponent.saturating_sub(places);
        18 - length >= 0
            && scale >= -9
            && scale % 3 == 0
            && !digits.ends_with("000")
            && !digits.starts_with('0')
    }
}

fn split_at(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// `value * 10^power`, rounded away from zero, saturating.
fn scale_ten(value: i128, power: i32) -> i128 {
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    match (power >= 0, factor) {
        (true, Some(factor)) => value.saturating_mul(factor),
        (true, None) => i128::MAX,
        (false, Some(factor)) => divide_away(value, factor),
        (false, None) => 1,
    }
}

fn divide_away(value: i128, by: i128) -> i128 {
    let rest = if value % by == 0 { 0 } else { value.signum() };
    value / by + rest
}

#[cfg(test)]
mod tests;
