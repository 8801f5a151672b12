//! Kubernetes quantities as users write them: `1`, `0.5`, `"500m"`, `"5Gi"`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

/// A quantity. Numbers are accepted where Kubernetes accepts them and are kept as text.
///
/// Equality is of the text; [`Quantity::compare`] compares amounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl Quantity {
    /// The amount in billionths, or `None` if the text is not a quantity. Amounts too large for it are capped.
    pub fn nanos(&self) -> Option<i128> {
        parse(&self.0)
    }

    /// Compares amounts; `None` if either is not a quantity.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(self.nanos()?.cmp(&other.nanos()?))
    }

    /// Both together, in the canonical form of Kubernetes; `None` if either is not a quantity. The sum is written as the
    /// first of them that is not zero is: in powers of 1024 or of 1000.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let (own, more) = (self.nanos()?, other.nanos()?);
        let kind = if own == 0 { other } else { self };
        Some(Self(canonical(own.saturating_add(more), kind.0.ends_with('i'))))
    }
}

/// An amount in billionths with the largest suffix that leaves a whole number.
fn canonical(nanos: i128, is_binary: bool) -> String {
    const NANOS: i128 = 1_000_000_000;
    const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    if nanos == 0 {
        return "0".into();
    }
    // Parts of one have no suffix in powers of 1024.
    let (mut amount, step, suffixes) = if is_binary && nanos % NANOS == 0 {
        (nanos / NANOS, 1024, BINARY.as_slice())
    } else {
        (nanos, 1000, DECIMAL.as_slice())
    };
    let mut suffixes = suffixes.iter().peekable();
    let mut suffix = "";
    while let Some(next) = suffixes.next() {
        suffix = next;
        if amount % step != 0 || suffixes.peek().is_none() {
            break;
        }
        amount /= step;
    }
    format!("{amount}{suffix}")
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<Quantity> for ApiQuantity {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyNumber;

        impl Visitor<'_> for AnyNumber {
            type Value = Quantity;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a quantity")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
        }

        deserializer.deserialize_any(AnyNumber)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 64,
            "pattern": r"^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$",
        })
    }
}

/// `<digits>[.<digits>]` and a suffix: binary (`Ki`…), decimal (`n`…`E`) or an exponent (`e3`).
fn parse(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let (scale, decimals) = scale(suffix)?;
    // Digits beyond the ninth decimal are below a billionth; Kubernetes rounds them away too.
    let fraction = fraction.get(..fraction.len().min(9)).unwrap_or(fraction);
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let exponent = 9 + decimals - i32::try_from(fraction.len()).ok()?;
    let scaled = digits.saturating_mul(scale);
    let power = 10_i128.checked_pow(exponent.unsigned_abs().min(38)).unwrap_or(i128::MAX);
    let nanos = if exponent >= 0 { scaled.saturating_mul(power) } else { scaled / power };
    Some(if negative { -nanos } else { nanos })
}

/// The factor and the power of ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => (1, exponent.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?.clamp(-30, 30)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared_not_text() {
        for (left, right, order) in [
            ("1", "1000m", Ordering::Equal),
            ("0.5", "500m", Ordering::Equal),
            ("1Gi", "1024Mi", Ordering::Equal),
            ("1G", "1Gi", Ordering::Less),
            ("5Gi", "10Gi", Ordering::Less),
            ("1e3", "1k", Ordering::Equal),
            (".5", "0.5", Ordering::Equal),
            ("1.5Gi", "1536Mi", Ordering::Equal),
            ("-1", "1", Ordering::Less),
        ] {
            assert_eq!(Quantity::from(left).compare(&right.into()), Some(order), "{left} {right}");
        }
    }

    #[test]
    fn sums_are_in_canonical_form() {
        for (left, right, sum) in [
            ("10", "10", "20"),
            ("500m", "1", "1500m"),
            ("1500m", "500m", "2"),
            ("512Mi", "512Mi", "1Gi"),
            ("1Gi", "1500Mi", "2524Mi"),
            ("0", "2Gi", "2Gi"),
            ("1Ki", "1", "1025"),
            ("600", "400", "1k"),
            ("1Gi", "500m", "1073741824500m"),
            ("0", "0", "0"),
            ("8E", "8E", "16E"),
        ] {
            assert_eq!(Quantity::from(left).plus(&right.into()), Some(sum.into()), "{left} {right}");
        }
        assert_eq!(Quantity::from("1").plus(&"x".into()), None);
    }

    #[test]
    fn text_that_is_no_quantity_has_no_amount() {
        for text in ["", ".", "1.2.3", "5GB", "Gi", "e3", "--1", "one"] {
            assert_eq!(Quantity::from(text).nanos(), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_accepted() {
        for (json, text) in [("1", "1"), ("0.5", "0.5"), ("\"500m\"", "500m")] {
            assert_eq!(serde_json::from_str::<Quantity>(json).unwrap().0, text);
        }
    }
}
