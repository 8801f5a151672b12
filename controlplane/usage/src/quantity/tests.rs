use proptest::prelude::*;

use super::*;

fn shown(text: &str) -> String {
    Quantity::parse(text).unwrap().to_string()
}

#[test]
fn amounts_are_shown_in_canonical_form() {
    for (text, canonical) in [
        ("0", "0"),
        ("0.0", "0"),
        ("0Ki", "0"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("0.1", "100m"),
        ("100m", "100m"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("1Ki", "1Ki"),
        ("1.5Gi", "1536Mi"),
        ("2048Mi", "2Gi"),
        ("1000Ki", "1000Ki"),
        ("128974848", "128974848"),
        ("1000k", "1M"),
        ("1e3", "1e3"),
        ("1e1", "10"),
        ("12e6", "12e6"),
        ("1E", "1E"),
        ("-1.5", "-1500m"),
        ("+1", "+1"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("1000000n", "1m"),
        ("10Gi", "10Gi"),
        ("8Gi", "8Gi"),
        ("1.500", "1.500"),
        ("100000", "100k"),
    ] {
        assert_eq!(shown(text), canonical, "{text}");
    }
}

#[test]
fn what_is_no_amount_is_refused() {
    use QuantityError::{Format, Suffix};
    for (text, error) in [
        ("", Format),
        ("abc", Format),
        ("1 Gi", Format),
        ("1x", Format),
        ("1i", Suffix),
        ("1KiB", Format),
        ("1eE", Suffix),
    ] {
        assert_eq!(Quantity::parse(text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn sums_keep_the_first_format_unless_it_is_nothing() {
    let mut sum = Quantity::ZERO;
    sum.add(&Quantity::parse("1Gi").unwrap());
    sum.add(&Quantity::parse("512Mi").unwrap());
    assert_eq!(sum.to_string(), "1536Mi");
    sum.sub(&Quantity::parse("1G").unwrap());
    assert_eq!(sum.value(), 1_610_612_736 - 1_000_000_000);
}

#[test]
fn values_are_rounded_up() {
    assert_eq!(Quantity::parse("1m").unwrap().value(), 1);
    assert_eq!(Quantity::parse("1500u").unwrap().milli_value(), 2);
    assert_eq!(Quantity::parse("-1500m").unwrap().value(), -2);
}

proptest! {
    #[test]
    fn showing_keeps_the_amount(mantissa in 0u64..1_000_000_000_000, suffix in "(n|u|m||k|M|G|T|Ki|Mi|Gi|e3|e-3)") {
        let first = Quantity::parse(&format!("{mantissa}{suffix}")).unwrap();
        let again = Quantity::parse(&first.to_string()).unwrap();
        prop_assert_eq!(&first, &again);
        prop_assert_eq!(first.to_string(), again.to_string());
    }

    #[test]
    fn parsing_never_panics(text in "[-+0-9.eEinumkKMGTPi]{0,40}") {
        if let Ok(quantity) = Quantity::parse(&text) {
            let _ = (quantity.to_string(), quantity.value());
        }
    }
}
