//! Indexes of jobs as text, such as `1,3-5`.

/// How many indexes a text names; all are below `completions`, each greater than the one before.
pub fn count(text: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last = None;
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let (from, until) = parse(interval, completions)?;
        if let Some(last) = last.filter(|last| *last >= from) {
            return Err(format!("non-increasing order, previous: {last}, current: {from}"));
        }
        total += until - from + 1;
        last = Some(until);
    }
    Ok(total)
}

/// The first index that both texts name. Intervals that cannot be read are passed over.
pub fn overlap(one: &str, other: &str, completions: i64) -> Option<i64> {
    let intervals = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|interval| parse(interval, completions).ok()).collect()
    };
    let (one, other) = (intervals(one), intervals(other));
    one.iter()
        .flat_map(|a| other.iter().map(move |b| (a, b)))
        .filter(|(a, b)| a.0 <= b.1 && b.0 <= a.1)
        .map(|(a, b)| a.0.max(b.0))
        .min()
}

fn parse(interval: &str, completions: i64) -> Result<(i64, i64), String> {
    let number = |part: &str| -> Result<i64, String> {
        let index: i64 =
            part.parse().map_err(|_| format!("cannot convert string to integer for index: {part:?}"))?;
        if index >= completions { Err(format!("too large index: {part:?}")) } else { Ok(index) }
    };
    match interval.split('-').collect::<Vec<_>>().as_slice() {
        [only] => number(only).map(|index| (index, index)),
        [first, end] => {
            let (from, until) = (number(first)?, number(end)?);
            if from >= until {
                return Err(format!("non-increasing order, previous: {from}, current: {until}"));
            }
            Ok((from, until))
        }
        _ => Err(format!(
            "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_named() {
        assert_eq!(count("", 3), Ok(0));
        assert_eq!(count("0,2-4", 5), Ok(4));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("5", "too large index: \"5\""),
            ("a", "cannot convert string to integer for index: \"a\""),
            ("2,1", "non-increasing order, previous: 2, current: 1"),
            ("2-2", "non-increasing order, previous: 2, current: 2"),
            (
                "0-1-2",
                "the fragment \"0-1-2\" violates the requirement that an index interval can have at most two parts separated by '-'",
            ),
        ] {
            assert_eq!(count(text, 5).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn finds_the_first_index_in_both() {
        assert_eq!(overlap("0-2,5", "3,4-6", 9), Some(5));
        assert_eq!(overlap("0-2", "3", 9), None);
        assert_eq!(overlap("", "3", 9), None);
    }
}
