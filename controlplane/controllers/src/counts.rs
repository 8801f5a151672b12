//! Counts as the API writes them.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// `count`, or nothing where it is zero: so the wire format writes most counters.
pub(crate) fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// An absolute number, or a percentage of `total` rounded up or down; 0 if it is neither.
pub(crate) fn resolve(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|percent| percent.parse::<i64>().ok()).unwrap_or(0);
            let hundredths = percent * i64::from(total) + if round_up { 99 } else { 0 };
            i32::try_from(hundredths.div_euclid(100)).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_the_way_they_are_asked_to() {
        let quarter = IntOrString::String("25%".into());
        assert_eq!((resolve(&quarter, 10, true), resolve(&quarter, 10, false)), (3, 2));
        assert_eq!(resolve(&IntOrString::Int(4), 10, true), 4);
        assert_eq!(resolve(&IntOrString::String("100%".into()), 7, true), 7);
        assert_eq!(resolve(&IntOrString::String("nonsense".into()), 10, true), 0);
    }
}
